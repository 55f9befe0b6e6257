//! Sums of int8 products: AVX-512 with VNNI, and AVX-VNNI.
//!
//! Nothing here is a closure: one that is not inlined would be compiled without the instructions, and call each of them as a function.

use std::arch::x86_64::*;

use super::sums::{Int8Sum, LANES, Sums, TOGETHER, VECTORS, copy_all};

/// Sixteen sums in one register, by `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni(__m512i);

/// Sixteen sums in two registers, by `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni([__m256i; 2]);

// SAFETY: `int8` runs it only where the instructions exist; pointers are read as far as the trait says.
unsafe impl Sums for Avx512Vnni {
    type Inputs = __m512i;
    type Weights = __m512i;
    type Floats = __m512;
    const ROWS: [usize; VECTORS] = [10, 10, 7, 6];
    const SPREAD: bool = true;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn inputs(from: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(self, inputs: __m512i, weights: __m512i) -> Self {
        Self(unsafe { _mm512_dpbusd_epi32(self.0, inputs, weights) })
    }

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; TOGETHER], to: *mut u8) {
        unsafe { interleaved(rows, to) }
    }

    #[inline(always)]
    unsafe fn dot_each(self, inputs: *const u8, weights: __m512i) -> Self {
        Self(unsafe { _mm512_dpbusd_epi32(self.0, _mm512_loadu_si512(inputs.cast()), weights) })
    }

    #[inline(always)]
    unsafe fn added(codes: [u8; LANES], other: *const u8, sum: &Int8Sum) -> [u8; LANES] {
        unsafe {
            let ([a, b], fixed) = sum.parts();
            let inner = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(other.cast())));
            let inner = _mm512_fmadd_ps(inner, _mm512_set1_ps(b), _mm512_set1_ps(fixed));
            let codes = _mm512_cvtepu8_epi32(std::mem::transmute::<[u8; LANES], __m128i>(codes));
            let steps = _mm512_fmadd_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(a), inner);
            let values = _mm512_max_epi32(_mm512_cvtps_epi32(steps), _mm512_setzero_si512());
            std::mem::transmute::<__m128i, [u8; LANES]>(_mm512_cvtusepi32_epi8(values))
        }
    }

    #[inline(always)]
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES] {
        unsafe {
            let least = _mm512_set1_ps(-f32::from(zero));
            let most = _mm512_set1_ps(255.0 - f32::from(zero));
            let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(scale));
            let steps = _mm512_min_ps(_mm512_max_ps(steps, least), most);
            let values = _mm512_add_epi32(_mm512_cvtps_epi32(steps), _mm512_set1_epi32(i32::from(zero)));
            std::mem::transmute::<__m128i, [u8; LANES]>(_mm512_cvtepi32_epi8(values))
        }
    }

    #[inline(always)]
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES] {
        unsafe {
            let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(scale));
            std::mem::transmute::<__m512, [f32; LANES]>(steps)
        }
    }

    #[inline(always)]
    unsafe fn over_256(self, bias: *const i32) -> Self {
        unsafe {
            let rounded = _mm512_add_epi32(self.0, _mm512_set1_epi32(128));
            Self(_mm512_add_epi32(
                _mm512_srai_epi32::<8>(rounded),
                _mm512_loadu_si512(bias.cast()),
            ))
        }
    }

    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn write_positive(self, to: *mut f32) {
        unsafe {
            let sums = _mm512_max_epi32(self.0, _mm512_setzero_si512());
            _mm512_storeu_ps(to, _mm512_cvtepi32_ps(sums));
        }
    }

    #[inline(always)]
    unsafe fn write_steps<const C: usize>(steps: [__m512; C], zero: u8, to: *mut u8, count: usize) {
        unsafe {
            let most = _mm512_set1_ps(255.0 - f32::from(zero));
            let mut codes = [_mm512_setzero_si512(); C];
            for v in 0..C {
                codes[v] = _mm512_cvtps_epi32(_mm512_min_ps(most, steps[v]));
            }
            store_bytes(Self::bytes(codes, zero), to, count);
        }
    }

    #[inline(always)]
    unsafe fn write_wide_steps<const C: usize>(steps: [__m512; C], to: [*mut u8; 2], count: usize) {
        unsafe {
            let (least, most) = (_mm512_setzero_ps(), _mm512_set1_ps(65535.0));
            let (mut low, mut high) = ([_mm512_setzero_si512(); C], [_mm512_setzero_si512(); C]);
            for v in 0..C {
                let code = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_min_ps(most, steps[v]), least));
                low[v] = _mm512_and_si512(code, _mm512_set1_epi32(255));
                high[v] = _mm512_srli_epi32::<8>(code);
            }
            store_bytes(Self::bytes(low, 0), to[0], count);
            store_bytes(Self::bytes(high, 0), to[1], count);
        }
    }

    #[inline(always)]
    unsafe fn interleave_panel(rows: [*const u8; TOGETHER], to: *mut u8) {
        unsafe {
            let (a, b) = (_mm512_loadu_si512(rows[0].cast()), _mm512_loadu_si512(rows[1].cast()));
            let (c, d) = (_mm512_loadu_si512(rows[2].cast()), _mm512_loadu_si512(rows[3].cast()));
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (other_low, other_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            let vectors = [
                _mm512_unpacklo_epi16(low, other_low),
                _mm512_unpackhi_epi16(low, other_low),
                _mm512_unpacklo_epi16(high, other_high),
                _mm512_unpackhi_epi16(high, other_high),
            ];
            for (i, vector) in vectors.into_iter().enumerate() {
                _mm512_storeu_si512(to.cast::<__m512i>().add(i), vector);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const C: usize>(sums: [Self; C], scale: *const f32, zero: u8) -> [[u8; LANES]; VECTORS] {
        unsafe { std::mem::transmute::<__m512i, [[u8; LANES]; VECTORS]>(Self::packed(sums, scale, zero)) }
    }

    #[inline(always)]
    unsafe fn write_codes<const C: usize>(sums: [Self; C], scale: *const f32, zero: u8, to: *mut u8, count: usize) {
        unsafe {
            store_bytes(Self::packed(sums, scale, zero), to, count);
        }
    }
}

/// Steps in 16 bits, plus the zero point.
#[inline(always)]
unsafe fn words(a: __m512i, b: __m512i, zero: __m512i) -> __m512i {
    unsafe { _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero) }
}

/// Writes the first `count` bytes.
#[inline(always)]
unsafe fn store_bytes(bytes: __m512i, to: *mut u8, count: usize) {
    unsafe { _mm512_mask_storeu_epi8(to.cast(), u64::MAX >> (u64::BITS as usize - count), bytes) }
}

impl Avx512Vnni {
    /// As [`Sums::codes`].
    #[inline(always)]
    unsafe fn packed<const C: usize>(sums: [Self; C], scale: *const f32, zero: u8) -> __m512i {
        unsafe {
            // Saturating packs bound the codes, but for what is too large for 32 bits.
            let most = _mm512_set1_ps(255.0 - f32::from(zero));
            let mut codes = [_mm512_setzero_si512(); C];
            for v in 0..C {
                let steps = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[v].0), _mm512_loadu_ps(scale.add(v * LANES)));
                codes[v] = _mm512_cvtps_epi32(_mm512_min_ps(most, steps));
            }
            Self::bytes(codes, zero)
        }
    }

    /// The codes of `C` vectors of whole steps, in order; the steps and the zero point are at most 255 together.
    #[inline(always)]
    unsafe fn bytes<const C: usize>(steps: [__m512i; C], zero: u8) -> __m512i {
        unsafe {
            let shift = _mm512_set1_epi16(i16::from(zero));
            match C {
                1 => {
                    let codes = _mm512_add_epi32(steps[0], _mm512_set1_epi32(i32::from(zero)));
                    let codes = _mm512_max_epi32(codes, _mm512_setzero_si512());
                    _mm512_castsi128_si512(_mm512_cvtepi32_epi8(codes))
                }
                2 => {
                    let words = words(steps[0], steps[1], shift);
                    let order = _mm512_setr_epi64(0, 2, 4, 6, 0, 2, 4, 6);
                    _mm512_permutexvar_epi64(order, _mm512_packus_epi16(words, words))
                }
                3 => {
                    let (third, order) = (steps[2], [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0]);
                    let bytes = _mm512_packus_epi16(words(steps[0], steps[1], shift), words(third, third, shift));
                    _mm512_permutexvar_epi32(std::mem::transmute::<[i32; LANES], __m512i>(order), bytes)
                }
                _ => _mm512_packus_epi16(words(steps[0], steps[1], shift), words(steps[2], steps[3], shift)),
            }
        }
    }
}

