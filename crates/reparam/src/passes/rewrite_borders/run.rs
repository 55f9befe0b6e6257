//! Running a chain of operators on labels that say where each element comes from.

use std::collections::HashMap;

use super::chain::{CHAIN_NODES_MAX, Chain, LABELS_MAX};
use crate::fold::evaluate;
use repserve_graph::ops::{Cast, MovedInputs, Operator, Pad, ShapeOf};
use repserve_graph::{DType, Dim, Node, Tensor, ValueId};

/// A value of a run: numbers, or labels in place of elements that are not looked at.
#[derive(Clone)]
struct Known {
    tensor: Tensor,
    is_label: bool,
}

/// One run of the chain on labels: 0 is the padding's zero, `i + 1` element `i` of the source, `−i − 1` constant `i`.
pub(super) struct Run<'c, 'a> {
    chain: &'c Chain<'a>,
    batch: usize,
    symbol: &'c Dim,
    values: HashMap<ValueId, Option<Known>>,
    nodes: usize,
    /// The constants' elements.
    pub(super) constants: Vec<f64>,
    /// The element type of the first constant.
    pub(super) dtype: Option<DType>,
}

impl<'c, 'a> Run<'c, 'a> {
    /// A run with `batch` in place of the dimension `symbol`.
    pub(super) fn new(chain: &'c Chain<'a>, batch: usize, symbol: &'c Dim) -> Self {
        Self {
            chain,
            batch,
            symbol,
            values: HashMap::new(),
            nodes: 0,
            constants: Vec::new(),
            dtype: None,
        }
    }

    /// The labels of the chain's result, if it can be run.
    pub(super) fn labels(&mut self) -> Option<Tensor> {
        self.value(self.chain.result).filter(|k| k.is_label).map(|k| k.tensor)
    }

    fn value(&mut self, value: ValueId) -> Option<Known> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        self.nodes += 1;
        if self.nodes > CHAIN_NODES_MAX {
            return None;
        }
        let made = self.make(value);
        self.values.insert(value, made.clone());
        made
    }

    fn make(&mut self, value: ValueId) -> Option<Known> {
        let graph = self.chain.graph;
        if value == self.chain.source {
            let [c, h, w] = self.chain.extents;
            let count = self.batch.checked_mul(c * h * w).filter(|n| *n <= 4 * LABELS_MAX)?;
            let labels: Vec<i64> = (1..=count as i64).collect();
            return Some(label(Tensor::from_i64(&[self.batch, c, h, w], &labels)));
        }
        if let Some(tensor) = graph.constant(value) {
            return self.constant(tensor);
        }
        let node = graph.node(graph.producer(value)?)?;
        if let Some(asked) = ShapeOf::of(&self.chain.view().node(node)).ok()? {
            return self.shape(node, asked).map(number);
        }
        let mut inputs: Vec<Option<Known>> = Vec::with_capacity(node.inputs.len());
        for (i, input) in node.inputs.iter().enumerate() {
            inputs.push(match input {
                None => None,
                Some(_) if node.is("Pad") && i == Pad::FILL => Some(number(Tensor::from_i64(&[], &[0]))),
                Some(v) => Some(self.value(*v)?),
            });
        }
        let is_label = moves_labels(node, &inputs)?;
        if is_label && (node.is("Cast") || node.is("CastLike")) {
            return self.cast(node, &inputs);
        }
        let tensors: Vec<Option<&Tensor>> = inputs.iter().map(|k| k.as_ref().map(|k| &k.tensor)).collect();
        let tensor = evaluate(node, &tensors, self.chain.opset, None)?;
        Some(Known { tensor, is_label })
    }

    /// Integers stay what they are; the elements of a float constant get labels.
    fn constant(&mut self, tensor: &Tensor) -> Option<Known> {
        let Some(values) = tensor.to_f64() else {
            return Some(number(tensor.clone()));
        };
        let first = self.constants.len();
        if first + values.len() > LABELS_MAX {
            return None;
        }
        let labels: Vec<i64> = (first..first + values.len()).map(|i| -(i as i64) - 1).collect();
        self.constants.extend(values);
        self.dtype.get_or_insert(tensor.dtype());
        Some(label(Tensor::from_i64(tensor.shape(), &labels)))
    }

    /// A cast of elements that are not looked at: to the chain's own type, which changes nothing.
    fn cast(&self, node: &Node, inputs: &[Option<Known>]) -> Option<Known> {
        let to = Cast::of(&self.chain.view().node(node)).ok()?.map(|cast| cast.to);
        let own = to.is_some() && to == self.chain.dtype();
        let like = inputs.get(1).and_then(Option::as_ref).is_some_and(|k| k.is_label);
        (own || like).then(|| inputs.first().cloned().flatten()).flatten()
    }

    /// `Shape` of a value of the chain, or of one whose extents are known up to the batch's.
    fn shape(&mut self, node: &Node, asked: ShapeOf) -> Option<Tensor> {
        let of = node.input(0)?;
        let known = self.chain.shapes.of(of).map(|shape| asked.part(shape));
        let part: Option<Vec<i64>> = known.and_then(|part| part.iter().map(|d| self.extent(d)).collect());
        let part = match part {
            Some(part) => part,
            None => {
                let extents = asked.part(self.value(of)?.tensor.shape());
                extents.iter().map(|d| i64::try_from(*d).ok()).collect::<Option<_>>()?
            }
        };
        Some(Tensor::from_i64(&[part.len()], &part))
    }

    fn extent(&self, dim: &Dim) -> Option<i64> {
        match dim {
            Dim::Fixed(n) => i64::try_from(*n).ok(),
            Dim::Symbol(s) if !s.is_empty() && dim == self.symbol => i64::try_from(self.batch).ok(),
            Dim::Symbol(_) => None,
        }
    }
}

fn label(tensor: Tensor) -> Known {
    Known { tensor, is_label: true }
}

fn number(tensor: Tensor) -> Known {
    Known {
        tensor,
        is_label: false,
    }
}

/// Whether the node's result holds labels; `None` where labels would be computed with, or mixed with numbers.
fn moves_labels(node: &Node, inputs: &[Option<Known>]) -> Option<bool> {
    let moved = Operator::of(node).map_or(MovedInputs::None, |op| op.moves);
    let Some(first) = moved.first() else {
        let any = inputs.iter().flatten().any(|k| k.is_label);
        return (!any).then_some(false);
    };
    let of = |index: usize| inputs.get(index).and_then(Option::as_ref).map(|k| k.is_label);
    let expected = of(first)?;
    let fits = (0..inputs.len()).all(|i| of(i).is_none_or(|l| l == (expected && moved.contains(i))));
    fits.then_some(expected)
}
