//! Operators on blocked f32 activations: convolutions (`kernels::conv`) and the ways into and out of the layout.

use std::sync::Arc;

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::{OnPool, extents, failed, layer_of};
use repserve_kernels::layout::{self, Extent};
use repserve_kernels::{PreparedConv, SourceLayout};

fn float_inputs(count: usize) -> Vec<OperatorInput> {
    (0..count)
        .map(|_| OperatorInput::required(TensorElementType::Float32))
        .collect()
}

/// `BlockedConv` (x) and `BlockedConvAdd` (x, residual): the layer that the attribute `layer` names.
pub(super) struct ConvOperator {
    pub(super) layers: Arc<Vec<Arc<PreparedConv>>>,
    pub(super) threads: usize,
    pub(super) residual: bool,
}

impl Operator for ConvOperator {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        if self.residual { "BlockedConvAdd" } else { "BlockedConv" }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        float_inputs(1 + usize::from(self.residual))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let layer = Arc::clone(&self.layers[layer_of(context, self.layers.len())?]);
        let (threads, residual) = (self.threads, self.residual);
        Ok(Box::new(move |context: &ComputeContext| {
            convolve(&layer, threads, residual, context)
        }))
    }
}

fn convolve(layer: &PreparedConv, threads: usize, with_residual: bool, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<f32>()?;
    let conv = layer.convolution();
    let (images, channels, height, width) = match (layer.layout(), &shape[..]) {
        (SourceLayout::Nchw, &[n, c, h, w]) => (n, c, h, w),
        (SourceLayout::Blocked, &[n, blocks, h, w, lanes]) => (n, blocks.saturating_mul(lanes), h, w),
        _ => return Err(failed("the input's rank is wrong")),
    };
    let [images, channels, height, width] = extents([images, channels, height, width])?;
    let lanes = layer.isa().lanes();
    let expected = match layer.layout() {
        SourceLayout::Nchw => conv.in_channels,
        SourceLayout::Blocked => conv.in_channels.next_multiple_of(lanes),
    };
    if channels != expected {
        return Err(failed(format!("the input has {channels} channels, not {expected}")));
    }
    let size = [images, height, width];
    let (rows, columns) = conv
        .output_size(height, width)
        .ok_or_else(|| failed("the input is too small"))?;
    let blocks = conv.out_channels.div_ceil(lanes);
    let out = [images, blocks, rows, columns, lanes].map(|extent| extent as i64);
    let residual = if with_residual { context.input(1)? } else { None };
    let residual = match &residual {
        Some(value) => {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            if shape[..] != out {
                return Err(failed(format!("the summands' shapes differ: {shape:?} and {out:?}")));
            }
            Some(values)
        }
        None => None,
    };
    let mut target = context
        .output(0, out.to_vec())?
        .ok_or_else(|| failed("the output is missing"))?;
    let (_, output) = target.try_extract_tensor_mut::<f32>()?;
    let executor = OnPool { context, threads };
    layer.run(input, size, residual, output, &executor).map_err(failed)
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `[N, C, H, W]` to `[N, ⌈C/B⌉, H, W, B]`.
    Enter,
    /// The reverse; the attribute `channels` says how many are real.
    Leave,
    /// `[N, ⌈C/B⌉, H, W, B]` to `[N, C, 1, 1]`.
    Mean,
}

pub(super) struct Conversion {
    pub(super) kind: Kind,
    pub(super) lanes: usize,
}

impl Operator for Conversion {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        match self.kind {
            Kind::Enter => "ToBlocked",
            Kind::Leave => "FromBlocked",
            Kind::Mean => "MeanOfBlocked",
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        float_inputs(1)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let channels = context.get::<i64>("channels").and_then(|c| usize::try_from(c).ok());
        let (kind, lanes) = (self.kind, self.lanes);
        Ok(Box::new(move |context: &ComputeContext| {
            convert(kind, lanes, channels, context)
        }))
    }
}

fn convert(kind: Kind, lanes: usize, channels: Option<usize>, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, source) = value.try_extract_tensor::<f32>()?;
    let ([images, height, width], channels) = match (kind, &shape[..]) {
        (Kind::Enter, &[n, c, h, w]) => (extents([n, h, w])?, extents([c])?[0]),
        (Kind::Leave | Kind::Mean, &[n, blocks, h, w, b]) => {
            let channels = channels.ok_or_else(|| failed("no attribute `channels`"))?;
            if extents([b, blocks])? != [lanes, channels.div_ceil(lanes)] {
                return Err(failed(format!(
                    "{shape:?} does not hold {channels} channels in blocks of {lanes}"
                )));
            }
            (extents([n, h, w])?, channels)
        }
        _ => return Err(failed("the input's rank is wrong")),
    };
    let extent = Extent {
        images,
        channels,
        height,
        width,
    };
    let out = match kind {
        Kind::Enter => vec![images, channels.div_ceil(lanes), height, width, lanes],
        Kind::Leave => vec![images, channels, height, width],
        Kind::Mean => vec![images, channels, 1, 1],
    };
    let out = out.into_iter().map(|extent| extent as i64).collect::<Vec<_>>();
    let mut target = context.output(0, out)?.ok_or_else(|| failed("the output is missing"))?;
    let (_, target) = target.try_extract_tensor_mut::<f32>()?;
    match kind {
        Kind::Enter => layout::to_blocked(source, extent, lanes, target),
        Kind::Leave => layout::from_blocked(source, extent, lanes, target),
        Kind::Mean => layout::mean_of_blocked(source, extent, lanes, target),
    }
    Ok(())
}
