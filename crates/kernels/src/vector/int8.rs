//! Convolution of 8-bit quantized values: sums of u8 · i8 products in 32 bits, four channels an instruction, and their way back to u8 or f32.

use std::num::Saturating;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::portable;
use super::register::{balanced_at_end, with_rows};
use super::sums::{Int8Output, LANES, PanelRows, Sums, TOGETHER, VECTORS, place};
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
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Int8Isa {
    /// The fastest set that this processor has; `None` where there is only plain code, which is slow.
    pub fn detect() -> Option<Self> {
        Self::available().pop().filter(|isa| isa.0 != Set::Portable)
    }

    /// Plain code.
    pub fn plain() -> Self {
        Self(Set::Portable)
    }

    /// Every set that this processor has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self::plain()];
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
                if amx::is_available() {
                    sets.push(Self(Set::Amx));
                }
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
            Set::Avx512Vnni | Set::Amx => 4,
        }
    }

    /// Vectors of channels of a depthwise convolution that are computed together where a panel has more than one.
    pub(crate) fn panel_depthwise(self) -> usize {
        if self.is_spread() { VECTORS } else { 1 }
    }

    /// Where the sum of a panel's output channel stands in its `vectors` vectors.
    pub(crate) fn place(self, channel: usize, vectors: usize) -> usize {
        place(self.is_spread(), channel, vectors)
    }

    fn is_spread(self) -> bool {
        match self.0 {
            Set::Portable => false,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => AvxVnni::SPREAD,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni | Set::Amx => Avx512Vnni::SPREAD,
        }
    }

    /// `portable`, `avx-vnni`, `avx512-vnni` or `amx-int8`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Amx => "amx-int8",
        }
    }
}

/// A panel of a convolution whose output channels read several input channels.
pub(crate) struct Int8Band<'a, T> {
    /// Its weights are `[kh][kw][channels / 4][vectors · LANES][4]`, behind those of `finer`.
    pub(crate) panel: PanelRows<'a, T>,
    /// Values of a pixel, from its first on, whose products with weights of their own, over 256, are part of the sum; of a 1x1 convolution.
    pub(crate) finer: usize,
    /// First channel of the panel's group, and the group's channels, padded to a multiple of [`TOGETHER`].
    pub(crate) channels: (usize, usize),
}

/// Computes an [`Int8Band`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_int8<T: Int8Output>(isa: Int8Isa, work: Int8Band<'_, T>) {
    if work.panel.is_empty() || work.channels.1 == 0 {
        return;
    }
    assert!(work.fits(), "a slice is too short for the band");
    #[cfg(target_arch = "x86_64")]
    if isa.0 == Set::Amx && amx::suits(&work) {
        return dispatch(isa, amx::TileBand(work));
    }
    dispatch(isa, work);
}

impl<T> Int8Band<'_, T> {
    /// Whether the slices hold all that is read and written, of at least one row, column, input and output channel.
    pub(super) fn fits(&self) -> bool {
        let (count, panel) = (Saturating::<usize>, &self.panel);
        let ([kh, kw], [sh, sw]) = (panel.kernel.map(count), panel.strides.map(count));
        let vectors = panel.vectors();
        let last_row = count(panel.rows.1 - 1) * sh + kh - count(1);
        let last_column = count(panel.out_size.1 - 1) * sw + kw - count(1);
        let input = last_row * count(panel.input_row)
            + last_column * count(panel.input_pixel)
            + count(self.channels.0)
            + count(self.channels.1);
        let weights = (count(self.channels.1) * kh * kw + count(self.finer)) * count(vectors) * count(LANES);
        panel.fits(vectors)
            && self.channels.1.is_multiple_of(TOGETHER)
            && self.finer.is_multiple_of(TOGETHER)
            && self.finer <= (count(self.channels.0) + count(self.channels.1)).0
            && input.0 <= panel.input.len()
            && weights.0 <= panel.weights.len()
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
            Set::Avx512Vnni | Set::Amx => avx512_vnni(work),
        }
    }
}

impl<T: Int8Output> Int8Work for Int8Band<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Sums>(self) {
        // SAFETY: `rows_of_int8` has checked the extents.
        unsafe {
            if self.finer > 0 {
                self.all::<S, true>();
            } else {
                self.all::<S, false>();
            }
        }
    }
}

