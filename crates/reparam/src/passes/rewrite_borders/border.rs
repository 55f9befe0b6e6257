//! What a chain makes of the border of an image, found by running it on labels.

use std::collections::HashSet;

use super::chain::{CHAIN_NODES_MAX, Chain};
use super::run::Run;
use repserve_graph::ops::Expand;
use repserve_graph::shapes::fixed;
use repserve_graph::{Graph, Node, Patch, Tensor, ValueId};

/// Batch extents that are tried where the model leaves it open, beside those that stand in the chain.
const BATCHES: [usize; 2] = [1, 3];

/// Batch extents above this are not tried.
const FROZEN_MAX: usize = 64;

/// The constant at the border of each channel, if that is what the chain makes.
pub(super) fn border(chain: &Chain<'_>) -> Option<Rewrite> {
    let first = chain.shapes.of(chain.source)?.first()?;
    let batches = match fixed(first) {
        Some(n) => vec![n],
        None => batches(chain),
    };
    let mut found: Option<Vec<f64>> = None;
    let mut dtype = chain.dtype();
    for batch in batches {
        let mut run = Run::new(chain, batch, first);
        let Some(labels) = run.labels() else { continue };
        let own = fill(chain, &labels, batch, &run.constants)?;
        dtype = dtype.or(run.dtype);
        if found.as_ref().is_some_and(|f| *f != own) {
            return None;
        }
        found = Some(own);
    }
    let dtype = dtype.filter(|t| t.is_float())?;
    let fill = Tensor::from_f64(dtype, &[1, chain.extents[0], 1, 1], &found?);
    Some(Rewrite {
        source: chain.source,
        pad: chain.pad.clone(),
        result: chain.result,
        fill,
    })
}

/// Batch extents to try: two of our own and those that an exporter may have frozen into an `Expand`.
fn batches(chain: &Chain<'_>) -> Vec<usize> {
    let mut batches = BATCHES.to_vec();
    let (mut open, mut seen) = (vec![chain.result], HashSet::from([chain.source]));
    while let Some(value) = open.pop().filter(|_| seen.len() < CHAIN_NODES_MAX) {
        let producer = chain.graph.producer(value).and_then(|id| chain.graph.node(id));
        let Some(node) = producer.filter(|_| seen.insert(value)) else {
            continue;
        };
        let constants = node.inputs.iter().flatten().filter_map(|v| chain.graph.constant(*v));
        let frozen = constants.filter(|t| t.shape().len() > 3).map(|t| t.shape()[0]);
        batches.extend(frozen.filter(|n| *n <= FROZEN_MAX));
        if let Ok(Some(expand)) = Expand::of(&chain.view().node(node)) {
            batches.extend(expand.extents.first().copied().filter(|n| *n <= FROZEN_MAX));
        }
        open.extend(node.inputs.iter().flatten());
    }
    batches.sort_unstable();
    batches.dedup();
    batches.retain(|n| *n > 0);
    batches
}

/// Reads the labels of the result: the image inside, `v[c]` around it.
fn fill(chain: &Chain<'_>, labels: &Tensor, batch: usize, constants: &[f64]) -> Option<Vec<f64>> {
    let [c, h, w] = chain.extents;
    let [top, left, bottom, right] = chain.pads;
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

/// What a chain is replaced by.
pub(super) struct Rewrite {
    source: ValueId,
    pad: Node,
    result: ValueId,
    fill: Tensor,
}

impl Rewrite {
    /// Puts the arithmetic in the place of the chain.
    pub(super) fn apply(self, graph: &mut Graph) {
        let Some(last) = graph.producer(self.result) else {
            return;
        };
        let stem = graph.value(self.result).name.clone();
        let like = graph.value(self.source).clone();
        let fill = graph.add_constant(format!("{stem}_border"), self.fill);
        let mut fresh = |suffix: &str| {
            let mut value = repserve_graph::Value::named(format!("{stem}_{suffix}"));
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
