//! Vectors of 32-bit sums of int8 products: what every instruction set provides.

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
    /// `clamp(round(sum · scale)) + zero` as ONNX Runtime does it: the product in f32, ties to even. `scale` points to `LANES`.
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES];
    /// `sum · scale`, in f32.
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES];
}

/// What an int8 layer returns: quantized values (`u8`) or numbers (`f32`).
pub(crate) trait Int8Output: Copy + Send {
    /// # Safety
    /// As [`Sums::requantized`].
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES];
}

impl Int8Output for u8 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, zero: u8) -> [Self; LANES] {
        unsafe { sums.requantized(scale, zero) }
    }
}

impl Int8Output for f32 {
    #[inline(always)]
    unsafe fn finish<S: Sums>(sums: S, scale: *const f32, _: u8) -> [Self; LANES] {
        unsafe { sums.scaled(scale) }
    }
}