impl<T: Int8Output> Int8Band<'_, T> {
    /// All pixels. Whether sums have finer parts is known when this is compiled: where both kinds of sums met, they would lie in memory.
    #[inline(always)]
    unsafe fn all<S: Sums, const FINER: bool>(&self) {
        let panel = &self.panel;
        let vectors = panel.vectors();
        let most = S::ROWS[vectors - 1];
        for row in 0..panel.rows.1 {
            let mut x = 0;
            while x < panel.out_size.1 {
                let columns = balanced_at_end(panel.out_size.1 - x, most);
                // SAFETY: the caller's; `x + columns <= width`.
                unsafe {
                    match vectors {
                        1 => with_rows!(S, 1, columns, |R| self.pixels::<S, R, 1, FINER>(row, x)),
                        2 => with_rows!(S, 2, columns, |R| self.pixels::<S, R, 2, FINER>(row, x)),
                        3 => with_rows!(S, 3, columns, |R| self.pixels::<S, R, 3, FINER>(row, x)),
                        _ => with_rows!(S, 4, columns, |R| self.pixels::<S, R, 4, FINER>(row, x)),
                    }
                }
                x += columns;
            }
        }
    }

    /// `R` neighbouring pixels of `C` vectors of output channels.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const R: usize, const C: usize, const FINER: bool>(&self, row: usize, x: usize) {
        unsafe {
            let panel = &self.panel;
            // Where there is one column a step is not taken, and may be any number.
            let step = panel.strides[1].wrapping_mul(panel.input_pixel);
            let corner = row * panel.strides[0] * panel.input_row + x * step;
            let mut sums = if FINER {
                self.finer_sums::<S, R, C>(corner, step)
            } else {
                panel.biases::<S, R, C>()
            };
            let corner = corner + self.channels.0;
            let mut weights = self.finer * C * LANES;
            for ky in 0..panel.kernel[0] {
                for kx in 0..panel.kernel[1] {
                    let tap = corner + ky * panel.input_row + kx * panel.input_pixel;
                    for k in (0..self.channels.1).step_by(TOGETHER) {
                        let mut w = [S::weights(self.at(weights)); C];
                        for v in 1..C {
                            w[v] = S::weights(self.at(weights + v * LANES * TOGETHER));
                        }
                        weights += C * LANES * TOGETHER;
                        for r in 0..R {
                            debug_assert!(tap + r * step + k + TOGETHER <= panel.input.len());
                            let inputs = S::inputs(panel.input.as_ptr().add(tap + r * step + k));
                            for v in 0..C {
                                sums[r][v] = sums[r][v].dot(inputs, w[v]);
                            }
                        }
                    }
                }
            }
            panel.write(row, x, sums);
        }
    }

    /// What the sums begin with where they have finer parts.
    #[inline(always)]
    unsafe fn finer_sums<S: Sums, const R: usize, const C: usize>(&self, corner: usize, step: usize) -> [[S; C]; R] {
        static ZEROS: [i32; LANES] = [0; LANES];
        unsafe {
            let panel = &self.panel;
            let mut sums = [[S::load(ZEROS.as_ptr()); C]; R];
            for k in (0..self.finer).step_by(TOGETHER) {
                let mut w = [S::weights(self.at(k * C * LANES)); C];
                for v in 1..C {
                    w[v] = S::weights(self.at(k * C * LANES + v * LANES * TOGETHER));
                }
                for r in 0..R {
                    debug_assert!(corner + r * step + k + TOGETHER <= panel.input.len());
                    let inputs = S::inputs(panel.input.as_ptr().add(corner + r * step + k));
                    for v in 0..C {
                        sums[r][v] = sums[r][v].dot(inputs, w[v]);
                    }
                }
            }
            for v in 0..C {
                for sums in &mut sums {
                    sums[v] = sums[v].over_256(panel.bias.as_ptr().add(v * LANES));
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn at(&self, weight: usize) -> *const i8 {
        debug_assert!(weight + LANES * TOGETHER <= self.panel.weights.len());
        unsafe { self.panel.weights.as_ptr().add(weight) }
    }
}
