//! A convolution of 8-bit quantized values, NHWC: u8 activations, i8 weights that are symmetric for each output channel, an i32 bias. It
//! returns quantized values, as ONNX's `QLinearConv` does, or with f32, as ONNX Runtime's `QGemm` (a 1x1 convolution); to the bit. To
//! quantized outputs others may be added, as ONNX Runtime's `QLinearAdd` does it.

use bytes::Bytes;

use super::band;
use super::executor::Executor;
use super::geometry::{Convolution, KernelError, addressable, check_length, consistent, product};
use super::layer::restored;
use super::vector::{
    Buffer, INT8_GROUP, INT8_LANES, INT8_PANEL, INT8_TOGETHER, Int8Isa, Int8Output, Int8Sum, Residual, SharedOutput,
    Values,
};

mod chain;
mod depthwise;
mod finer;
mod quantize;
mod run;

pub use chain::{Int8Chain, Int8ChainMemory, Int8Step};
use depthwise::is_depthwise;
pub use finer::{Finer, FinerNumbers, FloatDepthwise};
pub use quantize::Quantizer;
use run::{Cut, Run};

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
    finer: Finer,
    /// Weights and biases of the depthwise convolution that reads the sums.
    depthwise: Values<f32>,
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
    /// Weights and biases of the depthwise convolution that reads the sums; none where there is none.
    pub depthwise: B,
}

/// One to four vectors of output channels of one group.
struct Int8Panel {
    /// First output channel and how many are real.
    out: usize,
    count: usize,
    /// First input channel of the group.
    channel: usize,
    /// Its vectors, with those that only pad.
    vectors: usize,
    /// Where the panel's weights, and its biases, start.
    weights: usize,
    bias: usize,
    /// Values of a pixel that are read before the others, by weights of their own, and whether the low bytes of weights are among these.
    before: usize,
    is_finer: bool,
}

impl PreparedInt8Conv {
    /// Makes a layer ready. The geometry's `relu` is not looked at: an output whose zero point is 0 is cut off there.
    ///
    /// # Errors
    /// When the geometry is impossible, a slice has the wrong length, or a group's channels are no multiple of four: only those of a
    /// single group are padded, and only those of a depthwise convolution stand alone.
    pub fn new(conv: Convolution, isa: Int8Isa, parameters: &Int8Parameters<'_>) -> Result<Self, KernelError> {
        Self::finer(conv, isa, parameters, Finer::default(), &FinerNumbers::default())
    }

