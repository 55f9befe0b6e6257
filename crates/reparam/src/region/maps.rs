//! One node as a linear map: its attributes and constants read.

use std::collections::HashMap;

use super::channels::ends;
use super::constants::{Layout, per_channel};
use super::linear::LinearMap;
use super::{Context, decoded};
use crate::algebra::{ConvMap, Op};
use crate::reason::Reason;
use repserve_graph::ops::{BatchNormalization, Conv, Gemm, MatMul, NodeView, Pad, Pool, Scaling, Sum, Window};
use repserve_graph::{Node, Tensor, ValueId};

/// Spatial axes that the algebra handles.
const AXES_MAX: usize = 3;

/// Scale and shift, a channel each.
pub(super) type Affine = (Vec<f64>, Vec<f64>);

/// Reads the nodes of one region.
pub(super) struct MapReader<'a> {
    pub(super) cx: &'a Context<'a>,
    /// Where the channels of the region's values are.
    pub(super) layout: Layout,
    /// The number of channels of each value.
    pub(super) channels: HashMap<ValueId, usize>,
}

impl<'a> MapReader<'a> {
    fn view(&self, node: &'a Node) -> NodeView<'a> {
        self.cx.view().node(node)
    }

    fn constant(&self, node: &Node, value: ValueId) -> Result<&'a Tensor, Reason> {
        let constant = self.cx.graph.constant(value);
        constant.ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
    }

    fn vector(&self, node: &Node, value: ValueId, len: usize) -> Result<Vec<f64>, Reason> {
        let tensor = self.cx.graph.constant(value).filter(|t| t.len() == len);
        tensor
            .and_then(Tensor::to_f64)
            .ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
    }

