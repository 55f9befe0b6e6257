//! Vectors of 32-bit sums of int8 products: what every instruction set provides.

use std::num::Saturating;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::buffer::SharedOutput;
use super::register::within;

/// Output channels in a vector of sums.
pub(crate) const LANES: usize = 16;
/// Input channels that one instruction multiplies and adds up.
pub(crate) const TOGETHER: usize = 4;
/// Vectors of output channels that are computed together at most, and their channels.
pub(crate) const VECTORS: usize = 4;
pub(crate) const PANEL: usize = VECTORS * LANES;

/// Sums of [`LANES`] output channels.
///
/// # Safety
/// Methods may only run where the processor has the instructions; pointers must be good for what they say.
pub(crate) unsafe trait Sums: Copy {
    /// Quantized inputs of [`TOGETHER`] channels.
    type Inputs: Copy;
    /// `LANES` numbers of f32.
    type Floats: Copy;
    /// Weights of [`TOGETHER`] channels for each lane.
    type Weights: Copy;
    /// For 1 to 4 vectors: pixels whose sums fit the register file.
    const ROWS: [usize; VECTORS];
    /// Whether the vectors of a panel share its channels so that packing them puts these in order; see [`place`].
    const SPREAD: bool = false;

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
    /// As [`Self::interleave`], of rows of [`PANEL`] bytes, as the vectors of a panel share them where they do.
    unsafe fn interleave_panel(rows: [*const u8; TOGETHER], to: *mut u8) {
        for channel in 0..PANEL {
            for (i, row) in rows.iter().enumerate() {
                unsafe { *to.add(place(Self::SPREAD, channel, VECTORS) * TOGETHER + i) = *row.add(channel) };
            }
        }
    }
    /// As [`Self::dot`], where each lane has inputs of its own, `LANES · TOGETHER` at `inputs`.
    unsafe fn dot_each(self, inputs: *const u8, weights: Self::Weights) -> Self;
    /// The codes of the sums of two quantized values, as [`Int8Sum`] says. `other` points to `LANES`.
    unsafe fn added(codes: [u8; LANES], other: *const u8, sum: &Int8Sum) -> [u8; LANES];
    /// `clamp(round(sum · scale)) + zero` as ONNX Runtime does it: the product in f32, ties to even. `scale` points to `LANES`.
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES];
    /// `sum · scale`, in f32.
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES];
    /// The sums over 256, rounded, plus the `LANES` numbers at `bias`.
    unsafe fn over_256(self, bias: *const i32) -> Self;

    /// `LANES` numbers.
    unsafe fn load_floats(from: *const f32) -> Self::Floats;
    /// `a · b + c`, rounded once where the set can.
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Writes the sums in f32, and zero where one is negative.
    unsafe fn write_positive(self, to: *mut f32);
    /// As [`Self::write_codes`], of numbers of steps.
    unsafe fn write_steps<const C: usize>(steps: [Self::Floats; C], zero: u8, to: *mut u8, count: usize);
    /// As [`Self::write_steps`], of two bytes whose zero is 0: the low ones to `to[0]`, the high ones to `to[1]`.
    unsafe fn write_wide_steps<const C: usize>(steps: [Self::Floats; C], to: [*mut u8; 2], count: usize);

    /// The codes of a panel in order, as [`Self::requantized`] says; `scale` points to those of all lanes.
    #[inline(always)]
    unsafe fn codes<const C: usize>(sums: [Self; C], scale: *const f32, zero: u8) -> [[u8; LANES]; VECTORS] {
        let mut codes = [[0; LANES]; VECTORS];
        for v in 0..C {
            codes[v] = unsafe { sums[v].requantized(scale.add(v * LANES), zero) };
        }
        codes
    }

    /// Writes the first `count` of [`Self::codes`], at most `C · LANES`.
    #[inline(always)]
    unsafe fn write_codes<const C: usize>(sums: [Self; C], scale: *const f32, zero: u8, to: *mut u8, count: usize) {
        unsafe {
            let codes = Self::codes(sums, scale, zero);
            for v in 0..count.div_ceil(LANES) {
                copy(codes[v].as_ptr(), to.add(v * LANES), count - v * LANES);
            }
        }
    }

    /// As [`Self::write_codes`], of [`Self::scaled`].
    #[inline(always)]
    unsafe fn write_scaled<const C: usize>(sums: [Self; C], scale: *const f32, to: *mut f32, count: usize) {
        let mut values = [0.0; PANEL];
        for v in 0..C {
            let scaled = unsafe { sums[v].scaled(scale.add(v * LANES)) };
            for lane in 0..LANES {
                values[channel(Self::SPREAD, v * LANES + lane, C)] = scaled[lane];
            }
        }
        unsafe { to.copy_from_nonoverlapping(values.as_ptr(), count) }
    }
}

