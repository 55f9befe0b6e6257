//! Convolution of 8-bit quantized values: sums of u8 · i8 products in 32 bits, four channels an instruction, and their way back to u8 or f32.

use std::num::Saturating;
use std::ops::Range;

use super::buffer::SharedOutput;
use super::portable;
use super::register::{balanced, with_rows, within};
use super::sums::{Finish, Int8Output, LANES, Residual, Sums, TOGETHER};
#[cfg(target_arch = "x86_64")]
use super::x86_int8::{Avx512Vnni, AvxVnni};

/// The instructions that multiply quantized values; all give the same results to the bit. There is none for AVX2: its 16-bit sums of two products saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Int8Isa {
    /// The fastest set that this processor has; `None` where there is only plain code, which is slow.
    pub fn detect() -> Option<Self> {
        Self::available().pop().filter(|isa| isa.0 != Set::Portable)
    }

    /// Every set that this processor has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("avxvnni")
            {
                sets.push(Self(Set::AvxVnni));
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                sets.push(Self(Set::Avx512Vnni));
            }
        }
        sets
    }

    /// Vectors of output channels that are computed together.
    pub(crate) fn panel(self) -> usize {
        match self.0 {
            Set::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => 1,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => 3,
        }
    }

    /// `portable`, `avx-vnni` or `avx512-vnni`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// Rows of output of one image, and the padded input that they read.
pub(crate) struct Int8Band<'a, T> {
    /// `[(rows − 1)·stride + kh][padded width][channels]`.
    pub(crate) input: &'a [u8],
    /// Bytes between two rows, and between two pixels, of `input`.
    pub(crate) input_row: usize,
    pub(crate) input_pixel: usize,
    /// First channel of the panel's group, and the group's channels, padded to a multiple of [`TOGETHER`].
    pub(crate) channels: (usize, usize),
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// The panel's weights: `[kh][kw][channels / 4][vectors · LANES][4]`.
    pub(crate) weights: &'a [i8],
    /// For each output channel of the panel, padded to `vectors · LANES`, what its sum starts with.
    pub(crate) bias: &'a [i32],
    /// What one step of the sum is in the output's unit (for quantized values, its step), as `bias`.
    pub(crate) scale: &'a [f32],
    /// The zero point of an output of quantized values.
    pub(crate) zero: u8,
    /// What is added to the quantized output.
    pub(crate) residual: Option<Residual<'a>>,
    /// `[images, H, W, out_channels]`.
    pub(crate) output: SharedOutput<'a, T>,
    pub(crate) out_channels: usize,
    /// The panel's output channels.
    pub(crate) out: Range<usize>,
    pub(crate) image: usize,
    /// First output row and how many.
    pub(crate) rows: (usize, usize),
    /// Output rows and columns of the layer.
    pub(crate) out_size: (usize, usize),
}

/// Computes one panel of a [`Int8Band`]: one to three vectors of output channels.
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_int8<T: Int8Output>(isa: Int8Isa, work: Int8Band<'_, T>) {
    if work.rows.1 == 0 || work.out_size.1 == 0 || work.channels.1 == 0 || work.out.is_empty() {
        return;
    }
    assert!(work.fits(), "a slice is too short for the band");
    dispatch(isa, work);
}

impl<T> Int8Band<'_, T> {
    /// Whether the slices hold all that is read and written, of at least one row, column, input and output channel.
    pub(super) fn fits(&self) -> bool {
        let count = Saturating::<usize>;
        let ((first, rows), (height, width)) = (self.rows, self.out_size);
        let ([kh, kw], [sh, sw]) = (self.kernel.map(count), self.strides.map(count));
        let vectors = self.out.len().div_ceil(LANES);
        let whole = (1..=3).contains(&vectors)
            && self.out.end <= self.out_channels
            && within(first, rows, height)
            && !self.kernel.contains(&0)
            && self.channels.1.is_multiple_of(TOGETHER);
        if !whole {
            return false;
        }
        let last_row = count(rows - 1) * sh + kh - count(1);
        let last_column = count(width - 1) * sw + kw - count(1);
        let input = last_row * count(self.input_row)
            + last_column * count(self.input_pixel)
            + count(self.channels.0)
            + count(self.channels.1);
        let weights = count(self.channels.1) * kh * kw * count(vectors * LANES);
        let numbers = (count(self.image) + count(1)) * count(height) * count(width) * count(self.out_channels);
        input.0 <= self.input.len()
            && weights.0 <= self.weights.len()
            && vectors * LANES <= self.bias.len()
            && vectors * LANES <= self.scale.len()
            && self.residual.is_none_or(|residual| numbers.0 <= residual.codes.len())
            && numbers.0 <= self.output.len()
    }
}