    /// As [`Self::new`]; some of it is computed finer.
    ///
    /// # Errors
    /// As [`Self::new`]; where the layer cannot be finer so.
    pub fn finer(
        conv: Convolution,
        isa: Int8Isa,
        parameters: &Int8Parameters<'_>,
        finer: Finer,
        numbers: &FinerNumbers<'_>,
    ) -> Result<Self, KernelError> {
        let depth = supported(&conv)?;
        if finer.wide && parameters.zeros[0] != 0 {
            return Err(KernelError::Geometry("inputs of two bytes whose zero is not 0"));
        }
        if finer.rows > 0 {
            check_length("low weights", numbers.low.len(), parameters.weights.len())?;
        }
        let taps = product(conv.kernel);
        check_length(
            "weights",
            parameters.weights.len(),
            product([conv.out_channels, depth, taps]),
        )?;
        check_length("bias", parameters.bias.len(), conv.out_channels)?;
        check_length("scales", parameters.scales.len(), conv.out_channels)?;
        let shape = Shape::new(&conv, isa, &finer)?;
        let panels = shape.panels(&conv, isa, &finer);
        let mut ready = Ready {
            weights: Buffer::zeroed(shape.weights),
            bias: Buffer::zeroed(shape.lanes),
            scales: Buffer::zeroed(shape.lanes),
        };
        let mut depthwise = Buffer::zeroed(shape.depthwise);
        if is_depthwise(&conv) {
            depthwise::pack(&conv, isa, &panels, parameters, &mut ready);
        } else {
            pack(isa, &panels, parameters, numbers.low, [depth, taps], &mut ready);
        }
        if let Some(then) = &finer.then {
            finer::pack(then, isa, &panels, parameters.scales, numbers, &mut depthwise)?;
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
            finer,
            depthwise: depthwise.into(),
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
        finer: Finer,
        ready: Int8Bytes<Bytes>,
    ) -> Result<Self, KernelError> {
        let shape = Shape::new(&conv, isa, &finer)?;
        let weights = restored("weights", ready.weights, shape.weights)?;
        let bias = restored("bias", ready.bias, shape.lanes)?;
        let scales = restored("scales", ready.scales, shape.lanes)?;
        let depthwise = restored("depthwise numbers", ready.depthwise, shape.depthwise)?;
        Ok(Self {
            panels: shape.panels(&conv, isa, &finer),
            conv,
            isa,
            weights,
            bias,
            scales,
            zeros,
            sum: None,
            finer,
            depthwise,
        })
    }

    /// The numbers as they were made ready.
    pub fn ready(&self) -> Int8Bytes<&[u8]> {
        Int8Bytes {
            weights: self.weights.bytes(),
            bias: self.bias.bytes(),
            scales: self.scales.bytes(),
            depthwise: self.depthwise.bytes(),
        }
    }

    /// What of it is finer.
    pub fn finer_parts(&self) -> Finer {
        self.finer
    }

    /// The last values of a pixel that every group reads: where they begin, and how many those of a group are with those that only pad.
    fn read_last(&self) -> (usize, usize) {
        let depth = (self.conv.in_channels / self.conv.groups).next_multiple_of(INT8_TOGETHER);
        (self.read() - self.conv.in_channels, depth)
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
        self.weights.len() + size_of_val(&*self.bias) + size_of_val(&*self.scales) + size_of_val(&*self.depthwise)
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
        self.convolve(input, size, None, output, executor, |run, cut, task| {
            run.any_task(cut, task)
        })
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
        if self.finer.then.is_some() {
            return Err(KernelError::Geometry("a summand of what another layer reads in f32"));
        }
        let residual = Some(Residual { codes: other, sum });
        self.convolve(input, size, residual, output, executor, |run, cut, task| {
            run.task(cut, task)
        })
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
        if self.finer.then.is_some() {
            return Err(KernelError::Geometry("sums in f32 of what another layer reads"));
        }
        self.convolve(input, size, None, output, executor, |run, cut, task| {
            run.task(cut, task)
        })
    }

    fn convolve<T: Int8Output>(
        &self,
        input: &[u8],
        [images, height, width]: [usize; 3],
        residual: Option<Residual<'_>>,
        output: &mut [T],
        executor: &dyn Executor,
        task: impl Fn(&Run<'_, T>, &Cut, usize) + Sync,
    ) -> Result<(), KernelError> {
        let out_size = self.output_size(height, width)?;
        let (channels_in, channels_out) = (self.read(), self.written());
        check_length("input", input.len(), product([images, height, width, channels_in]))?;
        let needed = product([images, out_size.0, out_size.1, channels_out]);
        check_length("output", output.len(), needed)?;
        if output.is_empty() {
            return Ok(());
        }
        let run = Run {
            layer: self,
            input,
            residual,
            output: SharedOutput::new(output),
            size: (height, width),
            out_size,
        };
        let cut = Cut::new(self, out_size, images, executor.threads());
        executor.run(cut.tasks, &|number| task(&run, &cut, number));
        Ok(())
    }

    /// Rows and columns of the outputs of an input, a band of which can be addressed.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize), KernelError> {
        let out_size = self.conv.output_size(height, width);
        let out_size = out_size.ok_or(KernelError::TooSmall { height, width })?;
        let groups = self.conv.kernel[0].div_ceil(INT8_TOGETHER);
        let work = if is_depthwise(&self.conv) {
            product([groups, self.isa.panel_depthwise(), INT8_GROUP])
        } else {
            0
        };
        band::addressable(&self.conv, out_size.1, pixel(&self.conv).saturating_add(work))?;
        match &self.finer.then {
            None => Ok(out_size),
            Some(then) => then.output_size(self.conv.out_channels, out_size),
        }
    }
}

/// How many a layer's ready weights are, and its output channels with those that only pad.
struct Shape {
    /// Weights of an output channel.
    row: usize,
    weights: usize,
    lanes: usize,
    /// Weights and biases of the depthwise convolution that reads the sums.
    depthwise: usize,
}

impl Shape {
    fn new(conv: &Convolution, isa: Int8Isa, finer: &Finer) -> Result<Self, KernelError> {
        let depth = supported(conv)?;
        finer.check(conv)?;
        let row = if is_depthwise(conv) {
            depthwise::row(conv)
        } else {
            product([depth.next_multiple_of(INT8_TOGETHER), product(conv.kernel)])
        };
        let (groups, rows) = groups(conv);
        let rows_padded = product([groups, rows.saturating_add(INT8_PANEL)]);
        let row_max = row.saturating_mul(3);
        addressable(product([rows_padded, row_max]), size_of::<i8>())?;
        let panels = || split(conv, isa, rows, finer);
        let lanes = panels().map(|(_, vectors, _)| vectors * INT8_LANES);
        let lanes = product([groups, lanes.sum()]);
        let before = panels().map(|(_, vectors, is_finer)| vectors * INT8_LANES * finer.before(conv, is_finer));
        let before = product([groups, before.sum()]);
        let taps = finer.then.map_or(0, |then| product(then.kernel).saturating_add(1));
        let depthwise = product([lanes, taps]);
        addressable(depthwise, size_of::<f32>())?;
        Ok(Self {
            row,
            weights: product([lanes, row]).saturating_add(before),
            lanes,
            depthwise,
        })
    }