/// Where the sum of a panel's output channel stands in its `vectors` vectors. Spread, each quarter of a vector has four channels of
/// `4 · vectors` that follow each other, the quarters of the next vector the next four.
pub(crate) fn place(spread: bool, channel: usize, vectors: usize) -> usize {
    if !spread {
        return channel;
    }
    let (quarter, within) = (channel / (4 * vectors), channel % (4 * vectors));
    within / 4 * LANES + quarter * 4 + within % 4
}

/// The channel whose sum stands there.
fn channel(spread: bool, place: usize, vectors: usize) -> usize {
    if !spread {
        return place;
    }
    let (vector, lane) = (place / LANES, place % LANES);
    lane / 4 * 4 * vectors + vector * 4 + lane % 4
}

/// Writes `count` of the codes of `C` vectors, which stand in order.
///
/// # Safety
/// As many can be written.
#[inline(always)]
pub(super) unsafe fn copy_all<const C: usize>(codes: [[u8; LANES]; C], to: *mut u8, count: usize) {
    unsafe {
        for v in 0..count.div_ceil(LANES) {
            copy(codes[v].as_ptr(), to.add(v * LANES), count - v * LANES);
        }
    }
}

/// Copies `count` codes, of a vector at most.
///
/// # Safety
/// As many can be read and written.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    unsafe {
        // Of a count that is known, which is no call.
        if count >= LANES {
            to.copy_from_nonoverlapping(from, LANES);
        } else if count == LANES / 2 {
            to.copy_from_nonoverlapping(from, LANES / 2);
        } else {
            to.copy_from_nonoverlapping(from, count);
        }
    }
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

impl Residual<'_> {
    /// What is added to the `len` outputs from `first` on.
    pub(crate) fn part(self, first: usize, len: usize) -> Self {
        Self {
            codes: &self.codes[first..][..len],
            sum: self.sum,
        }
    }
}

/// What an int8 layer returns: quantized values (`u8`) or numbers (`f32`).
pub(crate) trait Int8Output: Copy + Send {
    /// Writes the first `count` outputs of a panel.
    ///
    /// # Safety
    /// As [`Sums::write_codes`].
    unsafe fn write<S: Sums, const C: usize>(sums: [S; C], scale: *const f32, zero: u8, to: *mut Self, count: usize);

    /// As [`Self::write`], of the outputs' sums with the codes at `other`; numbers stay as they are.
    ///
    /// # Safety
    /// As [`Sums::write_codes`]; `other` points to `count` codes.
    unsafe fn write_added<S: Sums, const C: usize>(
        sums: [S; C],
        scale: *const f32,
        zero: u8,
        to: *mut Self,
        count: usize,
        residual: (*const u8, &Int8Sum),
    );
}

/// A layer's sum without its scale, in f32 and never negative, that lies where its vector has it ([`place`]).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Positive(f32);