    pub(super) fn conv(&self, node: &'a Node, input: usize, value: ValueId) -> Result<Op<'a>, Reason> {
        let conv = decoded(node, Conv::of(&self.view(node)))?;
        if self.channels.get(&value) != Some(&conv.in_channels) || conv.window.kernel.len() > AXES_MAX {
            return Err(Reason::NotUnderstood(node.op.clone()));
        }
        let bias = conv
            .bias
            .map(|bias| self.vector(node, bias, conv.out_channels))
            .transpose()?;
        Ok(Op::Conv(ConvMap {
            input,
            weight: self.constant(node, conv.weight)?,
            transposed: false,
            factor: 1.0,
            bias,
            window: conv.window,
            groups: conv.groups,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
        }))
    }

    /// `Gemm` with a constant right side.
    pub(super) fn gemm(&self, node: &'a Node, input: usize) -> Result<Op<'a>, Reason> {
        let gemm = decoded(node, Gemm::of(&self.view(node)))?;
        if gemm.input_transposed {
            return Err(Reason::NotUnderstood(node.op.clone()));
        }
        let mut map = self.product(node, LinearMap::Gemm, input, gemm.weight)?;
        map.transposed = !gemm.weight_transposed;
        map.factor = f64::from(gemm.alpha);
        map.bias = match gemm.bias {
            None => None,
            Some(bias) => Some(self.row_bias(node, bias, map.out_channels, f64::from(gemm.beta))?),
        };
        Ok(Op::Conv(map))
    }

    /// `MatMul` with a constant right side.
    pub(super) fn matmul(&self, node: &'a Node, input: usize) -> Result<Op<'a>, Reason> {
        let product = decoded(node, MatMul::of(&self.view(node)))?;
        self.product(node, LinearMap::MatMul, input, product.weight)
            .map(Op::Conv)
    }

    /// A product with the constant `weight`, stored as (inputs, outputs).
    fn product(&self, node: &'a Node, map: LinearMap, input: usize, weight: ValueId) -> Result<ConvMap<'a>, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let (in_channels, out_channels) = ends(self.cx, node, map)?.ok_or_else(unclear)?;
        Ok(ConvMap {
            input,
            weight: self.constant(node, weight)?,
            transposed: true,
            factor: 1.0,
            bias: None,
            window: Window::pointwise(0),
            groups: 1,
            in_channels,
            out_channels,
        })
    }

    /// What a `Gemm` adds, a number an output channel.
    fn row_bias(&self, node: &Node, bias: ValueId, channels: usize, factor: f64) -> Result<Vec<f64>, Reason> {
        let tensor = self.constant(node, bias)?;
        let own = tensor.to_f64().map(|own| (own, *tensor.shape().last().unwrap_or(&1)));
        let (own, wide) = own.ok_or_else(|| Reason::NotUnderstood(node.op.clone()))?;
        if own.len() != wide || (wide != 1 && wide != channels) {
            return Err(Reason::NotPerChannel(node.op.clone()));
        }
        Ok((0..channels).map(|c| own[c % wide] * factor).collect())
    }

    pub(super) fn batch_norm(&self, node: &'a Node, channels: usize) -> Result<Affine, Reason> {
        let norm = decoded(node, BatchNormalization::of(&self.view(node)))?;
        if !norm.per_channel || !matches!(self.layout, Layout::Second(_)) {
            return Err(Reason::NotUnderstood(node.op.clone()));
        }
        let vector = |value| self.vector(node, value, channels);
        let (gamma, beta) = (vector(norm.scale)?, vector(norm.shift)?);
        let (mean, variance) = (vector(norm.mean)?, vector(norm.variance)?);
        let deviation = variance.iter().map(|v| (v + f64::from(norm.epsilon)).sqrt());
        let scale: Vec<f64> = gamma.iter().zip(deviation).map(|(g, d)| g / d).collect();
        let shift = beta
            .iter()
            .zip(&mean)
            .zip(&scale)
            .map(|((b, m), s)| b - m * s)
            .collect();
        Ok((scale, shift))
    }

    pub(super) fn pool(&self, node: &'a Node, value: ValueId) -> Result<Window, Reason> {
        let pool = decoded(node, Pool::of(&self.view(node)))?;
        let window = pool.window;
        let rank = window.kernel.len();
        if self.layout != Layout::Second(rank + 2) || rank > AXES_MAX {
            return Err(Reason::NotUnderstood(node.op.clone()));
        }
        if window.is_padded() && !pool.counts_padding {
            return Err(Reason::PoolCount);
        }
        let extents = self.cx.shapes.spatial(value, rank);
        let exact = |axis: usize| {
            let extent = extents.as_ref().and_then(|e| e[axis]);
            let places = extent.and_then(|n| window.places(axis, n));
            places.is_some_and(|(_, left)| left == 0)
        };
        if pool.rounds_up && !(0..rank).all(|axis| window.strides[axis] == 1 || exact(axis)) {
            return Err(Reason::CeilMode);
        }
        Ok(window)
    }

    pub(super) fn pad(&self, node: &'a Node, input: usize, channels: usize) -> Result<Op<'a>, Reason> {
        let unclear = || Reason::NotUnderstood(node.op.clone());
        let Layout::Second(rank) = self.layout else {
            return Err(unclear());
        };
        let view = self.view(node);
        let [before, after] = decoded(node, Pad::of(&view))?.along(rank).map_err(|_| unclear())?;
        let fill = Pad::fill(&view).map_err(|_| unclear())?;
        if rank < 2 || before[..2].iter().chain(&after[..2]).any(|p| *p != 0) {
            return Err(unclear());
        }
        Ok(Op::Pad {
            input,
            before: before[2..].to_vec(),
            after: after[2..].to_vec(),
            fill: vec![fill; channels],
        })
    }

    /// Scale and shift of an operator with one constant operand.
    pub(super) fn binary(&self, node: &'a Node, value: ValueId, channels: usize) -> Result<Affine, Reason> {
        let view = self.view(node);
        let own = |operand: ValueId| {
            let tensor = self.cx.graph.constant(operand);
            let own = tensor.and_then(|t| per_channel(self.cx, node, t, value, self.layout, channels));
            own.ok_or_else(|| Reason::NotPerChannel(node.op.clone()))
        };
        let unclear = || Reason::NotUnderstood(node.op.clone());
        if let Some(scaling) = Scaling::of(&view).map_err(|_| unclear())? {
            let [first, second] = scaling.operands;
            let mut scale = own(if first == value { second } else { first })?;
            if scaling.divides {
                scale.iter_mut().for_each(|v| *v = 1.0 / *v);
            }
            return Ok((scale, vec![0.0; channels]));
        }
        let sum = decoded(node, Sum::of(&view))?;
        let mut affine = (vec![0.0; channels], vec![0.0; channels]);
        for (operand, factor) in sum.terms {
            if operand == value {
                affine.0.fill(factor);
            } else {
                affine.1 = own(operand)?.into_iter().map(|v| factor * v).collect();
            }
        }
        Ok(affine)
    }
}
