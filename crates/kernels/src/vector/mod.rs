//! The loops that touch vector registers, and all `unsafe` of the kernels.
//!
//! # Contract
//!
//! - Every function here that other modules call is safe: it checks, before it starts, that its slices hold what its geometry
//!   reads and writes. It counts with [`std::num::Saturating`]: what is more than can be counted is `usize::MAX`, which is no slice's
//!   length, and whatever is computed inside is smaller than what was counted. Inside, [`load`], [`store`] and [`scalar`] index without a check in release and with one in debug.
//! - [`SharedOutput`] lets the tasks of one layer write one slice. A task writes only the points of its own tiles, or the
//!   pixels of its own tiles or rows and the channel blocks of its own panels; callers give no two tasks the same pair.
//! - [`dispatch`] enters code for an instruction set only when an [`Isa`] of that set exists, and [`Isa::available`] makes one only on a
//!   processor that has it; so do `codes` and [`CodeIsa::detect`].
//! - The generic code is written once over [`Vector`]. What differs between sets is the width and how many accumulators fit
//!   ([`Vector::ROWS`]), so tests of one set, and of the emulated 16-lane one, check the code of all.
#![allow(unsafe_code)]
// Arrays of registers are indexed by constants, often two at once; iterators hide which register is meant.
#![allow(clippy::needless_range_loop)]

mod buffer;
mod codes;
#[cfg(test)]
mod extent_tests;
mod gemm;
mod grid;
mod pixels;
mod portable;
mod tiles;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_codes;

pub(super) use buffer::{Buffer, Plain, SharedOutput};
pub use codes::CodeIsa;
pub(super) use codes::{Answer, CodeBand, LANES as CODE_LANES, TOGETHER as CODES_TOGETHER, rows_of_codes};
pub(super) use gemm::{Products, products};
pub(super) use grid::TileGrid;
pub(super) use pixels::{Band, rows_of_pixels};
pub(super) use tiles::{OutputTiles, input_tiles, output_tiles};

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Set {
    Portable,
    /// The shape of AVX-512 (16 lanes, 32 registers) in portable code: checks that shape on any processor.
    #[cfg(test)]
    Emulated16,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The widest set that this processor has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::portable())
    }

    /// The set that every processor has: plain code that the compiler vectorizes (SSE2 on x86-64, NEON on aarch64).
    pub fn portable() -> Self {
        Self(Set::Portable)
    }

    /// Every set that this processor has, narrowest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self(Set::Avx2));
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                sets.push(Self(Set::Avx512));
            }
        }
        sets
    }

    #[cfg(test)]
    pub(super) fn emulated16() -> Self {
        Self(Set::Emulated16)
    }

    /// Channels in a block: floats in a vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            Set::Portable => portable::Lanes8::LANES,
            #[cfg(test)]
            Set::Emulated16 => portable::Lanes16::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => x86::Avx512::LANES,
        }
    }

    /// How many of `left` vectors of output channels to compute together next: the count that keeps most accumulators in
    /// registers, without leaving a lone vector where a panel of three avoids it.
    pub(super) fn panel(self, left: usize) -> usize {
        let rows = self.rows();
        let best = (1..=3).max_by_key(|&vectors| vectors * rows[vectors - 1]).unwrap_or(1);
        match best {
            3 if left.is_multiple_of(3) || left > 4 => 3,
            2 if left == 3 && rows[2] > 0 => 3,
            _ => left.min(2),
        }
    }

    fn rows(self) -> [usize; 3] {
        match self.0 {
            Set::Portable => portable::Lanes8::ROWS,
            #[cfg(test)]
            Set::Emulated16 => portable::Lanes16::ROWS,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => x86::Avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => x86::Avx512::ROWS,
        }
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(test)]
            Set::Emulated16 => "emulated16",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }
}