/// One panel of output channels of some rows of one image, one to four vectors of them, and the padded input that they read.
pub(crate) struct PanelRows<'a, T> {
    /// `[(rows − 1)·stride + kh][padded width][channels]`.
    pub(crate) input: &'a [u8],
    /// Bytes between two rows, and between two pixels, of `input`.
    pub(crate) input_row: usize,
    pub(crate) input_pixel: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) weights: &'a [i8],
    /// For each output channel of the panel, at its [`place`], what its sum starts with.
    pub(crate) bias: &'a [i32],
    /// What one step of the sum is in the output's unit (for quantized values, its step), as `bias`.
    pub(crate) scale: &'a [f32],
    /// The zero point of an output of quantized values.
    pub(crate) zero: u8,
    /// What is added to the quantized output.
    pub(crate) residual: Option<Residual<'a>>,
    /// `[images, H, out_row, out_channels]`; the last row may end with its last column.
    pub(crate) output: SharedOutput<'a, T>,
    pub(crate) out_channels: usize,
    /// The panel's output channels.
    pub(crate) out: Range<usize>,
    pub(crate) image: usize,
    /// First output row and how many.
    pub(crate) rows: (usize, usize),
    /// Output rows and columns of the layer.
    pub(crate) out_size: (usize, usize),
    /// Pixels between two rows of `output`, at least as many as its columns.
    pub(crate) out_row: usize,
}

impl<T> PanelRows<'_, T> {
    /// Vectors of output channels.
    pub(super) fn vectors(&self) -> usize {
        self.out.len().div_ceil(LANES)
    }

    /// Whether there is nothing to compute.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.1 == 0 || self.out_size.1 == 0 || self.out.is_empty()
    }

    /// Whether all but `input` and `weights` holds what is read and written of `vectors` vectors, of at least one row, column and output channel.
    pub(super) fn fits(&self, vectors: usize) -> bool {
        let count = Saturating::<usize>;
        let ((first, rows), (height, width)) = (self.rows, self.out_size);
        let last_row = (count(self.image) + count(1)) * count(height) - count(1);
        let numbers = (last_row * count(self.out_row) + count(width)) * count(self.out_channels);
        (1..=VECTORS).contains(&vectors)
            && self.out.len() <= vectors * LANES
            && self.out.end <= self.out_channels
            && within(first, rows, height)
            && width <= self.out_row
            && !self.kernel.contains(&0)
            && vectors * LANES <= self.bias.len()
            && vectors * LANES <= self.scale.len()
            && self.residual.is_none_or(|residual| numbers.0 <= residual.codes.len())
            && numbers.0 <= self.output.len()
    }

    /// What the sums of `R` pixels begin with.
    ///
    /// # Safety
    /// As [`Sums::load`], for `C` vectors of the bias.
    #[inline(always)]
    pub(super) unsafe fn biases<S: Sums, const R: usize, const C: usize>(&self) -> [[S; C]; R] {
        unsafe {
            let mut sums = [[S::load(self.bias.as_ptr()); C]; R];
            for v in 1..C {
                let bias = S::load(self.bias.as_ptr().add(v * LANES));
                for sum in &mut sums {
                    sum[v] = bias;
                }
            }
            sums
        }
    }

    /// Writes the outputs of the pixels from column `x` of the panel's row `row` on. The loops are apart so that each is short enough to keep the
    /// sums in registers.
    ///
    /// # Safety
    /// [`Self::fits`]; the row is one of the panel's, and `x + R` columns are there.
    #[inline(always)]
    pub(super) unsafe fn write<S: Sums, const R: usize, const C: usize>(&self, row: usize, x: usize, sums: [[S; C]; R])
    where
        T: Int8Output,
    {
        let pixel = (self.image * self.out_size.0 + self.rows.0 + row) * self.out_row + x;
        let (at, step, count) = (
            pixel * self.out_channels + self.out.start,
            self.out_channels,
            self.out.len(),
        );
        let scale = self.scale.as_ptr();
        unsafe {
            match &self.residual {
                None => {
                    for r in 0..R {
                        T::write(
                            sums[r],
                            scale,
                            self.zero,
                            self.output.place(at + r * step, count),
                            count,
                        );
                    }
                }
                Some(Residual { codes, sum }) => {
                    // A copy in memory: this loop is too long to be unrolled, and would keep the sums there from the first product on.
                    let sums = std::hint::black_box(sums);
                    for r in 0..R {
                        let at = at + r * step;
                        debug_assert!(at + count <= codes.len());
                        let to = self.output.place(at, count);
                        T::write_added(sums[r], scale, self.zero, to, count, (codes.as_ptr().add(at), sum));
                    }
                }
            }
        }
    }
}

