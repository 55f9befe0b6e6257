//! A convolution of 8-bit quantized values, NHWC: u8 activations, i8 weights that are symmetric for each output channel, an i32 bias. It
//! returns quantized values, as ONNX's `QLinearConv` does, or with f32, as ONNX Runtime's `QGemm` (a 1x1 convolution); to the bit. To
//! quantized outputs others may be added, as ONNX Runtime's `QLinearAdd` does it.

use bytes::Bytes;

use super::band::{self, PaddedRow};
use super::executor::Executor;
use super::geometry::{Convolution, KernelError, addressable, check_length, consistent, product};
use super::layer::restored;
use super::scratch;
use super::vector::{
    self, Buffer, INT8_GROUP, INT8_LANES, INT8_TOGETHER, Int8Band, Int8Isa, Int8Output, Int8Sum, Residual,
    SharedOutput, Values,
};

mod depthwise;

use depthwise::is_depthwise;

/// What an int8 layer computes with, besides its geometry.
#[derive(Debug, Clone, Copy)]
pub struct Int8Parameters<'a> {
    /// `[O, I/groups, kh, kw]`, whose zero is 0.
    pub weights: &'a [i8],
    /// `[O]`, in steps of the input's times the weight's scale.
    pub bias: &'a [i32],
    /// `[O]`: the input's times the weight's scale, over the output's where that is quantized.
    pub scales: &'a [f32],
    /// The zero points of the input, and of a quantized output.
    pub zeros: [u8; 2],
}

/// A layer whose weights are in the order in which they are read. Immutable, so that sessions share one.
pub struct PreparedInt8Conv {
    conv: Convolution,
    isa: Int8Isa,
    panels: Vec<Int8Panel>,
    weights: Values<i8>,
    /// For each padded output channel.
    bias: Values<i32>,
    scales: Values<f32>,
    zeros: [u8; 2],
    sum: Option<Int8Sum>,
}

/// The numbers of a layer that was made ready, in this machine's order of bytes.
#[derive(Debug, Clone)]
pub struct Int8Bytes<B> {
    /// The weights.
    pub weights: B,
    /// The biases.
    pub bias: B,
    /// The scales.
    pub scales: B,
}

/// One to three vectors of output channels of one group.
struct Int8Panel {
    /// First output channel and how many are real.
    out: usize,
    count: usize,
    /// First input channel of the group.
    channel: usize,
    /// Where the panel's weights, and its biases, start.
    weights: usize,
    bias: usize,
}

impl PreparedInt8Conv {
    /// Makes a layer ready. The geometry's `relu` is not looked at: an output whose zero point is 0 is cut off there.
    ///
    /// # Errors
    /// When the geometry is impossible, a slice has the wrong length, or a group's channels are no multiple of four: only those of a
    /// single group are padded, and only those of a depthwise convolution stand alone.
    pub fn new(conv: Convolution, isa: Int8Isa, parameters: &Int8Parameters<'_>) -> Result<Self, KernelError> {
        let depth = supported(&conv)?;
        let taps = product(conv.kernel);
        check_length(
            "weights",
            parameters.weights.len(),
            product([conv.out_channels, depth, taps]),
        )?;
        check_length("bias", parameters.bias.len(), conv.out_channels)?;
        check_length("scales", parameters.scales.len(), conv.out_channels)?;
        let shape = Shape::new(&conv)?;
        let panels = shape.panels(&conv, isa);
        let mut ready = Ready {
            weights: Buffer::zeroed(shape.weights),
            bias: Buffer::zeroed(shape.lanes),
            scales: Buffer::zeroed(shape.lanes),
        };
        if is_depthwise(&conv) {
            depthwise::pack(&conv, &panels, parameters, &mut ready);
        } else {
            pack(&panels, parameters, [depth, taps], &mut ready);
        }
        Ok(Self {
            conv,
            isa,
            panels,
            weights: ready.weights.into(),
            bias: ready.bias.into(),
            scales: ready.scales.into(),
            zeros: parameters.zeros,
            sum: None,
        })
    }

    /// The same, whose quantized outputs are summands `a`: [`Self::run_adding`] returns the sums' codes.
    #[must_use]
    pub fn with_sum(mut self, sum: Option<Int8Sum>) -> Self {
        self.sum = sum;
        self
    }