    fn panels(&self, conv: &Convolution, isa: Int8Isa, finer: &Finer) -> Vec<Int8Panel> {
        let depth = conv.in_channels / conv.groups;
        let (groups, rows) = groups(conv);
        let mut panels = Vec::new();
        let (mut lanes, mut weights) = (0, 0);
        for group in 0..groups {
            let mut first = 0;
            for (count, vectors, is_finer) in split(conv, isa, rows, finer) {
                let before = finer.before(conv, is_finer);
                panels.push(Int8Panel {
                    out: group * rows + first,
                    count,
                    channel: group * depth,
                    vectors,
                    weights,
                    bias: lanes,
                    before,
                    is_finer,
                });
                first += count;
                lanes += vectors * INT8_LANES;
                weights += vectors * INT8_LANES * (self.row + before);
            }
        }
        panels
    }
}

/// The panels of a group of `rows` output channels: how many are real, vectors, and whether their weights have a low byte.
fn split(conv: &Convolution, isa: Int8Isa, rows: usize, finer: &Finer) -> impl Iterator<Item = (usize, usize, bool)> {
    let depthwise = is_depthwise(conv);
    let most = if depthwise { isa.panel_depthwise() } else { isa.panel() };
    let finer_rows = finer.rows.next_multiple_of(INT8_LANES).min(rows);
    let panels = move |range: std::ops::Range<usize>, is_finer: bool| {
        let end = range.end;
        range.step_by(most * INT8_LANES).map(move |first| {
            let count = (end - first).min(most * INT8_LANES);
            let vectors = count.div_ceil(INT8_LANES);
            let vectors = if depthwise && vectors > 1 { most } else { vectors };
            (count, vectors, is_finer)
        })
    };
    panels(0..finer_rows, true).chain(panels(finer_rows..rows, false))
}

struct Ready {
    weights: Buffer<i8>,
    bias: Buffer<i32>,
    scales: Buffer<f32>,
}

impl Ready {
    /// The bias and the scale of a panel's channel, whose sum stands at `place` and whose weights are `row`.
    /// `row` are the high bytes and the low ones, of which there may be none.
    fn finish(
        &mut self,
        panel: &Int8Panel,
        [channel, place]: [usize; 2],
        row: [&[i8]; 2],
        parameters: &Int8Parameters<'_>,
    ) {
        let zero = i32::from(parameters.zeros[0]);
        // Σ (x − zero) w = Σ x w − zero Σ w.
        let [shift, low] = row.map(|row| {
            let sum = row
                .iter()
                .fold(0i32, |sum, weight| sum.wrapping_add(i32::from(*weight)));
            sum.wrapping_mul(zero)
        });
        let shift = shift.wrapping_add(low.wrapping_add(128) >> 8);
        self.bias[panel.bias + place] = parameters.bias[panel.out + channel].wrapping_sub(shift);
        self.scales[panel.bias + place] = parameters.scales[panel.out + channel];
    }
}

fn pack(
    isa: Int8Isa,
    panels: &[Int8Panel],
    parameters: &Int8Parameters<'_>,
    low: &[i8],
    [depth, taps]: [usize; 2],
    ready: &mut Ready,
) {
    let padded = depth.next_multiple_of(INT8_TOGETHER);
    for panel in panels {
        let width = panel.vectors * INT8_LANES;
        let last = panel.weights + panel.before * width;
        for channel in 0..panel.count {
            let place = isa.place(channel, panel.vectors);
            let row = &parameters.weights[(panel.out + channel) * depth * taps..][..depth * taps];
            for (i, weight) in row.iter().enumerate() {
                let (k, tap) = (i / taps, i % taps);
                let block = (tap * padded + k) / INT8_TOGETHER;
                ready.weights[last + (block * width + place) * INT8_TOGETHER + k % INT8_TOGETHER] = *weight;
            }
            let low = if panel.is_finer {
                &low[(panel.out + channel) * depth..][..depth]
            } else {
                &[]
            };
            // Low bytes of inputs by high ones of weights; high ones of inputs by low ones of weights.
            let before = row.iter().take(panel.before - low.len()).chain(low);
            for (k, weight) in before.enumerate() {
                let at = (k / INT8_TOGETHER * width + place) * INT8_TOGETHER + k % INT8_TOGETHER;
                ready.weights[panel.weights + at] = *weight;
            }
            ready.finish(panel, [channel, place], [row, low], parameters);
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
