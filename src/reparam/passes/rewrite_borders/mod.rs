//! Recognises a zero padding whose border is overwritten with a constant a channel, and writes it as arithmetic.
//!
//! Diverse Branch Block pads a batch-normalized value with what normalization makes of zeros. In PyTorch that is
//! `F.pad` and four assignments to the border; exporters make of each a chain of `Slice`, `Transpose`, `ScatterND` and
//! computed indices. This pass does not match such chains. It *runs* the nodes between the `Pad` and a result on labels
//! that say where each element came from. If the result is the padded image with `v[c]` at every place of the border of
//! channel `c`, then it becomes
//!
//! ```text
//! result = Add(Pad(Sub(x, v), 0), v)          v: [1, C, 1, 1]
//! ```
//!
//! which is the same function, and linear operators only. `fold_constants` must have run: indices and values have to be
//! constants by then, up to a batch extent that is not known. For that one the chain is run with several extents; an
//! exporter may have frozen one of them (the graph then works for no other), so at least one must give the pattern and
//! none may give another.

mod run;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::graph::{DType, Graph, Node, NodeId, Patch, Tensor, ValueId};
use crate::reparam::shapes::{Shapes, fixed};
use run::Run;

/// Nodes that the chain behind one `Pad` may have.
const CHAIN_NODES_MAX: usize = 1024;

/// Elements that a padded image may have for one batch item; above, the chain is left alone.
const LABELS_MAX: usize = 1 << 22;

/// Batch extents that are tried where the model leaves it open, beside those that stand in the chain.
const BATCHES: [usize; 2] = [1, 3];

/// Batch extents above this are not tried.
const FROZEN_MAX: usize = 64;

/// Runs the pass; the number of chains that were rewritten.
pub(crate) fn run(graph: &mut Graph, opset: i64) -> usize {
    let ids: Vec<NodeId> = graph
        .nodes()
        .filter(|(_, n)| n.is("ScatterND") || n.is("ScatterElements"))
        .map(|(id, _)| id)
        .collect();
    if ids.is_empty() {
        return 0;
    }
    let shapes = Shapes::infer(graph, opset);
    let mut rewritten = 0;
    for id in ids {
        let Some(end) = last_of_chain(graph, id) else { continue };
        let Some(found) = Chain::ending_at(graph, &shapes, opset, end).and_then(|chain| chain.border()) else {
            continue;
        };
        found.apply(graph);
        rewritten += 1;
    }
    if rewritten > 0 {
        graph.sweep();
    }
    rewritten
}

/// An operator that hands elements on without computing, and the one of its inputs that they come from.
fn hands_on(node: &Node) -> bool {
    const OPS: [&str; 6] = [
        "ScatterND",
        "ScatterElements",
        "Transpose",
        "Identity",
        "CastLike",
        "Cast",
    ];
    node.is(&node.op) && OPS.contains(&node.op.as_str())
}

/// The result of the chain that `id` belongs to, if nothing of the chain follows it.
fn last_of_chain(graph: &Graph, id: NodeId) -> Option<ValueId> {
    let mut value = graph.node(id)?.output(0)?;
    loop {
        let mut next = None;
        for user in graph.users(value) {
            let node = graph.node(user)?;
            if node.is("ScatterND") || node.is("ScatterElements") || node.is("Slice") {
                return None;
            }
            if hands_on(node) && node.input(0) == Some(value) {
                if next.is_some() {
                    return None;
                }
                next = Some(node.output(0)?);
            }
        }
        match next {
            Some(next) if graph.use_count(value) <= 1 + shape_readers(graph, value) => value = next,
            _ => return Some(value),
        }
    }
}

fn shape_readers(graph: &Graph, value: ValueId) -> usize {
    graph
        .users(value)
        .filter(|u| graph.node(*u).is_some_and(|n| n.is("Shape")))
        .count()
}

/// What lies between a `Pad` and a result.
struct Chain<'a> {
    graph: &'a Graph,
    shapes: &'a Shapes,
    opset: i64,
    /// What is padded.
    source: ValueId,
    pad: &'a Node,
    result: ValueId,
    /// Channels, height and width of the source.
    extents: [usize; 3],
    /// Rows in front, columns in front, rows behind, columns behind.
    pads: [usize; 4],
}

impl<'a> Chain<'a> {
    fn ending_at(graph: &'a Graph, shapes: &'a Shapes, opset: i64, result: ValueId) -> Option<Self> {
        let mut at = result;
        let mut steps = 0;
        let pad = loop {
            let node = graph.node(graph.producer(at)?)?;
            if node.is("Pad") {
                break node;
            }
            steps += 1;
            if !hands_on(node) || steps > CHAIN_NODES_MAX {
                return None;
            }
            at = node.input(0)?;
        };
        let source = pad.input(0)?;
        let [_, c, h, w] = shapes.of(source)? else {
            return None;
        };
        let extents = [fixed(c)?, fixed(h)?, fixed(w)?];
        let pads = pads_of(graph, pad)?;
        let padded = [
            extents[0],
            extents[1] + pads[0] + pads[2],
            extents[2] + pads[1] + pads[3],
        ];
        let labels = padded.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        (labels <= LABELS_MAX && labels > 0).then_some(Self {
            graph,
            shapes,
            opset,
            source,
            pad,
            result,
            extents,
            pads,
        })
    }

