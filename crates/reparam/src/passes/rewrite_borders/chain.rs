//! What lies between a `Pad` and a result, and what it makes of the border.

use std::collections::HashSet;

use super::run::Run;
use super::{CHAIN_NODES_MAX, Rewrite, hands_on};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{DType, Graph, Node, Tensor, ValueId};

/// Elements that a padded image may have for one batch item; above, the chain is left alone.
pub(super) const LABELS_MAX: usize = 1 << 22;

/// Batch extents that are tried where the model leaves it open, beside those that stand in the chain.
const BATCHES: [usize; 2] = [1, 3];

/// Batch extents above this are not tried.
const FROZEN_MAX: usize = 64;

/// What lies between a `Pad` and a result.
pub(super) struct Chain<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a Shapes,
    pub(super) opset: i64,
    /// What is padded.
    pub(super) source: ValueId,
    pub(super) pad: &'a Node,
    pub(super) result: ValueId,
    /// Channels, height and width of the source.
    pub(super) extents: [usize; 3],
    /// Rows in front, columns in front, rows behind, columns behind.
    pub(super) pads: [usize; 4],
}

impl<'a> Chain<'a> {
    /// The chain that ends at `result`, if a zero `Pad` of an image of known size begins it.
    pub(super) fn ending_at(graph: &'a Graph, shapes: &'a Shapes, opset: i64, result: ValueId) -> Option<Self> {
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
    pub(super) fn border(&self) -> Option<Rewrite> {
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
    pub(super) fn dtype(&self) -> Option<DType> {
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
