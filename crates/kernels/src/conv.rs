//! One convolution layer: its weights made ready once, and how it runs.

use bytes::Bytes;

use super::executor::Executor;
use super::geometry::{
    Algorithm, Convolution, KernelError, SourceLayout, addressable, check_length, product, supports,
};
use super::layer::{Call, Layer, Panel, restored};
use super::layout::Extent;
use super::vector::{Buffer, Isa, SharedOutput};
use super::{band, direct, winograd};

/// A layer whose weights are in the order in which its algorithm reads them. Immutable, so that sessions share one.
pub struct PreparedConv(Layer);

impl PreparedConv {
    /// Makes a layer ready.
    ///
    /// `weights` are `[O, I/groups, kh, kw]` as in ONNX, `bias` `[O]`. Winograd transforms them in f64 and rounds once.
    ///
    /// # Errors
    /// When the geometry is impossible, the algorithm does not compute it (see [`supports`]), or a slice has the wrong length.
    pub fn new(
        conv: Convolution,
        algorithm: Algorithm,
        layout: SourceLayout,
        isa: Isa,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        supports(&conv, algorithm, layout, isa)?;
        let taps = product(conv.kernel);
        let depth = conv.in_channels / conv.groups;
        check_length("weights", weights.len(), product([conv.out_channels, depth, taps]))?;
        if let Some(bias) = bias {
            check_length("bias", bias.len(), conv.out_channels)?;
        }
        let shape = Shape::new(&conv, algorithm, isa)?;
        let mut padded = Buffer::zeroed(shape.channels);
        if let Some(bias) = bias {
            padded[..bias.len()].copy_from_slice(bias);
        }
        let mut ready = Buffer::zeroed(shape.weights);
        let (panels, lanes) = (shape.panels(&conv, isa), isa.lanes());
        match algorithm {
            Algorithm::WinogradF4 | Algorithm::WinogradF2 => {
                winograd::pack(&conv, algorithm, &panels, lanes, weights, &mut ready);
            }
            Algorithm::Direct => direct::pack(&conv, layout, &panels, lanes, weights, &mut ready),
        }
        Ok(Self(Layer {
            conv,
            algorithm,
            layout,
            isa,
            panels,
            weights: ready.into(),
            bias: padded.into(),
        }))
    }

    /// The layer whose [`Self::weights`] and [`Self::bias`] these bytes are. They are read where they lie.
    ///
    /// # Errors
    /// As [`Self::new`]; where the bytes are not aligned as numbers are.
    pub fn restored(
        conv: Convolution,
        algorithm: Algorithm,
        layout: SourceLayout,
        isa: Isa,
        weights: Bytes,
        bias: Bytes,
    ) -> Result<Self, KernelError> {
        supports(&conv, algorithm, layout, isa)?;
        let shape = Shape::new(&conv, algorithm, isa)?;
        let weights = restored("weights", weights, shape.weights)?;
        let bias = restored("bias", bias, shape.channels)?;
        Ok(Self(Layer {
            conv,
            algorithm,
            layout,
            isa,
            panels: shape.panels(&conv, isa),
            weights,
            bias,
        }))
    }

    /// The weights as they were made ready, in this machine's order of bytes.
    pub fn weights(&self) -> &[u8] {
        self.0.weights.bytes()
    }

    /// The bias as it was made ready, in this machine's order of bytes.
    pub fn bias(&self) -> &[u8] {
        self.0.bias.bytes()
    }

    /// The layer's geometry.
    pub fn convolution(&self) -> &Convolution {
        &self.0.conv
    }

    /// The algorithm that the weights were prepared for.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The layout in which the input is read.
    pub fn layout(&self) -> SourceLayout {
        self.0.layout
    }

