//! A region of the graph as a program of linear maps.

use std::collections::HashMap;

use super::constants::{Layout, per_channel};
use super::grow::Stop;
use super::linear::{Kind, classify};
use super::windows::window;
use super::{Context, Region};
use crate::graph::{DType, Node, NodeId, Tensor, ValueId};
use crate::reparam::kernel::{Conv, Op, Program, Window};
use crate::reparam::reason::Reason;

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
    cx: &'a Context<'a>,
    layout: Layout,
    channels: HashMap<ValueId, usize>,
    values: HashMap<ValueId, usize>,
    ops: Vec<Op<'a>>,
    nodes: Vec<NodeId>,
}

/// Translates a region; `None` where it has no convolution or matrix product.
///
/// # Errors
/// The node that is not understood.
pub(crate) fn lower<'a>(cx: &'a Context<'a>, region: &Region<'_>) -> Result<Option<Lowered<'a>>, Stop> {
    let members: Vec<(NodeId, &Node, Kind)> = region
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
        cx,
        layout,
        channels,
        values: HashMap::from([(region.source, 0)]),
        ops: Vec::new(),
        nodes: Vec::new(),
    };
    for (id, node, kind) in &members {
        lowering
            .node(*id, node, *kind)
            .map_err(|reason| Stop { node: *id, reason })?;
    }
    if !region.terms.is_empty() {
        let node = region.nodes.last().copied().unwrap_or(NodeId(0));
        let term = |(value, factor): &(ValueId, f64)| lowering.values.get(value).map(|v| (*v, *factor));
        let Some(terms) = region.terms.iter().map(term).collect() else {
            return Err(Stop {
                node,
                reason: Reason::NotUnderstood("sum".into()),
            });
        };
        lowering.push(node, Op::Sum { terms });
    }
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

/// How far constants that an exporter computed in this type may be off, relative to what they were computed from.
fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 4e-6,
    }
}

type Member<'a> = (NodeId, &'a Node, Kind);

