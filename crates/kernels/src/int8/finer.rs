//! What an int8 layer computes finer than in 8 bits: weights and inputs of two bytes, and a depthwise convolution that reads its sums in f32.
//!
//! A weight or a value of two bytes is 256 times its high byte and its low byte. So a product is the one of the high bytes, and a 256th of those of
//! a high and a low one; that of both low bytes is left out. The finer products are summed up first, and rounded to whole ones of the
//! high bytes.

use serde::{Deserialize, Serialize};

use super::run::{Cut, Run};
use super::{Int8Panel, PreparedInt8Conv};
use crate::geometry::{Convolution, KernelError, check_length, product};
use crate::scratch::{self, Slot};
use crate::vector::{
    self, FloatChannels, INT8_LANES, INT8_TOGETHER, Int8Band, Int8Isa, PanelRows, Positive, SharedOutput,
};

/// Numbers of f32 between two layers that are computed at a time: part of a second-level cache.
const BETWEEN_MAX: usize = (128 << 10) / size_of::<f32>();

/// What of a layer is finer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finer {
    /// Output channels, from the first on, whose weights have a low byte.
    pub rows: usize,
    /// Whether inputs have a low byte. Their zero is 0, and a pixel's low bytes stand before its high ones.
    pub wide: bool,
    /// What reads the sums.
    pub then: Option<FloatDepthwise>,
}

/// A depthwise convolution in f32 that reads a layer's sums above zero, and whose outputs are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatDepthwise {
    /// Its rows and columns.
    pub kernel: [usize; 2],
    /// Its steps.
    pub strides: [usize; 2],
    /// Above, left, below, right.
    pub pads: [usize; 4],
    /// The zero point of its outputs.
    pub zero: u8,
    /// Whether they have a low byte, as [`Finer::wide`] says.
    pub wide: bool,
}

/// The numbers of what is finer.
#[derive(Debug, Clone, Copy, Default)]
pub struct FinerNumbers<'a> {
    /// `[O, I]`: low bytes of the weights, -128 to 127; empty where there are none.
    pub low: &'a [i8],
    /// `[O, kh, kw]`: the depthwise convolution's weights, in steps of its output.
    pub weights: &'a [f32],
    /// `[O]`: its biases, in steps of its output.
    pub bias: &'a [f32],
}

impl Finer {
    /// Whether the layer is one that can be so.
    pub(super) fn check(&self, conv: &Convolution) -> Result<(), KernelError> {
        let pointwise = conv.kernel == [1; 2] && conv.pads == [0; 4] && conv.groups == 1;
        if (self.wide || self.rows > 0) && !(pointwise && conv.in_channels.is_multiple_of(INT8_TOGETHER)) {
            return Err(KernelError::Geometry(
                "a finer layer that is no 1x1 convolution of whole fours of channels",
            ));
        }
        if self.rows > conv.out_channels || self.then.is_some() && conv.groups != 1 {
            return Err(KernelError::Geometry("a finer layer with groups or too few channels"));
        }
        if let Some(then) = &self.then {
            let depthwise = then.convolution(conv.out_channels);
            crate::geometry::consistent(&depthwise)?;
        }
        Ok(())
    }

    /// Values of a pixel that a panel reads before the others.
    pub(super) fn before(&self, conv: &Convolution, panel_is_finer: bool) -> usize {
        conv.in_channels * (usize::from(self.wide) + usize::from(panel_is_finer))
    }
}

impl FloatDepthwise {
    fn convolution(&self, channels: usize) -> Convolution {
        Convolution {
            in_channels: channels,
            out_channels: channels,
            groups: channels,
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            relu: false,
        }
    }

    /// Rows and columns of its outputs.
    pub(super) fn output_size(
        &self,
        channels: usize,
        (height, width): (usize, usize),
    ) -> Result<(usize, usize), KernelError> {
        let size = self.convolution(channels).output_size(height, width);
        size.ok_or(KernelError::TooSmall { height, width })
    }

