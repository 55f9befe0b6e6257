//! A region of the graph as a program of linear maps.

use std::collections::HashMap;

use super::channels::{Member, channels};
use super::constants::{Layout, per_channel};
use super::grow::Stop;
use super::linear::{LinearMap, classify};
use super::maps::{Affine, MapReader};
use super::target::{Target, dtype, rounding, target};
use super::{Context, Region, decoded};
use crate::algebra::{Op, Program};
use crate::reason::Reason;
use repserve_graph::ops::Sum;
use repserve_graph::{DType, Node, NodeId, ValueId};

/// A region as a program.
pub(crate) struct Lowered<'a> {
    /// The maps.
    pub(crate) program: Program<'a>,
    /// The node that each map stands for.
    pub(crate) nodes: Vec<NodeId>,
    /// What it can be written as.
    pub(crate) target: Target,
    /// Element type of its weights.
    pub(crate) dtype: DType,
    /// How many convolutions or matrix products it has.
    pub(crate) convs: usize,
}

/// What is being built.
struct Lowering<'a> {
    reader: MapReader<'a>,
    values: HashMap<ValueId, usize>,
    ops: Vec<Op<'a>>,
    nodes: Vec<NodeId>,
}

/// Translates a region; `None` where it has no convolution or matrix product.
///
/// # Errors
/// The node that is not understood.
pub(crate) fn lower<'a>(cx: &'a Context<'a>, region: &Region<'_>) -> Result<Option<Lowered<'a>>, Stop> {
    let members: Vec<Member<'_>> = region
        .nodes
        .iter()
        .rev()
        .filter_map(|id| {
            let node = cx.graph.node(*id)?;
            Some((*id, node, classify(cx, node).ok()?.0))
        })
        .collect();
    let Some((target, layout)) = target(cx, region, &members)? else {
        return Ok(None);
    };
    let dtype = dtype(cx, &members)?;
    let channels = channels(cx, &members)?;
    let Some(source_channels) = channels.get(&region.source).copied() else {
        let node = region.nodes[0];
        return Err(Stop {
            node,
            reason: Reason::NotUnderstood("region".into()),
        });
    };
    let mut lowering = Lowering {
        reader: MapReader { cx, layout, channels },
        values: HashMap::from([(region.source, 0)]),
        ops: Vec::new(),
        nodes: Vec::new(),
    };
    for (id, node, kind) in &members {
        lowering
            .node(*id, node, *kind)
            .map_err(|reason| Stop { node: *id, reason })?;
    }
    lowering.sum_terms(region)?;
    let rank = if let Layout::Second(rank) = layout {
        rank.saturating_sub(2)
    } else {
        0
    };
    let extents = cx
        .shapes
        .spatial(region.source, rank)
        .and_then(|e| e.into_iter().collect());
    let convs = lowering.ops.iter().filter(|op| matches!(op, Op::Conv(_))).count();
    Ok(Some(Lowered {
        program: Program {
            rank,
            channels: source_channels,
            extents,
            rounding: rounding(dtype),
            ops: lowering.ops,
        },
        nodes: lowering.nodes,
        target,
        dtype,
        convs,
    }))
}

impl<'a> Lowering<'a> {
    fn node(&mut self, id: NodeId, node: &'a Node, kind: LinearMap) -> Result<(), Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let (_, data) = classify(self.reader.cx, node)?;
        let inputs: Vec<usize> = data.iter().filter_map(|v| self.values.get(v).copied()).collect();
        let output = node.output(0).ok_or_else(unclear)?;
        if inputs.len() != data.len() || inputs.is_empty() {
            return Err(unclear());
        }
        let (value, input) = (data[0], inputs[0]);
        let channels = self.reader.channels.get(&value).copied().ok_or_else(unclear)?;
        let made = match kind {
            LinearMap::Pass => input,
            LinearMap::Conv => self.push(id, self.reader.conv(node, input, value)?),
            LinearMap::Gemm => self.push(id, self.reader.gemm(node, input)?),
            LinearMap::MatMul => self.push(id, self.reader.matmul(node, input)?),
            LinearMap::BatchNorm => self.push(id, affine(input, self.reader.batch_norm(node, channels)?)),
            LinearMap::AveragePool => {
                let window = self.reader.pool(node, value)?;
                self.push(id, Op::Pool { input, window })
            }
            LinearMap::Pad => self.push(id, self.reader.pad(node, input, channels)?),
            LinearMap::Neg => self.push(id, affine(input, (vec![-1.0; channels], vec![0.0; channels]))),
            LinearMap::Binary => self.push(id, affine(input, self.reader.binary(node, value, channels)?)),
            LinearMap::Sum => self.sum(id, node, value, channels)?,
        };
        self.values.insert(output, made);
        Ok(())
    }

    /// Where the result is no node's, the sum that makes it.
    fn sum_terms(&mut self, region: &Region<'_>) -> Result<(), Stop> {
        if region.terms.is_empty() {
            return Ok(());
        }
        let node = region.nodes.last().copied().unwrap_or(NodeId(0));
        let term = |(value, factor): &(ValueId, f64)| self.values.get(value).map(|v| (*v, *factor));
        let terms: Option<Vec<_>> = region.terms.iter().map(term).collect();
        let reason = Reason::NotUnderstood("sum".into());
        let terms = terms.ok_or(Stop { node, reason })?;
        self.push(node, Op::Sum { terms });
        Ok(())
    }

    fn push(&mut self, id: NodeId, op: Op<'a>) -> usize {
        self.ops.push(op);
        self.nodes.push(id);
        self.ops.len()
    }

    /// A sum of several values and constants; `data` is one of the values.
    fn sum(&mut self, id: NodeId, node: &Node, data: ValueId, channels: usize) -> Result<usize, Reason> {
        let cx = self.reader.cx;
        let sum = decoded(node, Sum::of(&cx.view().node(node)))?;
        let mut terms = Vec::new();
        let mut shift: Option<Vec<f64>> = None;
        for (value, factor) in sum.terms {
            let Some(constant) = cx.graph.constant(value) else {
                let term = self.values.get(&value).copied();
                terms.push((term.ok_or_else(|| Reason::NotUnderstood(node.op.clone()))?, factor));
                continue;
            };
            let own = per_channel(cx, node, constant, data, self.reader.layout, channels)
                .ok_or_else(|| Reason::NotPerChannel(node.op.clone()))?;
            let shift = shift.get_or_insert_with(|| vec![0.0; channels]);
            shift.iter_mut().zip(own).for_each(|(s, v)| *s += factor * v);
        }
        let sum = self.push(id, Op::Sum { terms });
        Ok(match shift {
            None => sum,
            Some(shift) => self.push(id, affine(sum, (vec![1.0; channels], shift))),
        })
    }
}

fn affine<'a>(input: usize, (scale, shift): Affine) -> Op<'a> {
    Op::Affine { input, scale, shift }
}
