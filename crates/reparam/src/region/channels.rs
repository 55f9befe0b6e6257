//! The number of channels of every value of a region.

use std::collections::HashMap;

use super::grow::Stop;
use super::linear::{LinearMap, classify};
use super::{Context, decoded};
use crate::reason::Reason;
use repserve_graph::ops::{Conv, Gemm, MatMul};
use repserve_graph::{Node, NodeId, Tensor, ValueId};

/// A node of a region and the kind of map that it is.
pub(super) type Member<'a> = (NodeId, &'a Node, LinearMap);

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
pub(super) fn ends(cx: &Context<'_>, node: &Node, map: LinearMap) -> Result<Option<(usize, usize)>, Reason> {
    let view = cx.view().node(node);
    let matrix = |weight: ValueId| match cx.graph.constant(weight).map(Tensor::shape) {
        Some(&[first, second]) if first > 0 && second > 0 => Ok([first, second]),
        _ => Err(Reason::NotUnderstood(node.op.clone())),
    };
    Ok(match map {
        LinearMap::Conv => {
            let conv = decoded(node, Conv::of(&view))?;
            Some((conv.in_channels, conv.out_channels))
        }
        LinearMap::Gemm => {
            let gemm = decoded(node, Gemm::of(&view))?;
            let [input, output] = gemm.features(matrix(gemm.weight)?);
            Some((input, output))
        }
        LinearMap::MatMul => {
            let [input, output] = matrix(decoded(node, MatMul::of(&view))?.weight)?;
            Some((input, output))
        }
        _ => None,
    })
}