    /// How other values are added to the quantized outputs, where they are.
    pub fn sum(&self) -> Option<Int8Sum> {
        self.sum
    }

    /// The layer whose [`Self::ready`] these bytes are. They are read where they lie.
    ///
    /// # Errors
    /// As [`Self::new`]; where the bytes are not aligned as numbers are.
    pub fn restored(
        conv: Convolution,
        isa: Int8Isa,
        zeros: [u8; 2],
        ready: Int8Bytes<Bytes>,
    ) -> Result<Self, KernelError> {
        let shape = Shape::new(&conv)?;
        let weights = restored("weights", ready.weights, shape.weights)?;
        let bias = restored("bias", ready.bias, shape.lanes)?;
        let scales = restored("scales", ready.scales, shape.lanes)?;
        Ok(Self {
            panels: shape.panels(&conv, isa),
            conv,
            isa,
            weights,
            bias,
            scales,
            zeros,
            sum: None,
        })
    }

    /// The numbers as they were made ready.
    pub fn ready(&self) -> Int8Bytes<&[u8]> {
        Int8Bytes {
            weights: self.weights.bytes(),
            bias: self.bias.bytes(),
            scales: self.scales.bytes(),
        }
    }

    /// The zero points of the input, and of a quantized output.
    pub fn zeros(&self) -> [u8; 2] {
        self.zeros
    }

    /// The layer's geometry.
    pub fn convolution(&self) -> &Convolution {
        &self.conv
    }

    /// The instructions that multiply.
    pub fn isa(&self) -> Int8Isa {
        self.isa
    }

    /// Bytes that the prepared weights, biases and scales hold.
    pub fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&*self.bias) + size_of_val(&*self.scales)
    }

    /// Convolves `images` images of `height` by `width`: `input` is `[N, H, W, C]`, `output` `[N, H', W', O]`, both quantized.
    ///
    /// # Errors
    /// When a slice has the wrong length or the input is smaller than the kernel.
    pub fn run(
        &self,
        input: &[u8],
        size: [usize; 3],
        output: &mut [u8],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        self.convolve(input, size, None, output, executor)
    }

    /// As [`Self::run`]; to the outputs the quantized values `other` are added, which lie as they do.
    ///
    /// # Errors
    /// As [`Self::run`]; where the layer has no [`Self::with_sum`].
    pub fn run_adding(
        &self,
        input: &[u8],
        size: [usize; 3],
        other: &[u8],
        output: &mut [u8],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        let sum = self
            .sum
            .ok_or(KernelError::Geometry("a summand that it does not know"))?;
        check_length("the other summand", other.len(), output.len())?;
        self.convolve(input, size, Some(Residual { codes: other, sum }), output, executor)
    }

    /// As [`Self::run`]; the output is the sums times their scales.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_to_f32(
        &self,
        input: &[u8],
        size: [usize; 3],
        output: &mut [f32],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        self.convolve(input, size, None, output, executor)
    }

    fn convolve<T: Int8Output>(
        &self,
        input: &[u8],
        [images, height, width]: [usize; 3],
        residual: Option<Residual<'_>>,
        output: &mut [T],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        let out_size = self
            .conv
            .output_size(height, width)
            .ok_or(KernelError::TooSmall { height, width })?;
        let (channels_in, channels_out) = (self.conv.in_channels, self.conv.out_channels);
        check_length("input", input.len(), product([images, height, width, channels_in]))?;
        let needed = product([images, out_size.0, out_size.1, channels_out]);
        check_length("output", output.len(), needed)?;
        if output.is_empty() {
            return Ok(());
        }
        let pixel = pixel(&self.conv);
        let groups = self.conv.kernel[0].div_ceil(INT8_TOGETHER);
        let work = if is_depthwise(&self.conv) {
            groups.saturating_mul(INT8_GROUP)
        } else {
            0
        };
        band::addressable(&self.conv, out_size.1, pixel.saturating_add(work))?;
        let run = Run {
            layer: self,
            input,
            residual,
            output: SharedOutput::new(output),
            size: (height, width),
            out_size,
        };
        run.on(images, executor);
        Ok(())
    }
}

