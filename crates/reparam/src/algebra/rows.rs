//! A convolution's weights, a row (output channel) at a time, in f64.

use std::borrow::Cow;

use half::{bf16, f16};

use super::program::ConvMap;
use super::route::Route;
use repserve_graph::DType;

/// The weights of a convolution, `[out][in/groups][tap]`, in their own type.
pub(super) struct Rows<'a> {
    bytes: Cow<'a, [u8]>,
    dtype: DType,
    /// Weights of a row.
    len: usize,
    factor: f64,
}

impl<'a> Rows<'a> {
    pub(super) fn of(conv: &ConvMap<'a>) -> Self {
        let dtype = conv.weight.dtype();
        let bytes = &conv.weight.data()[..];
        let size = dtype.size_bytes().unwrap_or(1);
        Self {
            bytes: if conv.transposed {
                Cow::Owned(turned(bytes, conv.out_channels, size))
            } else {
                Cow::Borrowed(bytes)
            },
            dtype,
            len: conv.in_channels / conv.groups * conv.window.taps(),
            factor: conv.factor,
        }
    }

    /// Adds to `target` what `gradient`, of output channel `row`, becomes: see [`Route::spread`].
    pub(super) fn spread(&self, row: usize, route: &Route, gradient: &[f64], target: &mut [f64]) {
        let (first, bytes, factor) = (row * self.len, &self.bytes[..], self.factor);
        match self.dtype {
            DType::F32 => {
                let weights = &bytes.as_chunks::<4>().0[first..][..self.len];
                route.spread(
                    weights,
                    |b| f64::from(f32::from_le_bytes(*b)) * factor,
                    gradient,
                    target,
                );
            }
            DType::F64 => {
                let weights = &bytes.as_chunks::<8>().0[first..][..self.len];
                route.spread(weights, |b| f64::from_le_bytes(*b) * factor, gradient, target);
            }
            DType::F16 => {
                let weights = &bytes.as_chunks::<2>().0[first..][..self.len];
                route.spread(weights, |b| f16::from_le_bytes(*b).to_f64() * factor, gradient, target);
            }
            DType::BF16 => {
                let weights = &bytes.as_chunks::<2>().0[first..][..self.len];
                route.spread(weights, |b| bf16::from_le_bytes(*b).to_f64() * factor, gradient, target);
            }
            _ => target.fill(f64::NAN),
        }
    }
}

/// A matrix of elements of `size` bytes, `[in, out]`, as `[out, in]`.
fn turned(bytes: &[u8], columns: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        let elements = bytes.chunks_exact(size).skip(column).step_by(columns);
        elements.for_each(|element| out.extend_from_slice(element));
    }
    out
}

impl ConvMap<'_> {
    /// What the convolution makes of an input that is `x[c]` everywhere.
    pub(super) fn of_constant(&self, x: &[f64]) -> Vec<f64> {
        let bias = |o: usize| self.bias.as_ref().map_or(0.0, |b| b[o]);
        if x.iter().all(|v| *v == 0.0) {
            return (0..self.out_channels).map(bias).collect();
        }
        let (rows, taps) = (Rows::of(self), self.window.taps());
        let (per_row, per_group) = (self.in_channels / self.groups, self.out_channels / self.groups);
        let window = Route::window(taps);
        let mut row = vec![0.0; per_row * taps];
        let made = (0..self.out_channels).map(|o| {
            row.fill(0.0);
            rows.spread(o, &window, &[1.0], &mut row);
            let x = &x[o / per_group * per_row..][..per_row];
            let terms = row.chunks(taps).zip(x).map(|(w, x)| w.iter().sum::<f64>() * x);
            bias(o) + terms.sum::<f64>()
        });
        made.collect()
    }
}