/// One register of floats and what the kernels do with it.
///
/// # Safety
/// Methods may only run inside [`dispatch`], which has made sure that the processor has the instructions; `load` and `store` want
/// `LANES` valid floats at the pointer, in any alignment.
unsafe trait Vector: Copy {
    /// Floats in the register.
    const LANES: usize;
    /// For panels of 1, 2 and 3 vectors: rows whose accumulators fit the register file beside the operands, and whose addresses
    /// fit the general registers; 0 where a panel of that width is not worth it.
    const ROWS: [usize; 3];

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the set has FMA.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `max(self, 0)`; a NaN stays one.
    unsafe fn relu(self) -> Self;
}

/// Code over any [`Vector`]. `run` and all that it calls must be `#[inline(always)]`, so that it is compiled for the set.
trait Work {
    /// # Safety
    /// Only [`dispatch`] calls it.
    unsafe fn run<V: Vector>(self);
}

fn dispatch(isa: Isa, work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(work: impl Work) {
        unsafe { work.run::<x86::Avx2>() }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn avx512(work: impl Work) {
        unsafe { work.run::<x86::Avx512>() }
    }
    // SAFETY: an `Isa` exists only on a processor that has the set.
    unsafe {
        match isa.0 {
            Set::Portable => work.run::<portable::Lanes8>(),
            #[cfg(test)]
            Set::Emulated16 => work.run::<portable::Lanes16>(),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => avx2(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => avx512(work),
        }
    }
}

#[inline(always)]
unsafe fn load<V: Vector>(from: &[f32], at: usize) -> V {
    debug_assert!(
        at + V::LANES <= from.len(),
        "load of {} at {at} of {}",
        V::LANES,
        from.len()
    );
    unsafe { V::load(from.as_ptr().add(at)) }
}

#[inline(always)]
unsafe fn store<V: Vector>(to: &mut [f32], at: usize, value: V) {
    debug_assert!(
        at + V::LANES <= to.len(),
        "store of {} at {at} of {}",
        V::LANES,
        to.len()
    );
    unsafe { value.store(to.as_mut_ptr().add(at)) }
}

#[inline(always)]
unsafe fn scalar<V: Vector>(from: &[f32], at: usize) -> V {
    debug_assert!(at < from.len(), "read at {at} of {}", from.len());
    unsafe { V::splat(*from.as_ptr().add(at)) }
}

/// Floats of a cache line.
const LINE: usize = 16;
/// Prefetch into the first-level cache.
const NEAR: bool = true;
/// Prefetch into the second-level cache.
const FAR: bool = false;

/// Asks for the cache line at `from[at]`, which need not exist.
#[inline(always)]
fn prefetch<const LEVEL: bool>(from: &[f32], at: usize) {
    prefetch_line::<LEVEL>(from.as_ptr().wrapping_add(at));
}

#[inline(always)]
fn prefetch_line<const LEVEL: bool>(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match LEVEL {
            NEAR => _mm_prefetch::<_MM_HINT_T0>(at.cast()),
            FAR => _mm_prefetch::<_MM_HINT_T1>(at.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Whether `count` things from `first` on are among `all`.
#[inline(always)]
fn within(first: usize, count: usize, all: usize) -> bool {
    first.checked_add(count).is_some_and(|end| end <= all)
}

/// How many of `left` rows to take next, so that groups of at most `most` are as few as possible and nearly equal.
#[inline(always)]
fn balanced(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

/// Calls `$call` with `$rows` as a constant, for panels of `$vectors` vectors (a constant too).
macro_rules! with_rows {
    ($set:ty, $vectors:literal, $rows:expr, |$n:ident| $call:expr) => {
        with_rows!(@ $set, $vectors, $rows, $n, $call, 10 9 8 7 6 5 4 3 2)
    };
    (@ $set:ty, $vectors:literal, $rows:expr, $n:ident, $call:expr, $($count:literal)*) => {
        match $rows {
            $($count if const { <$set>::ROWS[$vectors - 1] >= $count } => { const $n: usize = $count; $call })*
            _ => { const $n: usize = 1; $call }
        }
    };
}
use with_rows;
