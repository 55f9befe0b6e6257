//! The number of channels of every value of a region.

use std::collections::HashMap;

use super::Context;
use super::grow::Stop;
use super::linear::{Kind, classify};
use crate::reason::Reason;
use repserve_graph::{Node, NodeId, ValueId};

/// A node of a region and the kind of map that it is.
pub(super) type Member<'a> = (NodeId, &'a Node, Kind);

/// The number of channels of every value of the region, from the convolutions' weights outwards.
pub(super) fn channels(cx: &Context<'_>, members: &[Member<'_>]) -> Result<HashMap<ValueId, usize>, Stop> {
    let mut known: HashMap<ValueId, usize> = HashMap::new();
    loop {
        let before = known.len();
        for reverse in [false, true] {
            for i in 0..members.len() {
                let (id, node, kind) = members[if reverse { members.len() - 1 - i } else { i }];
                let stop = |reason| Stop { node: id, reason };
                let (_, data) = classify(cx, node).map_err(stop)?;
                let output = node.output(0).into_iter();
                if let Some((input, made)) = ends(cx, node, kind).map_err(stop)? {
                    known.insert(data[0], input);
                    known.extend(output.map(|o| (o, made)));
                    continue;
                }
                let all: Vec<ValueId> = data.into_iter().chain(output).collect();
                if let Some(n) = all.iter().find_map(|v| known.get(v)).copied() {
                    for v in all {
                        known.entry(v).or_insert(n);
                    }
                }
            }
        }
        if known.len() == before {
            return Ok(known);
        }
    }
}

/// Channels that a convolution or matrix product reads and makes; `None` for other maps.
pub(super) fn ends(cx: &Context<'_>, node: &Node, kind: Kind) -> Result<Option<(usize, usize)>, Reason> {
    let unclear = || Reason::NotUnderstood(node.op.clone());
    if !matches!(kind, Kind::Conv | Kind::Gemm | Kind::MatMul) {
        return Ok(None);
    }
    let weight = node.input(1).and_then(|v| cx.graph.constant(v)).ok_or_else(unclear)?;
    let shape = weight.shape();
    if weight.is_empty() || (kind != Kind::Conv && shape.len() != 2) {
        return Err(unclear());
    }
    match kind {
        Kind::Conv if shape.len() > 2 => {
            let groups = groups(node)?;
            if shape[0] % groups != 0 {
                return Err(unclear());
            }
            Ok(Some((shape[1].checked_mul(groups).ok_or_else(unclear)?, shape[0])))
        }
        Kind::Gemm if flag(node, "transB") => Ok(Some((shape[1], shape[0]))),
        Kind::Gemm | Kind::MatMul => Ok(Some((shape[0], shape[1]))),
        _ => Err(unclear()),
    }
}

/// The number of groups of a convolution.
pub(super) fn groups(node: &Node) -> Result<usize, Reason> {
    let groups = node.attribute("group").map_or(Some(1), |a| a.as_int());
    let groups = groups.and_then(|g| usize::try_from(g).ok()).filter(|g| *g > 0);
    groups.ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
}

/// Whether an attribute is set.
pub(super) fn flag(node: &Node, name: &str) -> bool {
    node.attribute(name).and_then(|a| a.as_int()).unwrap_or(0) != 0
}