    /// The constant at the border of each channel, if that is what the chain makes.
    fn border(&self) -> Option<Rewrite> {
        let first = self.shapes.of(self.source)?.first()?;
        let batches = match fixed(first) {
            Some(n) => vec![n],
            None => self.batches(),
        };
        let mut found: Option<Vec<f64>> = None;
        let mut dtype = self.dtype();
        for batch in batches {
            let mut run = Run::new(self, batch, first);
            let Some(labels) = run.labels() else { continue };
            let fill = self.fill(&labels, batch, &run.constants)?;
            dtype = dtype.or(run.dtype);
            if found.as_ref().is_some_and(|f| *f != fill) {
                return None;
            }
            found = Some(fill);
        }
        let dtype = dtype.filter(|t| t.is_float())?;
        let fill = Tensor::from_f64(dtype, &[1, self.extents[0], 1, 1], &found?);
        Some(Rewrite {
            source: self.source,
            pad: self.pad.clone(),
            result: self.result,
            fill,
        })
    }

    /// The element type of the image, where the file says it.
    fn dtype(&self) -> Option<DType> {
        let stated = |v: ValueId| self.graph.value(v).dtype;
        stated(self.source).or_else(|| stated(self.result))
    }

    /// Batch extents to try: two of our own and those that an exporter may have frozen into an `Expand`.
    fn batches(&self) -> Vec<usize> {
        let mut batches = BATCHES.to_vec();
        let (mut open, mut seen) = (vec![self.result], HashSet::from([self.source]));
        while let Some(value) = open.pop().filter(|_| seen.len() < CHAIN_NODES_MAX) {
            let producer = self.graph.producer(value).and_then(|id| self.graph.node(id));
            let Some(node) = producer.filter(|_| seen.insert(value)) else {
                continue;
            };
            let constants = node.inputs.iter().flatten().filter_map(|v| self.graph.constant(*v));
            let frozen = constants.filter(|t| t.shape().len() > 3).map(|t| t.shape()[0]);
            batches.extend(frozen.filter(|n| *n <= FROZEN_MAX));
            if let Some(shape) = node
                .input(1)
                .filter(|_| node.is("Expand"))
                .and_then(|v| self.graph.constant(v))
            {
                let first = shape
                    .to_i64()
                    .and_then(|s| s.first().and_then(|n| usize::try_from(*n).ok()));
                batches.extend(first.filter(|n| *n <= FROZEN_MAX));
            }
            open.extend(node.inputs.iter().flatten());
        }
        batches.sort_unstable();
        batches.dedup();
        batches.retain(|n| *n > 0);
        batches
    }

    /// Reads the labels of the result: the image inside, `v[c]` around it.
    fn fill(&self, labels: &Tensor, batch: usize, constants: &[f64]) -> Option<Vec<f64>> {
        let [c, h, w] = self.extents;
        let [top, left, bottom, right] = self.pads;
        let (rows, columns) = (h + top + bottom, w + left + right);
        if labels.shape() != [batch, c, rows, columns] {
            return None;
        }
        let mut fill: Vec<Option<f64>> = vec![None; c];
        for (at, label) in labels.to_i64()?.into_iter().enumerate() {
            let (column, row, channel, item) = (
                at % columns,
                at / columns % rows,
                at / columns / rows % c,
                at / columns / rows / c,
            );
            let inside = (top..top + h).contains(&row) && (left..left + w).contains(&column);
            if inside {
                let from = ((item * c + channel) * h + row - top) * w + column - left;
                if label != from as i64 + 1 {
                    return None;
                }
                continue;
            }
            let value = match label {
                0 => 0.0,
                l if l < 0 => *constants.get(usize::try_from(-(l + 1)).ok()?)?,
                _ => return None,
            };
            let slot = &mut fill[channel];
            if *slot.get_or_insert(value) != value {
                return None;
            }
        }
        fill.into_iter().collect()
    }
}

/// Rows in front, columns in front, rows behind, columns behind of a zero `Pad` of an image.
fn pads_of(graph: &Graph, pad: &Node) -> Option<[usize; 4]> {
    let zero = match (pad.input(2), pad.attribute("value")) {
        (Some(v), _) => graph.constant(v)?.to_f64()? == [0.0],
        (None, Some(v)) => v.as_float() == Some(0.0),
        (None, None) => true,
    };
    let constant = pad.attribute("mode").is_none_or(|m| m.as_str() == Some("constant"));
    if !zero || !constant || pad.input(3).is_some() {
        return None;
    }
    let pads = match pad.input(1) {
        Some(v) => graph.constant(v)?.to_i64()?,
        None => pad.attribute("pads")?.as_ints()?.to_vec(),
    };
    let &[0, 0, top, left, 0, 0, bottom, right] = &pads[..] else {
        return None;
    };
    let narrow = |v: i64| usize::try_from(v).ok().filter(|v| *v < 1 << 16);
    Some([narrow(top)?, narrow(left)?, narrow(bottom)?, narrow(right)?])
}

/// What a chain is replaced by.
struct Rewrite {
    source: ValueId,
    pad: Node,
    result: ValueId,
    fill: Tensor,
}

impl Rewrite {
    fn apply(self, graph: &mut Graph) {
        let Some(last) = graph.producer(self.result) else {
            return;
        };
        let stem = graph.value(self.result).name.clone();
        let like = graph.value(self.source).clone();
        let fill = graph.add_constant(format!("{stem}_border"), self.fill);
        let mut fresh = |suffix: &str| {
            let mut value = crate::graph::Value::named(format!("{stem}_{suffix}"));
            value.dtype = like.dtype;
            graph.add_value(value)
        };
        let (shifted, padded) = (fresh("shifted"), fresh("padded"));
        let mut pad = self.pad;
        pad.inputs[0] = Some(shifted);
        pad.outputs = vec![Some(padded)];
        Patch {
            remove: vec![last],
            insert: vec![
                (last, Node::new("Sub", vec![self.source, fill], vec![shifted])),
                (last, pad),
                (last, Node::new("Add", vec![padded, fill], vec![self.result])),
            ],
            ..Patch::default()
        }
        .apply(graph);
    }
}
