//! Which operators are linear maps of their data inputs.

use super::{Context, decoded};
use crate::reason::Reason;
use repserve_graph::ops::{BatchNormalization, Pad};
use repserve_graph::{Node, ValueId};

/// An operator that is a linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearMap {
    /// A convolution with constant weights.
    Conv,
    /// `Gemm` with a constant right side.
    Gemm,
    /// `MatMul` with a constant right side.
    MatMul,
    /// Batch normalization with constant statistics.
    BatchNorm,
    /// Average over a window.
    AveragePool,
    /// A border.
    Pad,
    /// `Mul`, `Div`, `Add` or `Sub` with a constant.
    Binary,
    /// Negation.
    Neg,
    /// `Add`, `Sub`, `Sum`, `Mean` of several values.
    Sum,
    /// The value itself.
    Pass,
}

/// What kind of linear map the node is, and of which values.
///
/// # Errors
/// Why it is none.
pub(crate) fn classify(cx: &Context<'_>, node: &Node) -> Result<(LinearMap, Vec<ValueId>), Reason> {
    let not_linear = || Reason::NotLinear(node.op.clone());
    if !node.captures.is_empty() || !node.is(&node.op) || node.outputs.iter().skip(1).any(Option::is_some) {
        return Err(training(node).unwrap_or_else(not_linear));
    }
    let first = node.input(0).ok_or_else(not_linear)?;
    let one = |kind| Ok((kind, vec![first]));
    match node.op.as_str() {
        "Conv" => constants(cx, node, 1..3).and_then(|()| one(LinearMap::Conv)),
        "Gemm" => constants(cx, node, 1..3).and_then(|()| one(LinearMap::Gemm)),
        "MatMul" => constants(cx, node, 1..2).and_then(|()| one(LinearMap::MatMul)),
        "BatchNormalization" => {
            if decoded(node, BatchNormalization::of(&cx.view().node(node)))?.trains {
                return Err(Reason::TrainingMode(node.op.clone()));
            }
            constants(cx, node, 1..5).and_then(|()| one(LinearMap::BatchNorm))
        }
        "AveragePool" => one(LinearMap::AveragePool),
        "Pad" => {
            constants(cx, node, 1..4)?;
            let pad = decoded(node, Pad::of(&cx.view().node(node)))?;
            if pad.mode != "constant" {
                return Err(Reason::PadMode(pad.mode.to_owned()));
            }
            one(LinearMap::Pad)
        }
        "Neg" => one(LinearMap::Neg),
        "Identity" => one(LinearMap::Pass),
        "Dropout" => {
            let trains = node.input(2).is_some_and(|v| {
                let flag = cx.graph.constant(v).and_then(|t| t.to_i64());
                flag.is_none_or(|f| f.iter().any(|x| *x != 0))
            });
            let old = cx.opset < 7 && node.attribute("is_test").and_then(|a| a.as_int()).unwrap_or(0) == 0;
            if trains || old {
                Err(Reason::TrainingMode(node.op.clone()))
            } else {
                one(LinearMap::Pass)
            }
        }
        "Add" | "Sub" | "Sum" | "Mul" | "Div" | "Mean" => combination(cx, node),
        "QuantizeLinear" | "DequantizeLinear" => Err(Reason::Quantized(node.op.clone())),
        _ => Err(not_linear()),
    }
}

fn training(node: &Node) -> Option<Reason> {
    (node.is("BatchNormalization") || node.is("Dropout")).then(|| Reason::TrainingMode(node.op.clone()))
}

fn constants(cx: &Context<'_>, node: &Node, inputs: std::ops::Range<usize>) -> Result<(), Reason> {
    let mut present = inputs.filter_map(|i| node.input(i));
    if present.all(|v| cx.graph.constant(v).is_some()) {
        Ok(())
    } else {
        Err(Reason::DynamicWeights(node.op.clone()))
    }
}

/// Element-wise operators of several operands: with constants they scale and shift, without they sum.
fn combination(cx: &Context<'_>, node: &Node) -> Result<(LinearMap, Vec<ValueId>), Reason> {
    let not_linear = || Reason::NotLinear(node.op.clone());
    if node.inputs.iter().any(Option::is_none) {
        return Err(not_linear());
    }
    let operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    let data: Vec<ValueId> = operands
        .iter()
        .copied()
        .filter(|v| cx.graph.constant(*v).is_none())
        .collect();
    let sums = matches!(node.op.as_str(), "Add" | "Sub" | "Sum" | "Mean");
    match (data.len(), operands.len()) {
        (0, _) => Err(not_linear()),
        (1, 1) if sums => Ok((LinearMap::Sum, data)),
        (1, 2) if node.is("Div") && cx.graph.constant(operands[0]).is_some() => Err(not_linear()),
        (1, 2) if !matches!(node.op.as_str(), "Sum" | "Mean") => Ok((LinearMap::Binary, data)),
        (n, m) if sums && (n > 1 || m > 2 || matches!(node.op.as_str(), "Sum" | "Mean")) => Ok((LinearMap::Sum, data)),
        _ => Err(not_linear()),
    }
}