/// Code over any [`Sums`]. `run` and all that it calls must be `#[inline(always)]`, so that it is compiled for the set.
pub(super) trait Int8Work {
    /// # Safety
    /// Only [`dispatch`] calls it.
    unsafe fn run<S: Sums>(self);
}

pub(super) fn dispatch(isa: Int8Isa, work: impl Int8Work) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn avx_vnni(work: impl Int8Work) {
        unsafe { work.run::<AvxVnni>() }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn avx512_vnni(work: impl Int8Work) {
        unsafe { work.run::<Avx512Vnni>() }
    }
    // SAFETY: a set exists only on a processor that has it.
    unsafe {
        match isa.0 {
            Set::Portable => work.run::<portable::Int32Sums>(),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => avx_vnni(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => avx512_vnni(work),
        }
    }
}

impl<T: Int8Output> Int8Work for Int8Band<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Sums>(self) {
        let vectors = self.out.len().div_ceil(LANES);
        let most = S::ROWS[vectors - 1];
        for row in 0..self.rows.1 {
            let mut x = 0;
            while x < self.out_size.1 {
                let columns = balanced(self.out_size.1 - x, most);
                // SAFETY: `rows_of_int8` has checked the extents; `x + columns <= width`.
                unsafe {
                    match vectors {
                        1 => with_rows!(S, 1, columns, |R| self.pixels::<S, R, 1>(row, x)),
                        2 => with_rows!(S, 2, columns, |R| self.pixels::<S, R, 2>(row, x)),
                        _ => with_rows!(S, 3, columns, |R| self.pixels::<S, R, 3>(row, x)),
                    }
                }
                x += columns;
            }
        }
    }
}

impl<T: Int8Output> Int8Band<'_, T> {
    /// `R` neighbouring pixels of `C` vectors of output channels.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const R: usize, const C: usize>(&self, row: usize, x: usize) {
        unsafe {
            let mut sums = [[S::load(self.bias.as_ptr()); C]; R];
            for v in 1..C {
                let bias = S::load(self.bias.as_ptr().add(v * LANES));
                for sum in &mut sums {
                    sum[v] = bias;
                }
            }
            // Where there is one column a step is not taken, and may be any number.
            let step = self.strides[1].wrapping_mul(self.input_pixel);
            let corner = row * self.strides[0] * self.input_row + x * step + self.channels.0;
            let mut weights = 0;
            for ky in 0..self.kernel[0] {
                for kx in 0..self.kernel[1] {
                    let tap = corner + ky * self.input_row + kx * self.input_pixel;
                    for k in (0..self.channels.1).step_by(TOGETHER) {
                        let mut w = [S::weights(self.at(weights)); C];
                        for v in 1..C {
                            w[v] = S::weights(self.at(weights + v * LANES * TOGETHER));
                        }
                        weights += C * LANES * TOGETHER;
                        for r in 0..R {
                            debug_assert!(tap + r * step + k + TOGETHER <= self.input.len());
                            let inputs = S::inputs(self.input.as_ptr().add(tap + r * step + k));
                            for v in 0..C {
                                sums[r][v] = sums[r][v].dot(inputs, w[v]);
                            }
                        }
                    }
                }
            }
            let (height, width) = self.out_size;
            let pixel = (self.image * height + self.rows.0 + row) * width + x;
            for v in 0..C {
                let first = self.out.start + v * LANES;
                let finish = Finish {
                    scale: self.scale.as_ptr().add(v * LANES),
                    zero: self.zero,
                    residual: self.residual,
                    output: self.output,
                    at: pixel * self.out_channels + first,
                    step: self.out_channels,
                    count: LANES.min(self.out.end - first),
                };
                let mut column = [sums[0][v]; R];
                for r in 1..R {
                    column[r] = sums[r][v];
                }
                finish.write(column);
            }
        }
    }

    #[inline(always)]
    unsafe fn at(&self, weight: usize) -> *const i8 {
        debug_assert!(weight + LANES * TOGETHER <= self.weights.len());
        unsafe { self.weights.as_ptr().add(weight) }
    }
}
