//! Operators evaluated on constant tensors: what exporters compute at run time though nothing of it depends on the input.
//!
//! [`evaluate`] knows the operators that shapes, indices, zero biases and weights are computed with, in all their
//! operator sets (attributes that became inputs). What it does not know, or where an operand is odd, it leaves: the
//! result is then `None`, never a guess. Arithmetic is done in f64 and rounded once, which for `+ − × ÷ √` gives the
//! very number that the operator's own type gives.

mod arithmetic;
mod construct;
mod movement;
mod reduce;
mod reshape;
mod scatter;
#[cfg(test)]
mod tests;
mod view;

use repserve_graph::ops::{Cast, Constant, NodeView};
use repserve_graph::{DType, Node, Tensor};

/// Bytes that one folded constant may take.
pub(crate) const FOLDED_BYTES_MAX: usize = 64 << 20;

/// One application of an operator to constants.
pub(super) struct Call<'a> {
    view: NodeView<'a>,
    node: &'a Node,
    inputs: &'a [Option<&'a Tensor>],
    like: Option<DType>,
}

/// The first output of `node` on `inputs`; `None` where it is not known.
///
/// `opset` is the version of ONNX's operator set, `like` the element type of input 1 for `CastLike`, whose input need
/// not be constant.
pub(crate) fn evaluate(node: &Node, inputs: &[Option<&Tensor>], opset: i64, like: Option<DType>) -> Option<Tensor> {
    if !node.is(&node.op) {
        return None;
    }
    let call = Call {
        view: NodeView::of_tensors(node, inputs, opset),
        node,
        inputs,
        like,
    };
    match node.op.as_str() {
        "Constant" => Some(Constant::of(&call.view).ok()??.tensor),
        "ConstantOfShape" => call.constant_of_shape(),
        "Range" => call.range(),
        "Shape" => call.shape(),
        "Size" => Some(Tensor::from_i64(&[], &[i64::try_from(call.tensor(0)?.len()).ok()?])),
        "Cast" => call.cast(Cast::of(&call.view).ok()??.to),
        "CastLike" => call.cast(call.like?),
        "Identity" => call.tensor(0).cloned(),
        "Reshape" => call.reshape(),
        "Flatten" => call.flatten(),
        "Squeeze" => call.squeeze(),
        "Unsqueeze" => call.unsqueeze(),
        "Expand" => call.expand(),
        "Transpose" => call.transpose(),
        "Slice" => call.slice(),
        "Concat" => call.concat(),
        "Gather" => call.gather(),
        "Pad" => call.pad(),
        "ScatterND" => call.scatter_nd(),
        "ScatterElements" | "Scatter" => call.scatter_elements(),
        "Where" => call.select(),
        "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceL2" => call.reduce(),
        _ => call.elementwise(),
    }
}

impl<'a> Call<'a> {
    fn tensor(&self, index: usize) -> Option<&'a Tensor> {
        self.inputs.get(index).copied().flatten()
    }
}

/// Number of elements of a shape whose bytes stay under the limit.
fn elements(shape: &[usize], element_bytes: usize) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    (count.checked_mul(element_bytes)? <= FOLDED_BYTES_MAX).then_some(count)
}

/// Extents from integers of an operand.
fn extents(list: &[i64]) -> Option<Vec<usize>> {
    list.iter().map(|d| usize::try_from(*d).ok()).collect()
}

/// The shape that two shapes broadcast to.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