impl Int8Output for u8 {
    #[inline(always)]
    unsafe fn write<S: Sums, const C: usize>(sums: [S; C], scale: *const f32, zero: u8, to: *mut Self, count: usize) {
        unsafe { S::write_codes(sums, scale, zero, to, count) }
    }

    #[inline(always)]
    unsafe fn write_added<S: Sums, const C: usize>(
        sums: [S; C],
        scale: *const f32,
        zero: u8,
        to: *mut Self,
        count: usize,
        (other, sum): (*const u8, &Int8Sum),
    ) {
        unsafe {
            let codes = S::codes(sums, scale, zero);
            for v in 0..count.div_ceil(LANES) {
                let (first, left) = (v * LANES, count - v * LANES);
                let mut others = [0; LANES];
                copy(other.add(first), others.as_mut_ptr(), left);
                let added = S::added(codes[v], others.as_ptr(), sum);
                copy(added.as_ptr(), to.add(first), left);
            }
        }
    }
}

impl Int8Output for f32 {
    #[inline(always)]
    unsafe fn write<S: Sums, const C: usize>(sums: [S; C], scale: *const f32, _: u8, to: *mut Self, count: usize) {
        unsafe { S::write_scaled(sums, scale, to, count) }
    }

    #[inline(always)]
    unsafe fn write_added<S: Sums, const C: usize>(
        sums: [S; C],
        scale: *const f32,
        _: u8,
        to: *mut Self,
        count: usize,
        _: (*const u8, &Int8Sum),
    ) {
        unsafe { S::write_scaled(sums, scale, to, count) }
    }
}

impl Int8Output for Positive {
    #[inline(always)]
    unsafe fn write<S: Sums, const C: usize>(sums: [S; C], _: *const f32, _: u8, to: *mut Self, count: usize) {
        debug_assert!(count == C * LANES);
        for v in 0..C {
            unsafe { sums[v].write_positive(to.cast::<f32>().add(v * LANES)) }
        }
    }

    #[inline(always)]
    unsafe fn write_added<S: Sums, const C: usize>(
        sums: [S; C],
        scale: *const f32,
        zero: u8,
        to: *mut Self,
        count: usize,
        _: (*const u8, &Int8Sum),
    ) {
        unsafe { Self::write(sums, scale, zero, to, count) }
    }
}

impl<'a> SharedOutput<'a, Positive> {
    /// Of numbers that are written as they lie.
    pub(crate) fn positive(slice: &'a mut [f32]) -> Self {
        // SAFETY: `Positive` is an f32, and its module writes no other bits than numbers.
        SharedOutput::new(unsafe { &mut *(std::ptr::from_mut(slice) as *mut [Positive]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_of_a_panel_has_a_place_of_its_own() {
        for vectors in 1..=VECTORS {
            for spread in [false, true] {
                let mut places: Vec<usize> = (0..vectors * LANES).map(|c| place(spread, c, vectors)).collect();
                assert!(
                    places
                        .iter()
                        .enumerate()
                        .all(|(c, at)| channel(spread, *at, vectors) == c)
                );
                places.sort_unstable();
                assert!(places.into_iter().eq(0..vectors * LANES));
            }
        }
        assert_eq!([place(true, 5, 4), place(true, 16, 4), place(true, 5, 1)], [17, 4, 5]);
    }
}
