//! Operators in int8 (`repserve_kernels::int8`): a convolution in NHWC from u8 to u8, also with a residual sum, and a linear layer from u8
//! to f32.

use std::sync::Arc;

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::{OnPool, extents, failed, layer_of};
use repserve_kernels::PreparedInt8Conv;

/// Which operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Int8Op {
    /// `Int8Conv`: u8 `[N, H, W, C]` to u8 `[N, H', W', O]`.
    Conv,
    /// `Int8ConvAdd`: as `Int8Conv`, plus a second input, u8 like the output, whose values are added.
    ConvAdd,
    /// `Int8Gemm`: u8 `[N, C]` to f32 `[N, O]`.
    Gemm,
}

impl Int8Op {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conv => "Int8Conv",
            Self::ConvAdd => "Int8ConvAdd",
            Self::Gemm => "Int8Gemm",
        }
    }
}

/// The operator that runs the layer which the attribute `layer` names.
pub(super) struct Int8Operator {
    pub(super) op: Int8Op,
    pub(super) layers: Arc<Vec<PreparedInt8Conv>>,
    pub(super) threads: usize,
}

impl Operator for Int8Operator {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.op.name()
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let count = if self.op == Int8Op::ConvAdd { 2 } else { 1 };
        (0..count).map(|_| OperatorInput::required(TensorElementType::Uint8))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(match self.op {
            Int8Op::Conv | Int8Op::ConvAdd => TensorElementType::Uint8,
            Int8Op::Gemm => TensorElementType::Float32,
        })]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let index = layer_of(context, self.layers.len())?;
        let (layers, threads) = (Arc::clone(&self.layers), self.threads);
        Ok(match self.op {
            Int8Op::Conv | Int8Op::ConvAdd => {
                let adds = self.op == Int8Op::ConvAdd;
                Box::new(move |context: &ComputeContext| convolve(&layers[index], threads, adds, context))
            }
            Int8Op::Gemm => Box::new(move |context: &ComputeContext| multiply(&layers[index], threads, context)),
        })
    }
}

fn convolve(layer: &PreparedInt8Conv, threads: usize, adds: bool, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<u8>()?;
    let conv = layer.convolution();
    let &[images, height, width, channels] = &shape[..] else {
        return Err(failed("the input's rank is wrong"));
    };
    let [images, height, width, channels] = extents([images, height, width, channels])?;
    check_channels(channels, layer)?;
    let size = [images, height, width];
    let (rows, columns) = conv
        .output_size(height, width)
        .ok_or_else(|| failed("the input is too small"))?;
    let out = [images, rows, columns, conv.out_channels]
        .map(|extent| extent as i64)
        .to_vec();
    let other = if adds { context.input(1)? } else { None };
    let other = match &other {
        Some(value) => {
            let (shape, codes) = value.try_extract_tensor::<u8>()?;
            if shape[..] != out {
                return Err(failed(format!("the summands' shapes differ: {shape:?} and {out:?}")));
            }
            Some(codes)
        }
        None if adds => return Err(failed("the second summand is missing")),
        None => None,
    };
    let mut target = context.output(0, out)?.ok_or_else(|| failed("the output is missing"))?;
    let (_, output) = target.try_extract_tensor_mut::<u8>()?;
    let executor = OnPool { context, threads };
    match other {
        Some(other) => layer.run_adding(input, size, other, output, &executor),
        None => layer.run(input, size, output, &executor),
    }
    .map_err(failed)
}

/// The rows are the pixels of one image, one beside the other.
fn multiply(layer: &PreparedInt8Conv, threads: usize, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<u8>()?;
    let &[rows, channels] = &shape[..] else {
        return Err(failed("the input's rank is wrong"));
    };
    let [rows, channels] = extents([rows, channels])?;
    check_channels(channels, layer)?;
    let out = vec![rows as i64, layer.convolution().out_channels as i64];
    let mut target = context.output(0, out)?.ok_or_else(|| failed("the output is missing"))?;
    let (_, output) = target.try_extract_tensor_mut::<f32>()?;
    layer
        .run_to_f32(input, [1, 1, rows], output, &OnPool { context, threads })
        .map_err(failed)
}

fn check_channels(found: usize, layer: &PreparedInt8Conv) -> ort::Result<()> {
    let wanted = layer.convolution().in_channels;
    if found == wanted {
        Ok(())
    } else {
        Err(failed(format!("the input has {found} channels, not {wanted}")))
    }
}