// SAFETY: as above.
unsafe impl Sums for AvxVnni {
    type Inputs = __m256i;
    type Weights = [__m256i; 2];
    type Floats = [__m256; 2];
    const ROWS: [usize; VECTORS] = [6, 2, 1, 1];

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        Self(unsafe { halves(from.cast()) })
    }

    #[inline(always)]
    unsafe fn inputs(from: *const u8) -> __m256i {
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> [__m256i; 2] {
        unsafe { halves(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(self, inputs: __m256i, weights: [__m256i; 2]) -> Self {
        let [low, high] = self.0;
        Self(unsafe {
            [
                _mm256_dpbusd_avx_epi32(low, inputs, weights[0]),
                _mm256_dpbusd_avx_epi32(high, inputs, weights[1]),
            ]
        })
    }

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; TOGETHER], to: *mut u8) {
        unsafe { interleaved(rows, to) }
    }

    #[inline(always)]
    unsafe fn dot_each(self, inputs: *const u8, weights: [__m256i; 2]) -> Self {
        unsafe {
            let ([low, high], inputs) = (self.0, halves(inputs.cast()));
            Self([
                _mm256_dpbusd_avx_epi32(low, inputs[0], weights[0]),
                _mm256_dpbusd_avx_epi32(high, inputs[1], weights[1]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn added(codes: [u8; LANES], other: *const u8, sum: &Int8Sum) -> [u8; LANES] {
        unsafe {
            let ([a, b], fixed) = sum.parts();
            let (a, b, fixed) = (_mm256_set1_ps(a), _mm256_set1_ps(b), _mm256_set1_ps(fixed));
            let mut steps = [_mm256_setzero_si256(); 2];
            for i in 0..2 {
                let inner = _mm256_fmadd_ps(eight_codes(other.add(8 * i)), b, fixed);
                steps[i] = _mm256_cvtps_epi32(_mm256_fmadd_ps(eight_codes(codes.as_ptr().add(8 * i)), a, inner));
            }
            packed(_mm256_packs_epi32(steps[0], steps[1]))
        }
    }

    #[inline(always)]
    unsafe fn requantized(self, scale: *const f32, zero: u8) -> [u8; LANES] {
        unsafe { codes_of_steps(scaled(self.0, scale), zero) }
    }

    #[inline(always)]
    unsafe fn scaled(self, scale: *const f32) -> [f32; LANES] {
        unsafe { std::mem::transmute::<[__m256; 2], [f32; LANES]>(scaled(self.0, scale)) }
    }

    #[inline(always)]
    unsafe fn over_256(self, bias: *const i32) -> Self {
        unsafe {
            let bias = halves(bias.cast());
            let mut sums = self.0;
            for i in 0..2 {
                let rounded = _mm256_add_epi32(sums[i], _mm256_set1_epi32(128));
                sums[i] = _mm256_add_epi32(_mm256_srai_epi32::<8>(rounded), bias[i]);
            }
            Self(sums)
        }
    }

    #[inline(always)]
    unsafe fn load_floats(from: *const f32) -> [__m256; 2] {
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn mul_add(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn write_positive(self, to: *mut f32) {
        unsafe {
            for i in 0..2 {
                let sums = _mm256_max_epi32(self.0[i], _mm256_setzero_si256());
                _mm256_storeu_ps(to.add(8 * i), _mm256_cvtepi32_ps(sums));
            }
        }
    }

    #[inline(always)]
    unsafe fn write_steps<const C: usize>(steps: [[__m256; 2]; C], zero: u8, to: *mut u8, count: usize) {
        unsafe {
            let mut codes = [[0; LANES]; C];
            for v in 0..C {
                codes[v] = codes_of_steps(steps[v], zero);
            }
            copy_all(codes, to, count);
        }
    }

    #[inline(always)]
    unsafe fn write_wide_steps<const C: usize>(steps: [[__m256; 2]; C], to: [*mut u8; 2], count: usize) {
        unsafe {
            let (mut low, mut high) = ([[0; LANES]; C], [[0; LANES]; C]);
            for v in 0..C {
                let [a, b] = whole(steps[v], 0.0, 65535.0);
                let byte = _mm256_set1_epi32(255);
                low[v] = packed(_mm256_packus_epi32(
                    _mm256_and_si256(a, byte),
                    _mm256_and_si256(b, byte),
                ));
                high[v] = packed(_mm256_packus_epi32(
                    _mm256_srli_epi32::<8>(a),
                    _mm256_srli_epi32::<8>(b),
                ));
            }
            copy_all(low, to[0], count);
            copy_all(high, to[1], count);
        }
    }
}

/// As [`Sums::interleave`]. In 128 bits: of wider permutations compilers make more of them.
#[inline(always)]
unsafe fn interleaved(rows: [*const u8; TOGETHER], to: *mut u8) {
    unsafe {
        let (a, b) = (_mm_loadu_si128(rows[0].cast()), _mm_loadu_si128(rows[1].cast()));
        let (c, d) = (_mm_loadu_si128(rows[2].cast()), _mm_loadu_si128(rows[3].cast()));
        let (low, high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
        let (other_low, other_high) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
        let lanes = [
            _mm_unpacklo_epi16(low, other_low),
            _mm_unpackhi_epi16(low, other_low),
            _mm_unpacklo_epi16(high, other_high),
            _mm_unpackhi_epi16(high, other_high),
        ];
        for (i, four) in lanes.into_iter().enumerate() {
            _mm_storeu_si128(to.cast::<__m128i>().add(i), four);
        }
    }
}

/// The bytes nearest to sixteen 16-bit numbers that were packed by halves of registers: the permutation puts them in order.
#[inline(always)]
unsafe fn packed(words: __m256i) -> [u8; LANES] {
    unsafe {
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        std::mem::transmute::<__m128i, [u8; LANES]>(bytes)
    }
}

#[inline(always)]
unsafe fn halves(from: *const __m256i) -> [__m256i; 2] {
    unsafe { [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))] }
}

#[inline(always)]
unsafe fn scaled(sums: [__m256i; 2], scale: *const f32) -> [__m256; 2] {
    unsafe {
        [
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), _mm256_loadu_ps(scale)),
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), _mm256_loadu_ps(scale.add(8))),
        ]
    }
}

/// The whole numbers nearest to steps within bounds.
#[inline(always)]
unsafe fn whole(steps: [__m256; 2], least: f32, most: f32) -> [__m256i; 2] {
    unsafe {
        let (least, most) = (_mm256_set1_ps(least), _mm256_set1_ps(most));
        [
            _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(steps[0], least), most)),
            _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(steps[1], least), most)),
        ]
    }
}

/// The codes of steps above the zero point.
#[inline(always)]
unsafe fn codes_of_steps(steps: [__m256; 2], zero: u8) -> [u8; LANES] {
    unsafe {
        let [low, high] = whole(steps, -f32::from(zero), 255.0 - f32::from(zero));
        let zero = _mm256_set1_epi32(i32::from(zero));
        packed(_mm256_packus_epi32(
            _mm256_add_epi32(low, zero),
            _mm256_add_epi32(high, zero),
        ))
    }
}

/// Eight codes as numbers.
#[inline(always)]
unsafe fn eight_codes(at: *const u8) -> __m256 {
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()))) }
}
