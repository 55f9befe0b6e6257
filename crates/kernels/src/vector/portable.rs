//! Vectors as arrays: correct everywhere, vectorized by the compiler where it can.

use super::register::Vector;
use super::sums::{Int8Sum, LANES, Sums, TOGETHER, VECTORS, copy_all};

#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Array<const N: usize>([f32; N]);

pub(super) type Lanes8 = Array<8>;
#[cfg(test)]
pub(super) type Lanes16 = Array<16>;

/// Accumulators of 8 lanes take two 128-bit registers each: 16 registers on x86-64, 32 on aarch64.
const ROWS_OF_8: [usize; 3] = if cfg!(target_arch = "aarch64") {
    [8, 6, 4]
} else {
    [4, 3, 0]
};
const ROWS_OF_16: [usize; 3] = [10, 10, 8];

// SAFETY: no instruction beyond the target's baseline; `load` and `store` touch N floats.
unsafe impl<const N: usize> Vector for Array<N> {
    const LANES: usize = N;
    const ROWS: [usize; 3] = if N == 16 { ROWS_OF_16 } else { ROWS_OF_8 };

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; N])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; N]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }

    #[inline(always)]
    unsafe fn sub(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a -= b;
        }
        self
    }

    #[inline(always)]
    unsafe fn mul(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a *= b;
        }
        self
    }

    #[inline(always)]
    unsafe fn mul_add(mut self, factor: Self, addend: Self) -> Self {
        for ((a, b), c) in self.0.iter_mut().zip(factor.0).zip(addend.0) {
            *a = if cfg!(target_arch = "aarch64") {
                a.mul_add(b, c)
            } else {
                *a * b + c
            };
        }
        self
    }

    #[inline(always)]
    unsafe fn relu(mut self) -> Self {
        for a in &mut self.0 {
            *a = if *a < 0.0 { 0.0 } else { *a };
        }
        self
    }
}

/// Sums of int8 products.
#[derive(Clone, Copy)]
pub(super) struct Int32Sums([i32; LANES]);

// SAFETY: no instruction beyond the target's baseline; pointers are read as far as the trait says.
unsafe impl Sums for Int32Sums {
    type Inputs = [u8; TOGETHER];
    type Weights = [[i8; TOGETHER]; LANES];
    type Floats = [f32; LANES];
    const ROWS: [usize; VECTORS] = [4, 2, 1, 1];

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(unsafe { from.cast::<[i32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn inputs(from: *const u8) -> Self::Inputs {
        unsafe { from.cast::<Self::Inputs>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        unsafe { from.cast::<Self::Weights>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn dot(mut self, inputs: Self::Inputs, weights: Self::Weights) -> Self {
        for (sum, weights) in self.0.iter_mut().zip(weights) {
            for (input, weight) in inputs.into_iter().zip(weights) {
                *sum = sum.wrapping_add(i32::from(input) * i32::from(weight));
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; TOGETHER], to: *mut u8) {
        let rows = rows.map(|row| unsafe { row.cast::<[u8; LANES]>().read_unaligned() });
        let lanes: [[u8; TOGETHER]; LANES] = std::array::from_fn(|lane| rows.map(|row| row[lane]));
        unsafe { to.cast::<[[u8; TOGETHER]; LANES]>().write_unaligned(lanes) }
    }

    #[inline(always)]
    unsafe fn dot_each(mut self, inputs: *const u8, weights: Self::Weights) -> Self {
        let inputs = unsafe { inputs.cast::<[[u8; TOGETHER]; LANES]>().read_unaligned() };
        for ((sum, inputs), weights) in self.0.iter_mut().zip(inputs).zip(weights) {
            for (input, weight) in inputs.into_iter().zip(weights) {
                *sum = sum.wrapping_add(i32::from(input) * i32::from(weight));
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn added(codes: [u8; LANES], other: *const u8, sum: &Int8Sum) -> [u8; LANES] {
        let other = unsafe { other.cast::<[u8; LANES]>().read_unaligned() };
        std::array::from_fn(|i| sum.code(codes[i], other[i]))
    }

    #[inline(always)]
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES] {
        let zero = f32::from(zero);
        let scale = unsafe { scale.cast::<[f32; LANES]>().read_unaligned() };
        std::array::from_fn(|i| {
            let steps = (self.0[i] as f32 * scale[i]).clamp(-zero, 255.0 - zero);
            (steps.round_ties_even() + zero) as u8
        })
    }

    #[inline(always)]
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES] {
        let scale = unsafe { scale.cast::<[f32; LANES]>().read_unaligned() };
        std::array::from_fn(|i| self.0[i] as f32 * scale[i])
    }

    #[inline(always)]
    unsafe fn over_256(self, bias: *const i32) -> Self {
        let bias = unsafe { bias.cast::<[i32; LANES]>().read_unaligned() };
        Self(std::array::from_fn(|i| {
            (self.0[i].wrapping_add(128) >> 8).wrapping_add(bias[i])
        }))
    }

    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> Self::Floats {
        unsafe { from.cast::<[f32; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn write_positive(self, to: *mut f32) {
        let values = self.0.map(|sum| sum.max(0) as f32);
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(values) }
    }

    #[inline(always)]
    unsafe fn write_steps<const C: usize>(steps: [Self::Floats; C], zero: u8, to: *mut u8, count: usize) {
        let zero = f32::from(zero);
        let codes = steps.map(|steps| steps.map(|step| (step.round_ties_even() + zero).clamp(0.0, 255.0) as u8));
        unsafe { copy_all(codes, to, count) }
    }

    #[inline(always)]
    unsafe fn write_wide_steps<const C: usize>(steps: [Self::Floats; C], to: [*mut u8; 2], count: usize) {
        let codes = steps.map(|steps| steps.map(|step| step.round_ties_even().clamp(0.0, 65535.0) as u16));
        unsafe {
            copy_all(codes.map(|codes| codes.map(|code| code as u8)), to[0], count);
            copy_all(codes.map(|codes| codes.map(|code| (code >> 8) as u8)), to[1], count);
        }
    }
}
