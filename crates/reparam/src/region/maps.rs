//! One node as a linear map: its attributes and constants read.

use super::channels::{ends, flag, groups};
use super::constants::{Layout, per_channel};
use super::linear::Kind;
use super::lower::Lowering;
use super::windows::window;
use crate::kernel::{Conv, Op, Window};
use crate::reason::Reason;
use repserve_graph::{Node, Tensor, ValueId};

/// Scale and shift, a channel each.
pub(super) type Affine = (Vec<f64>, Vec<f64>);

impl<'a> Lowering<'a> {
    fn constant(&self, node: &Node, index: usize) -> Option<&'a Tensor> {
        node.input(index).and_then(|v| self.cx.graph.constant(v))
    }

    fn vector(&self, node: &Node, index: usize, len: usize) -> Result<Vec<f64>, Reason> {
        let tensor = self.constant(node, index).filter(|t| t.len() == len);
        tensor
            .and_then(Tensor::to_f64)
            .ok_or_else(|| Reason::NotUnderstood(node.op.clone()))
    }

    pub(super) fn conv(&self, node: &'a Node, input: usize, value: ValueId) -> Result<Op<'a>, Reason> {
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

    pub(super) fn matrix(&self, node: &'a Node, kind: Kind, input: usize) -> Result<Op<'a>, Reason> {
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

    pub(super) fn batch_norm(&self, node: &Node, channels: usize) -> Result<Affine, Reason> {
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

    pub(super) fn pool(&self, node: &Node, value: ValueId) -> Result<Window, Reason> {
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

    pub(super) fn pad(&self, node: &Node, input: usize, channels: usize) -> Result<Op<'a>, Reason> {
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
    pub(super) fn binary(&self, node: &Node, value: ValueId, channels: usize) -> Result<Affine, Reason> {
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
}