    /// Columns of a padded row for outputs that are `width` wide.
    fn columns(&self, width: usize) -> usize {
        (width - 1) * self.strides[1] + self.kernel[1]
    }

    /// Output rows that are computed at a time.
    pub(super) fn rows_max(&self, width: usize, vectors: usize, height: usize) -> usize {
        let row = product([self.columns(width), vectors, INT8_LANES]);
        let rows = (BETWEEN_MAX / row.max(1)).saturating_sub(self.kernel[0]) / self.strides[0] + 1;
        rows.min(height)
    }
}

/// Packs weights and biases, whose lengths are checked, as [`FloatChannels`] reads them: for each panel its weights and then its biases. `scales` are those of
/// the layer's sums, none of them negative: the depthwise convolution's weights are multiplied by them, so that sums need not be.
pub(super) fn pack(
    then: &FloatDepthwise,
    isa: Int8Isa,
    panels: &[Int8Panel],
    scales: &[f32],
    numbers: &FinerNumbers<'_>,
    ready: &mut [f32],
) -> Result<(), KernelError> {
    let taps = product(then.kernel);
    let channels = panels.iter().map(|panel| panel.out + panel.count).max().unwrap_or(0);
    check_length("depthwise weights", numbers.weights.len(), product([channels, taps]))?;
    check_length("depthwise biases", numbers.bias.len(), channels)?;
    if scales.iter().any(|scale| scale.is_sign_negative()) {
        return Err(KernelError::Geometry("a negative scale before a depthwise convolution"));
    }
    for panel in panels {
        let ready = &mut ready[panel.bias * (taps + 1)..][..panel.vectors * INT8_LANES * (taps + 1)];
        let (weights, biases) = ready.split_at_mut(panel.vectors * INT8_LANES * taps);
        for channel in 0..panel.count {
            let place = isa.place(channel, panel.vectors);
            let (vector, lane) = (place / INT8_LANES, place % INT8_LANES);
            biases[place] = numbers.bias[panel.out + channel];
            for tap in 0..taps {
                weights[(vector * taps + tap) * INT8_LANES + lane] =
                    numbers.weights[(panel.out + channel) * taps + tap] * scales[panel.out + channel];
            }
        }
    }
    Ok(())
}

impl PreparedInt8Conv {
    /// Bytes of a pixel that it reads.
    pub fn read(&self) -> usize {
        self.conv.in_channels * (1 + usize::from(self.finer.wide))
    }

    /// Bytes of a pixel that it returns.
    pub fn written(&self) -> usize {
        self.conv.out_channels * (1 + usize::from(self.finer.then.is_some_and(|then| then.wide)))
    }
}

/// Rows of the layer before, in f32, that lie in memory.
struct Between {
    /// The padded row at the memory's start, and how many rows are there.
    top: usize,
    count: usize,
}

