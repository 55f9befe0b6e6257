//! The merged convolution's parameters, shared out to threads by output channel.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};

use super::differentiate::Differentiation;
use super::plan::MergePlan;
use super::program::Program;
use repserve_graph::{DType, Tensor, parallel};

use half::{bf16, f16};

/// Weights from which on output channels are shared out to threads.
const PARALLEL_WEIGHTS_MIN: usize = 1 << 18;

/// Threads that share them.
const THREADS_MAX: usize = 8;

/// The merged convolution's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// `[out, in/groups, kernel…]`, rounded once from f64.
    pub(crate) weight: Tensor,
    /// A summand an output channel.
    pub(crate) bias: Vec<f64>,
    /// Whether every parameter is finite.
    pub(crate) finite: bool,
}

impl Program<'_> {
    /// The weights of the convolution that `plan` (made by this program) describes, in the float type `dtype`.
    pub(crate) fn compile(&self, plan: &MergePlan, dtype: DType) -> Compiled {
        let differentiation = Differentiation::new(self, plan);
        let rows = plan.out_channels;
        let row_bytes = differentiation.row_len() * dtype.size_bytes().unwrap_or(0);
        let mut data = vec![0u8; rows * row_bytes];
        let mut bias = vec![0.0; rows];
        let threads = if plan.weight_count() < PARALLEL_WEIGHTS_MIN {
            1
        } else {
            std::thread::available_parallelism()
                .map_or(1, NonZero::get)
                .min(THREADS_MAX)
        };
        let share = rows.div_ceil(threads).max(1);
        let shares = data.chunks_mut((share * row_bytes).max(1)).zip(bias.chunks_mut(share));
        let finite = AtomicBool::new(true);
        parallel::for_each(shares.enumerate(), |(i, (data, bias))| {
            if !channels(&differentiation, i * share, data, bias, dtype) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        let mut shape = vec![rows, plan.in_channels / plan.groups];
        shape.extend(plan.axes.iter().map(|a| a.taps.count()));
        let weight = Tensor::new(dtype, shape, data.into());
        let finite = finite.into_inner() && weight.is_ok();
        let weight = weight.unwrap_or_else(|_| Tensor::from_f32(&[0], &[]));
        Compiled { weight, bias, finite }
    }
}

/// Computes output channels `first..first + bias.len()`; whether all is finite.
fn channels(
    differentiation: &Differentiation<'_>,
    first: usize,
    data: &mut [u8],
    bias: &mut [f64],
    dtype: DType,
) -> bool {
    let mut gradients = differentiation.gradients();
    let row_bytes = data.len() / bias.len().max(1);
    let mut finite = true;
    for (i, (bias, out)) in bias.iter_mut().zip(data.chunks_mut(row_bytes.max(1))).enumerate() {
        *bias = differentiation.run(first + i, &mut gradients);
        finite &= bias.is_finite() && round(&gradients[0], dtype, out);
        gradients[0].fill(0.0);
    }
    finite
}

/// Rounds to type `dtype`; whether every number is finite.
fn round(row: &[f64], dtype: DType, out: &mut [u8]) -> bool {
    fn all<const N: usize>(row: &[f64], out: &mut [u8], to: impl Fn(f64) -> ([u8; N], bool)) -> bool {
        let mut finite = true;
        for (out, v) in out.as_chunks_mut::<N>().0.iter_mut().zip(row) {
            let (bytes, ok) = to(*v);
            *out = bytes;
            finite &= ok;
        }
        finite
    }
    match dtype {
        DType::F32 => all(row, out, |v| ((v as f32).to_le_bytes(), (v as f32).is_finite())),
        DType::F64 => all(row, out, |v| (v.to_le_bytes(), v.is_finite())),
        DType::F16 => all(row, out, |v| {
            let v = f16::from_f64(v);
            (v.to_le_bytes(), v.is_finite())
        }),
        DType::BF16 => all(row, out, |v| {
            let v = bf16::from_f64(v);
            (v.to_le_bytes(), v.is_finite())
        }),
        _ => false,
    }
}
