//! `Int8Enter`: an image's planes of f32 to pixels of codes, what `QuantizeLinear` and a `Transpose` behind it do.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::{OnPool, extents, failed};
use repserve_kernels::Int8Isa;
use repserve_kernels::int8::Quantizer;

/// The operator's name.
pub(crate) const ENTER: &str = "Int8Enter";

/// The operator: f32 `[N, C, H, W]` to u8 `[N, H, W, C]`, by the attributes `scale` and `zero`.
pub(super) struct EnterOperator {
    pub(super) isa: Int8Isa,
    pub(super) threads: usize,
}

impl Operator for EnterOperator {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        ENTER
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Uint8)]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let scale: f32 = context.get("scale").ok_or_else(|| failed("no scale"))?;
        let zero: i64 = context.get("zero").ok_or_else(|| failed("no zero point"))?;
        let zero = u8::try_from(zero).map_err(failed)?;
        let quantizer = Quantizer::new(scale, zero, self.isa).ok_or_else(|| failed(format!("a scale of {scale}")))?;
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            enter(&quantizer, threads, context)
        }))
    }
}

fn enter(quantizer: &Quantizer, threads: usize, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<f32>()?;
    let &[images, channels, height, width] = &shape[..] else {
        return Err(failed("the input's rank is wrong"));
    };
    let out = vec![images, height, width, channels];
    let size = extents([images, channels, height, width])?;
    let mut target = context.output(0, out)?.ok_or_else(|| failed("the output is missing"))?;
    let (_, output) = target.try_extract_tensor_mut::<u8>()?;
    let executor = OnPool { context, threads };
    quantizer.run(input, size, output, &executor).map_err(failed)
}
