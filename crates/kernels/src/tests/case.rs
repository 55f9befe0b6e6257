//! A layer with its numbers, and what it computes exactly.

use super::super::layout::{self, Extent};
use super::super::*;

#[derive(Debug)]
pub(super) struct Case {
    pub(super) conv: Convolution,
    pub(super) size: [usize; 3],
    pub(super) input: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) residual: Option<Vec<f32>>,
}

/// Numbers in [-1, 1) that a seed determines.
pub(super) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

impl Case {
    pub(super) fn new(conv: Convolution, size: [usize; 3], residual: bool, seed: u64) -> Option<Self> {
        let [n, h, w] = size;
        let (oh, ow) = conv.output_size(h, w)?;
        let depth = conv.in_channels / conv.groups;
        Some(Self {
            conv,
            size,
            input: numbers(n * conv.in_channels * h * w, seed),
            weights: numbers(conv.out_channels * depth * conv.kernel[0] * conv.kernel[1], seed + 1),
            bias: numbers(conv.out_channels, seed + 2),
            residual: residual.then(|| numbers(n * conv.out_channels * oh * ow, seed + 3)),
        })
    }

    pub(super) fn in_extent(&self) -> Extent {
        let [images, height, width] = self.size;
        Extent {
            images,
            channels: self.conv.in_channels,
            height,
            width,
        }
    }

    pub(super) fn out_extent(&self) -> Extent {
        let (height, width) = self.conv.output_size(self.size[1], self.size[2]).unwrap();
        Extent {
            images: self.size[0],
            channels: self.conv.out_channels,
            height,
            width,
        }
    }

    /// The output as NCHW.
    pub(super) fn run(
        &self,
        algorithm: Algorithm,
        layout: SourceLayout,
        isa: Isa,
        executor: &dyn Executor,
    ) -> Vec<f32> {
        let layer = PreparedConv::new(self.conv, algorithm, layout, isa, &self.weights, Some(&self.bias)).unwrap();
        let lanes = isa.lanes();
        let blocked = |values: &[f32], extent: Extent| {
            let mut out = vec![f32::NAN; extent.len_blocked(lanes)];
            layout::to_blocked(values, extent, lanes, &mut out);
            out
        };
        let input = match layout {
            SourceLayout::Blocked => blocked(&self.input, self.in_extent()),
            SourceLayout::Nchw => self.input.clone(),
        };
        let out = self.out_extent();
        let residual = self.residual.as_ref().map(|r| blocked(r, out));
        let mut output = vec![f32::NAN; out.len_blocked(lanes)];
        layer
            .run(&input, self.size, residual.as_deref(), &mut output, executor)
            .unwrap();
        let mut nchw = vec![f32::NAN; out.len_nchw()];
        layout::from_blocked(&output, out, lanes, &mut nchw);
        nchw
    }

    /// For every output the exact value and `Σ|w||x|`.
    pub(super) fn reference(&self) -> Vec<(f64, f64)> {
        let (out, conv) = (self.out_extent(), &self.conv);
        let (depth, per_group) = (conv.in_channels / conv.groups, conv.out_channels / conv.groups);
        let [_, h, w] = self.size;
        let mut values = Vec::with_capacity(out.len_nchw());
        for index in 0..out.len_nchw() {
            let (x, y) = (index % out.width, index / out.width % out.height);
            let (o, n) = (index / out.pixels() % out.channels, index / out.pixels() / out.channels);
            let (mut sum, mut size) = (f64::from(self.bias[o]), f64::from(self.bias[o].abs()));
            for k in 0..depth {
                for ky in 0..conv.kernel[0] {
                    for kx in 0..conv.kernel[1] {
                        let yy = (y * conv.strides[0] + ky).wrapping_sub(conv.pads[0]);
                        let xx = (x * conv.strides[1] + kx).wrapping_sub(conv.pads[1]);
                        if yy < h && xx < w {
                            let channel = n * conv.in_channels + o / per_group * depth + k;
                            let tap = ((o * depth + k) * conv.kernel[0] + ky) * conv.kernel[1] + kx;
                            let product =
                                f64::from(self.weights[tap]) * f64::from(self.input[(channel * h + yy) * w + xx]);
                            sum += product;
                            size += product.abs();
                        }
                    }
                }
            }
            if let Some(residual) = &self.residual {
                sum += f64::from(residual[index]);
                size += f64::from(residual[index].abs());
            }
            values.push((if conv.relu && sum < 0.0 { 0.0 } else { sum }, size));
        }
        values
    }
}

/// Threads without threads: asks for work cut for `.0` threads and runs it backwards.
pub(super) struct Backwards(pub(super) usize);

impl Executor for Backwards {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(task);
    }
}