/// What the region can be written as and where its channels are.
fn target(cx: &Context<'_>, region: &Region<'_>, members: &[Member<'_>]) -> Result<Option<(Target, Layout)>, Stop> {
    let has = |kind| members.iter().any(|m| m.2 == kind);
    let mut ranks = members.iter().filter(|m| m.2 == Kind::Conv).map(|(id, node, _)| {
        let weight = node.input(1).and_then(|v| cx.graph.constant(v));
        (*id, weight.map_or(0, |w| w.shape().len()))
    });
    if let Some((_, rank)) = ranks.next() {
        let other = ranks.find(|(_, r)| *r != rank).map(|(id, _)| id);
        let matrix = members
            .iter()
            .find(|m| matches!(m.2, Kind::Gemm | Kind::MatMul))
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
    Ok(match (has(Kind::Gemm), has(Kind::MatMul)) {
        (true, _) => Some((Target::Gemm, Layout::Second(2))),
        (false, true) if rank == Some(2) => Some((Target::MatMul, Layout::Second(2))),
        (false, true) => Some((Target::MatMul, Layout::Last(rank))),
        (false, false) => None,
    })
}

fn dtype(cx: &Context<'_>, members: &[Member<'_>]) -> Result<DType, Stop> {
    let mut found = None;
    for (id, node, kind) in members {
        if !matches!(kind, Kind::Conv | Kind::Gemm | Kind::MatMul) {
            continue;
        }
        let own = node.input(1).and_then(|v| cx.graph.constant(v)).map(Tensor::dtype);
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

/// The number of channels of every value of the region, from the convolutions' weights outwards.
fn channels(cx: &Context<'_>, members: &[Member<'_>]) -> Result<HashMap<ValueId, usize>, Stop> {
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
fn ends(cx: &Context<'_>, node: &Node, kind: Kind) -> Result<Option<(usize, usize)>, Reason> {
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

fn groups(node: &Node) -> Result<usize, Reason> {
    let groups = node.attribute("group").map_or(Some(1), |a| a.as_int());
    let groups = groups.and_then(|g| usize::try_from(g).ok()).filter(|g| *g > 0);
    groups.ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
}

fn flag(node: &Node, name: &str) -> bool {
    node.attribute(name).and_then(|a| a.as_int()).unwrap_or(0) != 0
}

impl<'a> Lowering<'a> {
    fn node(&mut self, id: NodeId, node: &'a Node, kind: Kind) -> Result<(), Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let (_, data) = classify(self.cx, node)?;
        let inputs: Vec<usize> = data.iter().filter_map(|v| self.values.get(v).copied()).collect();
        let output = node.output(0).ok_or_else(unclear)?;
        if inputs.len() != data.len() || inputs.is_empty() {
            return Err(unclear());
        }
        let channels = self.channels.get(&data[0]).copied().ok_or_else(unclear)?;
        let made = match kind {
            Kind::Pass => inputs[0],
            Kind::Conv => {
                let op = self.conv(node, inputs[0], data[0])?;
                self.push(id, op)
            }
            Kind::Gemm | Kind::MatMul => {
                let op = self.matrix(node, kind, inputs[0])?;
                self.push(id, op)
            }
            Kind::BatchNorm => {
                let (scale, shift) = self.batch_norm(node, channels)?;
                self.push(
                    id,
                    Op::Affine {
                        input: inputs[0],
                        scale,
                        shift,
                    },
                )
            }
            Kind::AveragePool => {
                let window = self.pool(node, data[0])?;
                self.push(
                    id,
                    Op::Pool {
                        input: inputs[0],
                        window,
                    },
                )
            }
            Kind::Pad => {
                let op = self.pad(node, inputs[0], channels)?;
                self.push(id, op)
            }
            Kind::Neg => {
                let (scale, shift) = (vec![-1.0; channels], vec![0.0; channels]);
                self.push(
                    id,
                    Op::Affine {
                        input: inputs[0],
                        scale,
                        shift,
                    },
                )
            }
            Kind::Binary => {
                let (scale, shift) = self.binary(node, data[0], channels)?;
                self.push(
                    id,
                    Op::Affine {
                        input: inputs[0],
                        scale,
                        shift,
                    },
                )
            }
            Kind::Sum => self.sum(id, node, &data, inputs, channels)?,
        };
        self.values.insert(output, made);
        Ok(())
    }

    fn push(&mut self, id: NodeId, op: Op<'a>) -> usize {
        self.ops.push(op);
        self.nodes.push(id);
        self.ops.len()
    }

    fn constant(&self, node: &Node, index: usize) -> Option<&'a Tensor> {
        let cx: &'a Context<'a> = self.cx;
        node.input(index).and_then(|v| cx.graph.constant(v))
    }

    fn vector(&self, node: &Node, index: usize, len: usize) -> Result<Vec<f64>, Reason> {
        let tensor = self.constant(node, index).filter(|t| t.len() == len);
        tensor
            .and_then(Tensor::to_f64)
            .ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
    }

    fn conv(&self, node: &'a Node, input: usize, value: ValueId) -> Result<Op<'a>, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let weight = self.constant(node, 1).ok_or_else(unclear)?;
        let kernel = &weight.shape()[2..];
        if let Some(stated) = node.attribute("kernel_shape") {
            let stated = stated.as_ints().ok_or_else(unclear)?;
            if stated.len() != kernel.len() || stated.iter().zip(kernel).any(|(a, b)| *a != *b as i64) {
                return Err(unclear());
            }
        }
        let (in_channels, out_channels) = ends(self.cx, node, Kind::Conv)?.ok_or_else(unclear)?;
        if self.channels.get(&value) != Some(&in_channels) {
            return Err(unclear());
        }
        let bias = node.input(2).map(|_| self.vector(node, 2, out_channels)).transpose()?;
        Ok(Op::Conv(Conv {
            input,
            weight,
            transposed: false,
            factor: 1.0,
            bias,
            window: window(self.cx, node, kernel, value)?,
            groups: groups(node)?,
            in_channels,
            out_channels,
        }))
    }

    fn matrix(&self, node: &'a Node, kind: Kind, input: usize) -> Result<Op<'a>, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let weight = self.constant(node, 1).ok_or_else(unclear)?;
        let (in_channels, out_channels) = ends(self.cx, node, kind)?.ok_or_else(unclear)?;
        let float = |name: &str| node.attribute(name).and_then(|a| a.as_float()).map_or(1.0, f64::from);
        if flag(node, "transA") {
            return Err(unclear());
        }
        let bias = match node.input(2) {
            None => None,
            Some(_) => {
                let tensor = self.constant(node, 2).ok_or_else(unclear)?;
                let own = tensor.to_f64().ok_or_else(unclear)?;
                let wide = *tensor.shape().last().unwrap_or(&1);
                if own.len() != wide || (wide != 1 && wide != out_channels) {
                    return Err(Reason::NotPerChannel(node.op.clone()));
                }
                Some((0..out_channels).map(|c| own[c % wide] * float("beta")).collect())
            }
        };
        Ok(Op::Conv(Conv {
            input,
            weight,
            transposed: kind == Kind::MatMul || !flag(node, "transB"),
            factor: float("alpha"),
            bias,
            window: Window::pointwise(0),
            groups: 1,
            in_channels,
            out_channels,
        }))
    }

    fn batch_norm(&self, node: &Node, channels: usize) -> Result<(Vec<f64>, Vec<f64>), Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let spatial = node.attribute("spatial").and_then(|a| a.as_int()).unwrap_or(1);
        if spatial == 0 || !matches!(self.layout, Layout::Second(_)) {
            return Err(unclear());
        }
        let epsilon = node
            .attribute("epsilon")
            .map_or(Some(1e-5), |a| a.as_float())
            .ok_or_else(unclear)?;
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| self.vector(node, i, channels));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let deviation = variance.iter().map(|v| (v + f64::from(epsilon)).sqrt());
        let scale: Vec<f64> = gamma.iter().zip(deviation).map(|(g, d)| g / d).collect();
        let shift = beta
            .iter()
            .zip(&mean)
            .zip(&scale)
            .map(|((b, m), s)| b - m * s)
            .collect();
        Ok((scale, shift))
    }

    fn pool(&self, node: &Node, value: ValueId) -> Result<Window, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let kernel = node
            .attribute("kernel_shape")
            .and_then(|a| a.as_ints())
            .ok_or_else(unclear)?;
        let kernel: Option<Vec<usize>> = kernel.iter().map(|k| usize::try_from(*k).ok()).collect();
        let kernel = kernel.ok_or_else(unclear)?;
        let window = window(self.cx, node, &kernel, value)?;
        let Layout::Second(rank) = self.layout else {
            return Err(unclear());
        };
        if kernel.len() + 2 != rank {
            return Err(unclear());
        }
        if window.is_padded() && !flag(node, "count_include_pad") {
            return Err(Reason::PoolCount);
        }
        let exact = |axis: usize| {
            let reach = window.dilations[axis] * (kernel[axis] - 1);
            let extent = self.cx.shapes.spatial(value, kernel.len()).and_then(|e| e[axis]);
            let padded = extent.map(|n| n + window.begins[axis] + window.ends[axis]);
            padded
                .and_then(|n| n.checked_sub(reach + 1))
                .is_some_and(|n| n % window.strides[axis] == 0)
        };
        if flag(node, "ceil_mode") && !(0..kernel.len()).all(|a| window.strides[a] == 1 || exact(a)) {
            return Err(Reason::CeilMode);
        }
        Ok(window)
    }

    fn pad(&self, node: &Node, input: usize, channels: usize) -> Result<Op<'a>, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let Layout::Second(rank) = self.layout else {
            return Err(unclear());
        };
        let old = node.attribute("pads").or_else(|| node.attribute("paddings"));
        let pads = match old {
            Some(list) => list.as_ints().map(<[i64]>::to_vec),
            None => self.constant(node, 1).and_then(Tensor::to_i64),
        };
        let pads = pads.ok_or_else(unclear)?;
        let value = match node.input(2) {
            Some(_) => self.vector(node, 2, 1)?[0],
            None => node
                .attribute("value")
                .and_then(|v| v.as_float())
                .map_or(0.0, f64::from),
        };
        let axes: Vec<i64> = match node.input(3) {
            Some(_) => self.constant(node, 3).and_then(Tensor::to_i64).ok_or_else(unclear)?,
            None => (0..rank as i64).collect(),
        };
        if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.abs() > 1 << 20) {
            return Err(unclear());
        }
        let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
        for (i, axis) in axes.iter().enumerate() {
            let axis = usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).map_err(|_| unclear())?;
            *before.get_mut(axis).ok_or_else(unclear)? = pads[i];
            after[axis] = pads[axes.len() + i];
        }
        if rank < 2 || before[..2].iter().chain(&after[..2]).any(|p| *p != 0) {
            return Err(unclear());
        }
        Ok(Op::Pad {
            input,
            before: before[2..].to_vec(),
            after: after[2..].to_vec(),
            fill: vec![value; channels],
        })
    }

    /// Scale and shift of an operator with one constant operand.
    fn binary(&self, node: &Node, value: ValueId, channels: usize) -> Result<(Vec<f64>, Vec<f64>), Reason> {
        let first = node.input(0) == Some(value);
        let own = self
            .constant(node, usize::from(first))
            .and_then(|t| per_channel(self.cx, node, t, value, self.layout, channels))
            .ok_or_else(|| Reason::NotPerChannel(node.op.clone()))?;
        let same = |v: f64| vec![v; channels];
        Ok(match node.op.as_str() {
            "Add" => (same(1.0), own),
            "Sub" if first => (same(1.0), own.iter().map(|v| -v).collect()),
            "Sub" => (same(-1.0), own),
            "Mul" => (own, same(0.0)),
            _ => (own.iter().map(|v| 1.0 / v).collect(), same(0.0)),
        })
    }

    fn sum(
        &mut self,
        id: NodeId,
        node: &Node,
        data: &[ValueId],
        inputs: Vec<usize>,
        channels: usize,
    ) -> Result<usize, Reason> {
        let operands = node.inputs.len() as f64;
        let factor = if node.is("Mean") { 1.0 / operands } else { 1.0 };
        let signed = |i: usize| if node.is("Sub") && i == 1 { -factor } else { factor };
        let terms = inputs.into_iter().enumerate().map(|(i, v)| (v, signed(i))).collect();
        let sum = self.push(id, Op::Sum { terms });
        let mut shift = vec![0.0; channels];
        let mut shifted = false;
        for constant in node.inputs.iter().flatten().filter_map(|v| self.cx.graph.constant(*v)) {
            let own = per_channel(self.cx, node, constant, data[0], self.layout, channels);
            let own = own.ok_or_else(|| Reason::NotPerChannel(node.op.clone()))?;
            shift.iter_mut().zip(own).for_each(|(s, v)| *s += factor * v);
            shifted = true;
        }
        if !shifted {
            return Ok(sum);
        }
        let scale = vec![1.0; channels];
        Ok(self.push(
            id,
            Op::Affine {
                input: sum,
                scale,
                shift,
            },
        ))
    }
}
