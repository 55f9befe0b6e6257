//! AVX2 with FMA, and AVX-512.

use std::arch::x86_64::*;

use super::{Vector, codes};

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

macro_rules! vector {
    ($name:ident, $lanes:literal, $rows:expr, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $max:ident, $zero:ident) => {
        // SAFETY: `dispatch` runs it only where the instructions exist; `load` and `store` touch LANES floats.
        unsafe impl Vector for $name {
            const LANES: usize = $lanes;
            const ROWS: [usize; 3] = $rows;

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                Self(unsafe { $splat(value) })
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                Self(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                Self(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                Self(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                Self(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(unsafe { $fma(self.0, factor.0, addend.0) })
            }

            // The instruction returns its second operand when one is NaN.
            #[inline(always)]
            unsafe fn relu(self) -> Self {
                Self(unsafe { $max($zero(), self.0) })
            }
        }
    };
}

vector!(
    Avx2,
    8,
    [8, 6, 3],
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps,
    _mm256_setzero_ps
);
vector!(
    Avx512,
    16,
    [10, 10, 8],
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    _mm512_max_ps,
    _mm512_setzero_ps
);

/// Sums of products of codes, by `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Vnni(__m512i);

// SAFETY: `codes` runs it only where the instructions exist; pointers are read as far as the trait says.
unsafe impl codes::Sums for Vnni {
    type Codes = __m512i;
    const ROWS: [usize; 3] = [10, 10, 7];

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(self, codes: __m512i, weights: __m512i) -> Self {
        Self(unsafe { _mm512_dpbusd_epi32(self.0, codes, weights) })
    }

    #[inline(always)]
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; codes::LANES] {
        unsafe {
            let least = _mm512_set1_ps(-f32::from(zero));
            let most = _mm512_set1_ps(255.0 - f32::from(zero));
            let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(scale));
            let steps = _mm512_min_ps(_mm512_max_ps(steps, least), most);
            let codes = _mm512_add_epi32(_mm512_cvtps_epi32(steps), _mm512_set1_epi32(i32::from(zero)));
            std::mem::transmute::<__m128i, [u8; codes::LANES]>(_mm512_cvtepi32_epi8(codes))
        }
    }

    #[inline(always)]
    unsafe fn scaled(self, scale: *const f32) -> [f32; codes::LANES] {
        unsafe {
            let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(scale));
            std::mem::transmute::<__m512, [f32; codes::LANES]>(steps)
        }
    }
}
