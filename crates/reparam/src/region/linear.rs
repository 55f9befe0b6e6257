//! Which operators are linear maps of their data inputs.

use super::{Context, decoded};
use crate::reason::Reason;
use repserve_graph::ops::{BatchNormalization, Dropout, LinearForm, Operator, Pad, Scaling, Sum};
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
    let operator = Operator::of(node).ok_or_else(not_linear)?;
    let view = cx.view().node(node);
    // Of a graph for training also the parameters are made at run time: that it is one says more.
    let trains = match operator.linear {
        Some(LinearForm::BatchNormalization) => decoded(node, BatchNormalization::of(&view))?.trains,
        Some(LinearForm::Dropout) => decoded(node, Dropout::of(&view))?.trains,
        _ => false,
    };
    if trains {
        return Err(Reason::TrainingMode(node.op.clone()));
    }
    let mut parameters = operator.parameters.iter().filter_map(|i| node.input(*i));
    let constant = parameters.all(|v| cx.graph.constant(v).is_some());
    let map = match operator.linear.ok_or_else(not_linear)? {
        LinearForm::Rounding => return Err(Reason::Quantized(node.op.clone())),
        LinearForm::Sum => return sum(cx, node),
        LinearForm::Scaling => return scaling(cx, node),
        _ if !constant => return Err(Reason::DynamicWeights(node.op.clone())),
        LinearForm::Conv => LinearMap::Conv,
        LinearForm::Gemm => LinearMap::Gemm,
        LinearForm::MatMul => LinearMap::MatMul,
        LinearForm::BatchNormalization => LinearMap::BatchNorm,
        LinearForm::AveragePool => LinearMap::AveragePool,
        LinearForm::Pad => {
            let pad = decoded(node, Pad::of(&view))?;
            if pad.mode != "constant" {
                return Err(Reason::PadMode(pad.mode.to_owned()));
            }
            LinearMap::Pad
        }
        LinearForm::Negation => LinearMap::Neg,
        LinearForm::Identity | LinearForm::Dropout => LinearMap::Pass,
    };
    Ok((map, vec![first]))
}

fn training(node: &Node) -> Option<Reason> {
    let form = Operator::of(node)?.linear?;
    let trains = matches!(form, LinearForm::BatchNormalization | LinearForm::Dropout);
    trains.then(|| Reason::TrainingMode(node.op.clone()))
}

/// A sum: of two operands one of which is a constant it shifts.
fn sum(cx: &Context<'_>, node: &Node) -> Result<(LinearMap, Vec<ValueId>), Reason> {
    let sum = decoded(node, Sum::of(&cx.view().node(node)))?;
    let operands = sum.terms.iter().map(|(value, _)| *value);
    let data: Vec<ValueId> = operands.filter(|v| cx.graph.constant(*v).is_none()).collect();
    match data.len() {
        0 => Err(Reason::NotLinear(node.op.clone())),
        1 if !sum.variadic => Ok((LinearMap::Binary, data)),
        _ => Ok((LinearMap::Sum, data)),
    }
}

/// A product with a constant, or a quotient by one.
fn scaling(cx: &Context<'_>, node: &Node) -> Result<(LinearMap, Vec<ValueId>), Reason> {
    let scaling = decoded(node, Scaling::of(&cx.view().node(node)))?;
    let [first, second] = scaling.operands;
    match [first, second].map(|v| cx.graph.constant(v).is_some()) {
        [false, true] => Ok((LinearMap::Binary, vec![first])),
        [true, false] if !scaling.divides => Ok((LinearMap::Binary, vec![second])),
        _ => Err(Reason::NotLinear(node.op.clone())),
    }
}
