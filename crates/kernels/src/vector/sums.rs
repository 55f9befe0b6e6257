//! Vectors of 32-bit sums of int8 products: what every instruction set provides.

use serde::{Deserialize, Serialize};

use super::buffer::SharedOutput;

/// Output channels in a vector of sums.
pub(crate) const LANES: usize = 16;
/// Input channels that one instruction multiplies and adds up.
pub(crate) const TOGETHER: usize = 4;

/// Sums of [`LANES`] output channels.
///
/// # Safety
/// Methods may only run where the processor has the instructions; pointers must be good for what they say.
pub(crate) unsafe trait Sums: Copy {
    /// Quantized inputs of [`TOGETHER`] channels.
    type Inputs: Copy;
    /// Weights of [`TOGETHER`] channels for each lane.
    type Weights: Copy;
    /// For 1, 2 and 3 vectors: pixels whose sums fit the register file.
    const ROWS: [usize; 3];

    /// `LANES` numbers.
    unsafe fn load(from: *const i32) -> Self;
    /// `TOGETHER` inputs, for every lane.
    unsafe fn inputs(from: *const u8) -> Self::Inputs;
    /// `LANES · TOGETHER` weights.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Adds the products of unsigned `inputs` and signed `weights`.
    unsafe fn dot(self, inputs: Self::Inputs, weights: Self::Weights) -> Self;
    /// Writes `LANES · TOGETHER` bytes: for each lane, its byte of each of the rows, `LANES` bytes long.
    unsafe fn interleave(rows: [*const u8; TOGETHER], to: *mut u8);
    /// As [`Self::dot`], where each lane has inputs of its own, `LANES · TOGETHER` at `inputs`.
    unsafe fn dot_each(self, inputs: *const u8, weights: Self::Weights) -> Self;
    /// The codes of the sums of two quantized values, as [`Int8Sum`] says. `other` points to `LANES`.
    unsafe fn added(codes: [u8; LANES], other: *const u8, sum: &Int8Sum) -> [u8; LANES];
    /// `clamp(round(sum · scale)) + zero` as ONNX Runtime does it: the product in f32, ties to even. `scale` points to `LANES`.
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES];
    /// `sum · scale`, in f32.
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES];
}

/// The code of a sum of two quantized values `a` and `b`: `round(a·ratios[0] + (b·ratios[1] + fixed))` within u8, ties to even and each
/// product with its sum rounded once, as ONNX Runtime's `QLinearAdd` does it. A ratio is the summand's scale over the sum's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Int8Sum {
    ratios: [f32; 2],
    fixed: f32,
}

impl Int8Sum {
    /// Larger ratios are no sums that a quantizer makes.
    const RATIO_MAX: f32 = 65536.0;

    /// Of the scales and zero points of `a`, `b` and their sum; `None` where a summand's scale is no number, or absurdly larger than
    /// the sum's.
    pub fn new(scales: [f32; 3], zeros: [u8; 3]) -> Option<Self> {
        let ratios = [scales[0] / scales[2], scales[1] / scales[2]];
        let [a, b, sum] = zeros.map(f32::from);
        ratios
            .iter()
            .all(|ratio| ratio.abs() < Self::RATIO_MAX)
            .then_some(Self {
                ratios,
                fixed: sum - (ratios[0] * a + ratios[1] * b),
            })
    }

    pub(super) fn parts(&self) -> ([f32; 2], f32) {
        (self.ratios, self.fixed)
    }

    /// The code of one sum.
    pub(crate) fn code(&self, a: u8, b: u8) -> u8 {
        let inner = f32::from(b).mul_add(self.ratios[1], self.fixed);
        f32::from(a).mul_add(self.ratios[0], inner).round_ties_even() as u8
    }
}

/// Quantized values that are added to a layer's quantized outputs, as many, and how.
#[derive(Clone, Copy)]
pub(crate) struct Residual<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) sum: Int8Sum,
}

/// What an int8 layer returns: quantized values (`u8`) or numbers (`f32`).
pub(crate) trait Int8Output: Copy + Send {
    /// # Safety
    /// As [`Sums::requantized`].
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES];
    /// The sums with `other`; numbers stay as they are.
    ///
    /// # Safety
    /// As [`Sums::added`].
    unsafe fn added<S: Sums>(outputs: [Self; LANES], other: *const u8, sum: &Int8Sum) -> [Self; LANES];
}

/// Where the outputs of neighbouring pixels go, and how sums become them.
pub(super) struct Finish<'a, T> {
    pub(super) scale: *const f32,
    pub(super) zero: u8,
    pub(super) residual: Option<Residual<'a>>,
    pub(super) output: SharedOutput<'a, T>,
    /// Place of the first pixel's first output, outputs from one pixel to the next, and real ones of a vector, at most [`LANES`].
    pub(super) at: usize,
    pub(super) step: usize,
    pub(super) count: usize,
}

impl<T: Int8Output> Finish<'_, T> {
    /// Writes the outputs of a vector of `R` pixels. The loops are apart so that each is short enough to keep the sums in registers.
    ///
    /// # Safety
    /// As [`Sums::requantized`] and [`SharedOutput::write`]; the outputs' places are within the residual.
    #[inline(always)]
    pub(super) unsafe fn write<S: Sums, const R: usize>(self, sums: [S; R]) {
        let (at, step) = (self.at, self.step);
        unsafe {
            match self.residual {
                None if self.count == LANES => {
                    for r in 0..R {
                        let outputs = T::finish(sums[r], self.scale, self.zero);
                        self.output.write(at + r * step, outputs, LANES);
                    }
                }
                None => {
                    for r in 0..R {
                        let outputs = T::finish(sums[r], self.scale, self.zero);
                        self.output.write(at + r * step, outputs, self.count);
                    }
                }
                Some(Residual { codes, sum }) if self.count == LANES => {
                    for r in 0..R {
                        let outputs = T::finish(sums[r], self.scale, self.zero);
                        debug_assert!(at + r * step + LANES <= codes.len());
                        let outputs = T::added::<S>(outputs, codes.as_ptr().add(at + r * step), &sum);
                        self.output.write(at + r * step, outputs, LANES);
                    }
                }
                Some(Residual { codes, sum }) => {
                    for r in 0..R {
                        let outputs = T::finish(sums[r], self.scale, self.zero);
                        debug_assert!(at + r * step + self.count <= codes.len());
                        let mut some = [0; LANES];
                        let from = codes.as_ptr().add(at + r * step);
                        if self.count == LANES / 2 {
                            some.as_mut_ptr().copy_from_nonoverlapping(from, LANES / 2);
                        } else {
                            some.as_mut_ptr().copy_from_nonoverlapping(from, self.count);
                        }
                        let outputs = T::added::<S>(outputs, some.as_ptr(), &sum);
                        self.output.write(at + r * step, outputs, self.count);
                    }
                }
            }
        }
    }
}

impl Int8Output for u8 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES] {
        unsafe { sums.requantized(scale, zero) }
    }

    #[inline(always)]
    unsafe fn added<S: Sums>(outputs: [Self; LANES], other: *const u8, sum: &Int8Sum) -> [Self; LANES] {
        unsafe { S::added(outputs, other, sum) }
    }
}

impl Int8Output for f32 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, _: u8) -> [Self; LANES] {
        unsafe { sums.scaled(scale) }
    }

    #[inline(always)]
    unsafe fn added<S: Sums>(outputs: [Self; LANES], _: *const u8, _: &Int8Sum) -> [Self; LANES] {
        outputs
    }
}