/// How many a layer's ready weights are, and its output channels with those that only pad.
struct Shape {
    /// Weights of an output channel.
    row: usize,
    weights: usize,
    lanes: usize,
}

impl Shape {
    fn new(conv: &Convolution) -> Result<Self, KernelError> {
        let depth = supported(conv)?;
        let row = if is_depthwise(conv) {
            depthwise::row(conv)
        } else {
            product([depth.next_multiple_of(INT8_TOGETHER), product(conv.kernel)])
        };
        let (groups, rows) = groups(conv);
        let rows_padded = product([groups, rows.saturating_add(INT8_LANES)]);
        addressable(product([rows_padded, row]), size_of::<i8>())?;
        let lanes = product([groups, rows.next_multiple_of(INT8_LANES)]);
        Ok(Self {
            row,
            weights: product([lanes, row]),
            lanes,
        })
    }

    fn panels(&self, conv: &Convolution, isa: Int8Isa) -> Vec<Int8Panel> {
        let depth = conv.in_channels / conv.groups;
        let (groups, rows) = groups(conv);
        let vectors = if is_depthwise(conv) { 1 } else { isa.panel() };
        let mut panels = Vec::new();
        let mut lanes = 0;
        for group in 0..groups {
            for first in (0..rows).step_by(vectors * INT8_LANES) {
                let count = (rows - first).min(vectors * INT8_LANES);
                panels.push(Int8Panel {
                    out: group * rows + first,
                    count,
                    channel: group * depth,
                    weights: lanes * self.row,
                    bias: lanes,
                });
                lanes += count.next_multiple_of(INT8_LANES);
            }
        }
        panels
    }
}

struct Ready {
    weights: Buffer<i8>,
    bias: Buffer<i32>,
    scales: Buffer<f32>,
}

impl Ready {
    /// The bias and the scale of a panel's channel `lane`, whose weights are `row`.
    fn finish(&mut self, panel: &Int8Panel, lane: usize, row: &[i8], parameters: &Int8Parameters<'_>) {
        let sum = row
            .iter()
            .fold(0i32, |sum, weight| sum.wrapping_add(i32::from(*weight)));
        // Σ (x − zero) w = Σ x w − zero Σ w.
        let shift = sum.wrapping_mul(i32::from(parameters.zeros[0]));
        self.bias[panel.bias + lane] = parameters.bias[panel.out + lane].wrapping_sub(shift);
        self.scales[panel.bias + lane] = parameters.scales[panel.out + lane];
    }
}

fn pack(panels: &[Int8Panel], parameters: &Int8Parameters<'_>, [depth, taps]: [usize; 2], ready: &mut Ready) {
    let padded = depth.next_multiple_of(INT8_TOGETHER);
    for panel in panels {
        let width = panel.count.next_multiple_of(INT8_LANES);
        for lane in 0..panel.count {
            let row = &parameters.weights[(panel.out + lane) * depth * taps..][..depth * taps];
            for (i, weight) in row.iter().enumerate() {
                let (k, tap) = (i / taps, i % taps);
                let block = (tap * padded + k) / INT8_TOGETHER;
                ready.weights[panel.weights + (block * width + lane) * INT8_TOGETHER + k % INT8_TOGETHER] = *weight;
            }
            ready.finish(panel, lane, row, parameters);
        }
    }
}

/// Groups whose channels are computed together, and a group's output channels. Those of a depthwise convolution are one.
fn groups(conv: &Convolution) -> (usize, usize) {
    if is_depthwise(conv) {
        (1, conv.out_channels)
    } else {
        (conv.groups, conv.out_channels / conv.groups)
    }
}

/// Bytes of a pixel in the padded copy of the input.
fn pixel(conv: &Convolution) -> usize {
    if is_depthwise(conv) {
        return depthwise::PIXEL;
    }
    conv.in_channels.next_multiple_of(INT8_TOGETHER)
}

/// The channels that one output channel reads.
fn supported(conv: &Convolution) -> Result<usize, KernelError> {
    consistent(conv)?;
    let depth = conv.in_channels / conv.groups;
    if conv.groups > 1 && !depth.is_multiple_of(INT8_TOGETHER) && !is_depthwise(conv) {
        return Err(KernelError::Geometry("groups whose channels are no multiple of four"));
    }
    Ok(depth)
}

