//! What a region can be written as: the operator, where its channels are, the element type.

use super::channels::Member;
use super::constants::Layout;
use super::grow::Stop;
use super::linear::LinearMap;
use super::{Context, Region};
use crate::reason::Reason;
use repserve_graph::ops::Operator;
use repserve_graph::{DType, Node, Tensor};

/// The operator that a region becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `Conv`.
    Conv,
    /// `Gemm`.
    Gemm,
    /// `MatMul`, then `Add` where there is a bias.
    MatMul,
}

/// What the region can be written as and where its channels are.
pub(super) fn target(
    cx: &Context<'_>,
    region: &Region<'_>,
    members: &[Member<'_>],
) -> Result<Option<(Target, Layout)>, Stop> {
    let has = |kind| members.iter().any(|m| m.2 == kind);
    let mut ranks = members
        .iter()
        .filter(|m| m.2 == LinearMap::Conv)
        .map(|(id, node, _)| (*id, weight(cx, node).map_or(0, |w| w.shape().len())));
    if let Some((_, rank)) = ranks.next() {
        let other = ranks.find(|(_, r)| *r != rank).map(|(id, _)| id);
        let matrix = members
            .iter()
            .find(|m| matches!(m.2, LinearMap::Gemm | LinearMap::MatMul))
            .map(|m| m.0);
        return match other.or(matrix) {
            Some(node) => Err(Stop {
                node,
                reason: Reason::NotUnderstood("region".into()),
            }),
            None => Ok(Some((Target::Conv, Layout::Second(rank)))),
        };
    }
    let rank = cx.shapes.rank(region.source);
    Ok(match (has(LinearMap::Gemm), has(LinearMap::MatMul)) {
        (true, _) => Some((Target::Gemm, Layout::Second(2))),
        (false, true) if rank == Some(2) => Some((Target::MatMul, Layout::Second(2))),
        (false, true) => Some((Target::MatMul, Layout::Last(rank))),
        (false, false) => None,
    })
}

/// The weights of a convolution or matrix product.
fn weight<'a>(cx: &Context<'a>, node: &Node) -> Option<&'a Tensor> {
    let first = Operator::of(node)?.parameters.first()?;
    cx.graph.constant(node.input(*first)?)
}

/// The element type of a region's weights.
pub(super) fn dtype(cx: &Context<'_>, members: &[Member<'_>]) -> Result<DType, Stop> {
    let mut found = None;
    for (id, node, kind) in members {
        if !matches!(kind, LinearMap::Conv | LinearMap::Gemm | LinearMap::MatMul) {
            continue;
        }
        let own = weight(cx, node).map(Tensor::dtype);
        match own {
            Some(t) if !t.is_float() => {
                return Err(Stop {
                    node: *id,
                    reason: Reason::NotUnderstood(node.op.clone()),
                });
            }
            t if found.is_some() && found != t => {
                return Err(Stop {
                    node: *id,
                    reason: Reason::MixedTypes,
                });
            }
            t => found = t,
        }
    }
    Ok(found.unwrap_or(DType::F32))
}

/// How far constants that an exporter computed in this type may be off, relative to what they were computed from.
pub(super) fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 4e-6,
    }
}
