//! Vectors of 32-bit sums of int8 products: what every instruction set provides.

/// Output channels in a vector of sums.
pub(in super::super) const LANES: usize = 16;
/// Input channels that one instruction multiplies and adds up.
pub(in super::super) const TOGETHER: usize = 4;

/// Sums of [`LANES`] output channels.
///
/// # Safety
/// Methods may only run where the processor has the instructions; pointers must be good for what they say.
pub(in super::super) unsafe trait Sums: Copy {
    /// Codes of [`TOGETHER`] channels.
    type Codes: Copy;
    /// Weights of [`TOGETHER`] channels for each lane.
    type Weights: Copy;
    /// For 1, 2 and 3 vectors: pixels whose sums fit the register file.
    const ROWS: [usize; 3];

    /// `LANES` numbers.
    unsafe fn load(from: *const i32) -> Self;
    /// `TOGETHER` codes, for every lane.
    unsafe fn codes(from: *const u8) -> Self::Codes;
    /// `LANES · TOGETHER` weights.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Adds the products of unsigned `codes` and signed `weights`.
    unsafe fn dot(self, codes: Self::Codes, weights: Self::Weights) -> Self;
    /// `clamp(round(sum · scale)) + zero` as ONNX Runtime does it: the product in f32, ties to even. `scale` points to `LANES`.
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES];
    /// `sum · scale`, in f32.
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES];
}

/// What a layer of codes answers with: codes (`u8`) or numbers (`f32`).
pub(in super::super) trait Answer: Copy + Send {
    /// # Safety
    /// As [`Sums::requantized`].
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES];
}

impl Answer for u8 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES] {
        unsafe { sums.requantized(scale, zero) }
    }
}

impl Answer for f32 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, _: u8) -> [Self; LANES] {
        unsafe { sums.scaled(scale) }
    }
}