    /// The instruction set that the weights were prepared for.
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// Bytes that the prepared weights and bias hold.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Computes `output = relu?(conv(input) + bias + residual?)` for `images` images of `height` by `width`.
    ///
    /// `input` lies as [`PreparedConv::layout`] says; `residual` and `output` are blocked and of the output's size. Channels of
    /// `output` that only pad the last block hold unspecified values. A NaN or an infinity makes non-finite every output whose
    /// receptive field holds it, and with Winograd every output of the tiles that read it (infinities become NaN there).
    ///
    /// # Errors
    /// When a slice has the wrong length or the input is smaller than the kernel.
    pub fn run(
        &self,
        input: &[f32],
        [images, height, width]: [usize; 3],
        residual: Option<&[f32]>,
        output: &mut [f32],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        let extent = Extent {
            images,
            channels: self.0.conv.in_channels,
            height,
            width,
        };
        let out_size = self
            .0
            .conv
            .output_size(height, width)
            .ok_or(KernelError::TooSmall { height, width })?;
        let lanes = self.0.isa.lanes();
        let needed = match self.0.layout {
            SourceLayout::Blocked => extent.len_blocked(lanes),
            SourceLayout::Nchw => extent.len_nchw(),
        };
        check_length("input", input.len(), needed)?;
        let out = Extent {
            images,
            channels: self.0.conv.out_channels,
            height: out_size.0,
            width: out_size.1,
        };
        check_length("output", output.len(), out.len_blocked(lanes))?;
        if let Some(residual) = residual {
            check_length("residual", residual.len(), output.len())?;
        }
        if output.is_empty() {
            return Ok(());
        }
        if self.0.algorithm == Algorithm::Direct {
            let channels = pixel_channels(&self.0.conv, self.0.layout, lanes);
            band::addressable(&self.0.conv, out_size.1, channels.saturating_mul(size_of::<f32>()))?;
        }
        let output = SharedOutput::new(output);
        let call = Call {
            layer: &self.0,
            input,
            residual,
            output,
            extent,
            out_size,
        };
        match self.0.algorithm {
            Algorithm::WinogradF4 | Algorithm::WinogradF2 => winograd::run(&call, executor)?,
            Algorithm::Direct => direct::run(&call, executor),
        }
        Ok(())
    }
}

/// Channels of a padded input pixel.
fn pixel_channels(conv: &Convolution, layout: SourceLayout, lanes: usize) -> usize {
    match layout {
        SourceLayout::Blocked => conv.in_channels.div_ceil(lanes).saturating_mul(lanes),
        SourceLayout::Nchw => conv.in_channels,
    }
}

/// How many numbers a layer's ready weights are.
struct Shape {
    floats_a_lane: usize,
    weights: usize,
    /// Output channels, padded.
    channels: usize,
}

impl Shape {
    fn new(conv: &Convolution, algorithm: Algorithm, isa: Isa) -> Result<Self, KernelError> {
        let points = match algorithm {
            Algorithm::WinogradF4 => 36,
            Algorithm::WinogradF2 => 16,
            Algorithm::Direct => product(conv.kernel),
        };
        let floats_a_lane = product([conv.in_channels / conv.groups, points]);
        let lanes = isa.lanes();
        let padded_channels = conv.out_channels.saturating_add(lanes);
        addressable(product([padded_channels, floats_a_lane]), size_of::<f32>())?;
        let channels = product([conv.groups, (conv.out_channels / conv.groups).div_ceil(lanes), lanes]);
        Ok(Self {
            floats_a_lane,
            weights: product([channels, floats_a_lane]),
            channels,
        })
    }

    fn panels(&self, conv: &Convolution, isa: Isa) -> Vec<Panel> {
        panels(conv, isa, self.floats_a_lane)
    }
}

/// Cuts each group's output channels into panels.
fn panels(conv: &Convolution, isa: Isa, floats_a_lane: usize) -> Vec<Panel> {
    let blocks_a_group = (conv.out_channels / conv.groups).div_ceil(isa.lanes());
    let mut panels = Vec::new();
    for group in 0..conv.groups {
        let mut done = 0;
        while done < blocks_a_group {
            let left = blocks_a_group - done;
            let vectors = isa.panel(left);
            let block = group * blocks_a_group + done;
            panels.push(Panel {
                block,
                vectors,
                channel: group * (conv.in_channels / conv.groups),
                weights: block * isa.lanes() * floats_a_lane,
            });
            done += vectors;
        }
    }
    panels
}
