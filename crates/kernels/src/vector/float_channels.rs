//! Depthwise convolution in f32 of what an int8 layer returns, quantized again: each output channel reads one input channel.

use std::num::Saturating;
use std::ops::Range;

use super::buffer::SharedOutput;
use super::int8::{Int8Isa, Int8Work, dispatch};
use super::register::within;
use super::sums::{LANES, Sums, VECTORS};

/// Output columns that are computed together.
const COLUMNS: usize = 4;

/// Some rows of up to [`VECTORS`] vectors of channels that share them as [`super::sums::place`] says.
pub(crate) struct FloatChannels<'a> {
    /// `[(rows − 1)·stride + kh][padded width][vectors · LANES]`.
    pub(crate) input: &'a [f32],
    /// Columns of a padded row.
    pub(crate) columns: usize,
    pub(crate) vectors: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// `[vectors][kh · kw][LANES]`, in steps of the output.
    pub(crate) weights: &'a [f32],
    /// `[vectors · LANES]`, in steps of the output.
    pub(crate) bias: &'a [f32],
    pub(crate) zero: u8,
    /// Whether outputs have a low and a high byte: then their zero is 0, and those of a pixel's channels stand behind all low ones.
    pub(crate) wide: bool,
    /// `[rows of all images, width, bytes of a pixel]`.
    pub(crate) output: SharedOutput<'a, u8>,
    pub(crate) out_channels: usize,
    /// The output channels.
    pub(crate) out: Range<usize>,
    /// First output row and how many.
    pub(crate) rows: (usize, usize),
    /// Output columns.
    pub(crate) width: usize,
}

/// Computes [`FloatChannels`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_float_channels(isa: Int8Isa, work: FloatChannels<'_>) {
    if work.rows.1 == 0 || work.width == 0 || work.out.is_empty() {
        return;
    }
    assert!(work.fits(), "a slice is too short for the rows");
    dispatch(isa, work);
}

impl FloatChannels<'_> {
    /// Whether the slices hold all that is read and written, of at least one row, column and channel.
    pub(super) fn fits(&self) -> bool {
        let count = Saturating::<usize>;
        let ([kh, kw], [sh, sw]) = (self.kernel.map(count), self.strides.map(count));
        let lanes = count(self.vectors) * count(LANES);
        let rows = count(self.rows.1 - 1) * sh + kh;
        let read = count(self.width - 1) * sw + kw;
        let pixel = count(self.out_channels) * count(1 + usize::from(self.wide));
        let written = (count(self.rows.0) + count(self.rows.1)) * count(self.width) * pixel;
        (1..=VECTORS).contains(&self.vectors)
            && !self.kernel.contains(&0)
            && read.0 <= self.columns
            && (rows * count(self.columns) * lanes).0 <= self.input.len()
            && (kh * kw * lanes).0 <= self.weights.len()
            && lanes.0 <= self.bias.len()
            && self.out.len() <= lanes.0
            && within(self.out.start, self.out.len(), self.out_channels)
            && written.0 <= self.output.len()
    }
}

impl Int8Work for FloatChannels<'_> {
    #[inline(always)]
    unsafe fn run<S: Sums>(self) {
        // SAFETY: `rows_of_float_channels` has checked the extents.
        unsafe {
            match (self.kernel, self.strides[1]) {
                ([3, 3], 1) => self.vectors::<S, 3, 1>(),
                ([3, 3], 2) => self.vectors::<S, 3, 2>(),
                _ => self.vectors::<S, 0, 0>(),
            }
        }
    }
}

impl FloatChannels<'_> {
    #[inline(always)]
    unsafe fn vectors<S: Sums, const K: usize, const STRIDE: usize>(&self) {
        unsafe {
            match self.vectors {
                1 => self.all::<S, K, STRIDE, 1>(),
                2 => self.all::<S, K, STRIDE, 2>(),
                3 => self.all::<S, K, STRIDE, 3>(),
                _ => self.all::<S, K, STRIDE, 4>(),
            }
        }
    }

    /// All pixels of `C` vectors. `K` is the kernel's side and `STRIDE` its step, 0 where they are others.
    #[inline(always)]
    unsafe fn all<S: Sums, const K: usize, const STRIDE: usize, const C: usize>(&self) {
        for row in 0..self.rows.1 {
            let mut x = 0;
            while x < self.width {
                // SAFETY: the caller's; `x + columns <= width`.
                unsafe {
                    if self.width - x >= COLUMNS {
                        self.pixels::<S, COLUMNS, K, STRIDE, C>(row, x);
                        x += COLUMNS;
                    } else {
                        self.pixels::<S, 1, K, STRIDE, C>(row, x);
                        x += 1;
                    }
                }
            }
        }
    }

    /// `R` neighbouring pixels from column `x` of a row on.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const R: usize, const K: usize, const STRIDE: usize, const C: usize>(
        &self,
        row: usize,
        x: usize,
    ) {
        let stride = if STRIDE == 0 { self.strides[1] } else { STRIDE };
        let [kh, kw] = if K == 0 { self.kernel } else { [K; 2] };
        let line = self.columns * C * LANES;
        let corner = row * self.strides[0] * line + x * stride * C * LANES;
        unsafe {
            let first = S::load_floats(self.bias.as_ptr());
            let mut steps = [[first; C]; R];
            for v in 0..C {
                let mut sums = [S::load_floats(self.bias.as_ptr().add(v * LANES)); R];
                for ky in 0..kh {
                    for kx in 0..kw {
                        let w = S::load_floats(self.weights.as_ptr().add(((v * kh + ky) * kw + kx) * LANES));
                        for r in 0..R {
                            let at = corner + ky * line + ((r * stride + kx) * C + v) * LANES;
                            debug_assert!(at + LANES <= self.input.len());
                            sums[r] = S::mul_add(S::load_floats(self.input.as_ptr().add(at)), w, sums[r]);
                        }
                    }
                }
                for r in 0..R {
                    steps[r][v] = sums[r];
                }
            }
            let pixel = self.out_channels * (1 + usize::from(self.wide));
            let at = ((self.rows.0 + row) * self.width + x) * pixel + self.out.start;
            let count = self.out.len();
            for r in 0..R {
                let low = self.output.place(at + r * pixel, count);
                if self.wide {
                    let high = self.output.place(at + r * pixel + self.out_channels, count);
                    S::write_wide_steps(steps[r], [low, high], count);
                } else {
                    S::write_steps(steps[r], self.zero, low, count);
                }
            }
        }
    }
}