impl Run<'_, u8> {
    /// As [`Run::task`], of any layer.
    pub(super) fn any_task(&self, cut: &Cut, task: usize) {
        match &self.layer.finer.then {
            None => self.task(cut, task),
            Some(then) => {
                let (image, rows, panels) = self.share(cut, task);
                for panel in panels {
                    self.pair(then, image, rows, panel);
                }
            }
        }
    }

    /// One panel of some output rows of the depthwise convolution: its input's rows are computed a few at a time, and those that the next ones read are kept.
    fn pair(&self, then: &FloatDepthwise, image: usize, (first, count): (usize, usize), panel: &Int8Panel) {
        let width = self.out_size.1;
        let columns = then.columns(width);
        let row = columns * panel.vectors * INT8_LANES;
        let together = then.rows_max(width, panel.vectors, count);
        let rows = |outputs: usize| (outputs - 1) * then.strides[0] + then.kernel[0];
        let taps = product(then.kernel);
        let numbers = &self.layer.depthwise[panel.bias * (taps + 1)..][..panel.vectors * INT8_LANES * (taps + 1)];
        let (weights, bias) = numbers.split_at(panel.vectors * INT8_LANES * taps);
        scratch::with(Slot::Input, rows(together) * row, |space| {
            self.clear_outside(then, panel, space);
            let mut between = Between { top: 0, count: 0 };
            for start in (0..count).step_by(together) {
                let outputs = together.min(count - start);
                let top = (first + start) * then.strides[0];
                let kept = (between.top + between.count).saturating_sub(top);
                space.copy_within((between.count - kept) * row..between.count * row, 0);
                let made = rows(outputs);
                self.rows_between(then, image, panel, top + kept, &mut space[kept * row..made * row]);
                between = Between { top, count: made };
                vector::rows_of_float_channels(
                    self.layer.isa,
                    FloatChannels {
                        input: &*space,
                        columns,
                        vectors: panel.vectors,
                        kernel: then.kernel,
                        strides: then.strides,
                        weights,
                        bias,
                        zero: then.zero,
                        wide: then.wide,
                        output: self.output,
                        out_channels: self.layer.conv.out_channels,
                        out: panel.out..panel.out + panel.count,
                        rows: (image * self.out_size.0 + first + start, outputs),
                        width,
                    },
                );
            }
        });
    }

    /// Columns of the layer's outputs that the depthwise convolution reads. There may be fewer of them than the layer's.
    fn columns_read(&self, then: &FloatDepthwise) -> usize {
        let (_, width) = self
            .layer
            .conv
            .output_size(self.size.0, self.size.1)
            .unwrap_or_default();
        width.min(then.columns(self.out_size.1).saturating_sub(then.pads[1]))
    }

    /// Puts zeros into the columns outside of the image.
    fn clear_outside(&self, then: &FloatDepthwise, panel: &Int8Panel, space: &mut [f32]) {
        let lanes = panel.vectors * INT8_LANES;
        let columns = then.columns(self.out_size.1);
        let left = then.pads[1].min(columns);
        let right = left + self.columns_read(then);
        for row in space.chunks_exact_mut(columns * lanes) {
            row[..left * lanes].fill(0.0);
            row[right * lanes..].fill(0.0);
        }
    }

    /// Fills whole rows from padded row `top` on: zeros outside of the image, whose columns outside of it are zeros already.
    fn rows_between(&self, then: &FloatDepthwise, image: usize, panel: &Int8Panel, top: usize, space: &mut [f32]) {
        let layer = self.layer;
        let Some((height, _)) = layer.conv.output_size(self.size.0, self.size.1) else {
            return;
        };
        let lanes = panel.vectors * INT8_LANES;
        let columns = then.columns(self.out_size.1);
        let count = space.len() / (columns * lanes);
        let first = then.pads[0].saturating_sub(top).min(count);
        let end = (height + then.pads[0]).saturating_sub(top).clamp(first, count);
        space[..first * columns * lanes].fill(0.0);
        space[end * columns * lanes..].fill(0.0);
        let (rows, real) = (end - first, self.columns_read(then));
        if rows == 0 || real == 0 {
            return;
        }
        let y = top + first - then.pads[0];
        let output = &mut space[(first * columns + then.pads[1]) * lanes..end * columns * lanes];
        self.with_input(image, (y, rows), |input, [input_row, input_pixel]| {
            let band = Int8Band {
                panel: PanelRows {
                    input,
                    input_row,
                    input_pixel,
                    kernel: layer.conv.kernel,
                    strides: layer.conv.strides,
                    weights: &layer.weights[panel.weights..],
                    bias: &layer.bias[panel.bias..],
                    scale: &layer.scales[panel.bias..],
                    zero: 0,
                    residual: None,
                    output: SharedOutput::<Positive>::positive(output),
                    out_channels: lanes,
                    out: 0..lanes,
                    image: 0,
                    rows: (0, rows),
                    out_size: (rows, real),
                    out_row: columns,
                },
                finer: panel.before,
                channels: layer.read_last(),
            };
            vector::rows_of_int8(layer.isa, band);
        });
    }
}