/// One call of a layer: slices whose lengths have been checked.
struct Run<'a, T> {
    layer: &'a PreparedInt8Conv,
    input: &'a [u8],
    residual: Option<Residual<'a>>,
    output: SharedOutput<'a, T>,
    size: (usize, usize),
    out_size: (usize, usize),
}

impl<T: Int8Output> Run<'_, T> {
    fn on(&self, images: usize, executor: &dyn Executor) {
        let conv = &self.layer.conv;
        let pixel = pixel(conv);
        let columns = band::columns(conv, self.out_size.1);
        let most = if is_depthwise(conv) {
            depthwise::rows(conv, columns * pixel, self.out_size.0)
        } else {
            band::rows_max(conv, columns * pixel, self.out_size.0)
        };
        // Every thread gets rows of its own where there are enough of them, and some of the panels where there are not.
        let (threads, panels) = (executor.threads(), self.layer.panels.len());
        let bands = self
            .out_size
            .0
            .div_ceil(most)
            .next_multiple_of(threads)
            .min(self.out_size.0);
        let mut rows = self.out_size.0.div_ceil(bands);
        if is_depthwise(conv) {
            rows = depthwise::whole_groups(conv, rows, self.out_size.0);
        }
        let bands = self.out_size.0.div_ceil(rows);
        let wanted = if threads > 1 { 2 * threads } else { 1 };
        let groups = wanted.div_ceil(images * bands).min(panels);
        executor.run(images * bands * groups, &|task| {
            let (place, group) = (task / groups, task % groups);
            let first = place % bands * rows;
            let rows = rows.min(self.out_size.0 - first);
            let panels = group * panels / groups..(group + 1) * panels / groups;
            let panels = &self.layer.panels[panels];
            if is_depthwise(conv) {
                self.band_of_channels(place / bands, (first, rows), panels, [columns, pixel]);
            } else {
                self.band(place / bands, (first, rows), panels, [columns, pixel]);
            }
        });
    }

    fn band(&self, image: usize, rows: (usize, usize), panels: &[Int8Panel], [columns, pixel]: [usize; 2]) {
        let (layer, conv) = (self.layer, &self.layer.conv);
        let input_rows = (rows.1 - 1) * conv.strides[0] + conv.kernel[0];
        let depth = (conv.in_channels / conv.groups).next_multiple_of(INT8_TOGETHER);
        scratch::bytes(input_rows * columns * pixel, |padded| {
            self.copy_padded(image, rows.0 * conv.strides[0], [columns, pixel], padded);
            for panel in panels {
                vector::rows_of_int8(
                    layer.isa,
                    Int8Band {
                        input: padded,
                        input_row: columns * pixel,
                        input_pixel: pixel,
                        channels: (panel.channel, depth),
                        kernel: conv.kernel,
                        strides: conv.strides,
                        weights: &layer.weights[panel.weights..],
                        bias: &layer.bias[panel.bias..],
                        scale: &layer.scales[panel.bias..],
                        zero: layer.zeros[1],
                        residual: self.residual,
                        output: self.output,
                        out_channels: conv.out_channels,
                        out: panel.out..panel.out + panel.count,
                        image,
                        rows,
                        out_size: self.out_size,
                    },
                );
            }
        });
    }

    /// Fills `[rows][columns][pixel]` with the input from padded row `top` on, the zero point outside of it. Weights of channels that
    /// only pad a pixel are zero, whatever stands there.
    fn copy_padded(&self, image: usize, top: usize, [columns, pixel]: [usize; 2], target: &mut [u8]) {
        let (conv, (height, width)) = (&self.layer.conv, self.size);
        let padded = PaddedRow {
            columns,
            pixel,
            channels: conv.in_channels,
            left: conv.pads[1],
        };
        for (row, line) in target.chunks_exact_mut(columns * pixel).enumerate() {
            let source = band::input_row(conv, top + row, height).map(|y| {
                let values = width * conv.in_channels;
                &self.input[(image * height + y) * values..][..values]
            });
            padded.fill(line, source, self.layer.zeros[0]);
        }
    }
}
