//! Operators in int8 (`repserve_kernels::int8`): a convolution in NHWC from u8 to u8, also with a residual sum, a chain of them, and a linear
//! layer from u8 to f32.

use std::sync::Arc;

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::{OnPool, extents, failed, layer_of};
use repserve_kernels::{Int8Chain, Int8ChainMemory, Int8Step, PreparedInt8Conv};

/// Which operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Int8Op {
    /// `Int8Conv`: u8 `[N, H, W, C]` to u8 `[N, H', W', O]`.
    Conv,
    /// `Int8ConvAdd`: as `Int8Conv`, plus a second input, u8 like the output, whose values are added.
    ConvAdd,
    /// `Int8Gemm`: u8 `[N, C]` to f32 `[N, O]`.
    Gemm,
    /// `Int8Chain`: several of the first two, whose wiring the attribute `steps` holds ([`written_steps`]).
    Chain,
}

impl Int8Op {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conv => "Int8Conv",
            Self::ConvAdd => "Int8ConvAdd",
            Self::Gemm => "Int8Gemm",
            Self::Chain => "Int8Chain",
        }
    }
}

/// The steps of a chain as integers: for each its layer, the value that it reads, and the one that it adds or -1.
pub(crate) fn written_steps(steps: &[Int8Step]) -> Vec<i64> {
    let written = |step: &Int8Step| {
        [
            step.layer as i64,
            step.input as i64,
            step.other.map_or(-1, |other| other as i64),
        ]
    };
    steps.iter().flat_map(written).collect()
}

/// The chain of the attribute `steps`.
fn chain_of(context: &KernelContext<'_>) -> ort::Result<Int8Chain> {
    let written: Vec<i64> = context.get("steps").ok_or_else(|| failed("a chain without steps"))?;
    let step = |[layer, input, other]: &[i64; 3]| {
        Ok::<_, ort::Error>(Int8Step {
            layer: usize::try_from(*layer).map_err(failed)?,
            input: usize::try_from(*input).map_err(failed)?,
            other: usize::try_from(*other).ok(),
        })
    };
    let steps = written.as_chunks().0.iter().map(step).collect::<ort::Result<_>>()?;
    Int8Chain::new(steps).map_err(failed)
}

/// The operator that runs the layer which the attribute `layer` names, or a chain of them.
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
            Int8Op::Conv | Int8Op::ConvAdd | Int8Op::Chain => TensorElementType::Uint8,
            Int8Op::Gemm => TensorElementType::Float32,
        })]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<BoxedKernel<'a>> {
        let (layers, threads) = (Arc::clone(&self.layers), self.threads);
        let index = || layer_of(context, self.layers.len());
        Ok(match self.op {
            Int8Op::Chain => {
                let (chain, memory) = (chain_of(context)?, Int8ChainMemory::default());
                Box::new(move |context: &ComputeContext| run_chain(&chain, &layers, &memory, threads, context))
            }
            Int8Op::Conv | Int8Op::ConvAdd => {
                let index = index()?;
                let adds = self.op == Int8Op::ConvAdd;
                Box::new(move |context: &ComputeContext| convolve(&layers[index], threads, adds, context))
            }
            Int8Op::Gemm => {
                let index = index()?;
                Box::new(move |context: &ComputeContext| multiply(&layers[index], threads, context))
            }
        })
    }
}

fn convolve(layer: &PreparedInt8Conv, threads: usize, adds: bool, context: &ComputeContext) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<u8>()?;
    let &[images, height, width, channels] = &shape[..] else {
        return Err(failed("the input's rank is wrong"));
    };
    let [images, height, width, channels] = extents([images, height, width, channels])?;
    check_channels(channels, layer)?;
    let size = [images, height, width];
    let (rows, columns) = layer.output_size(height, width).map_err(failed)?;
    let out = [images, rows, columns, layer.written()]
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

fn run_chain(
    chain: &Int8Chain,
    layers: &[PreparedInt8Conv],
    memory: &Int8ChainMemory,
    threads: usize,
    context: &ComputeContext,
) -> ort::Result<()> {
    let value = context.input(0)?.ok_or_else(|| failed("the input is missing"))?;
    let (shape, input) = value.try_extract_tensor::<u8>()?;
    let &[images, height, width, channels] = &shape[..] else {
        return Err(failed("the input's rank is wrong"));
    };
    let [images, height, width, channels] = extents([images, height, width, channels])?;
    if let Some(first) = chain.steps().first().and_then(|step| layers.get(step.layer)) {
        check_channels(channels, first)?;
    }
    let [rows, columns, out] = chain.output_extent(layers, [height, width]).map_err(failed)?;
    let out = [images, rows, columns, out].map(|extent| extent as i64).to_vec();
    let mut target = context.output(0, out)?.ok_or_else(|| failed("the output is missing"))?;
    let (_, output) = target.try_extract_tensor_mut::<u8>()?;
    let executor = OnPool { context, threads };
    chain
        .run(layers, input, [images, height, width], output, memory, &executor)
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
    let wanted = layer.read();
    if found == wanted {
        Ok(())
    } else {
        Err(failed(format!("the input has {found} channels, not {wanted}")))
    }
}
