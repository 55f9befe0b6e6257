//! A register of floats, and what all loops over registers share: unchecked loads and stores, prefetching, groups of rows.

/// One register of floats and what the kernels do with it.
///
/// # Safety
/// Methods may only run inside [`super::isa::dispatch`], which has made sure that the processor has the instructions; `load` and `store` want
/// `LANES` valid floats at the pointer, in any alignment.
pub(super) unsafe trait Vector: Copy {
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

#[inline(always)]
pub(super) unsafe fn load<V: Vector>(from: &[f32], at: usize) -> V {
    debug_assert!(
        at + V::LANES <= from.len(),
        "load of {} at {at} of {}",
        V::LANES,
        from.len()
    );
    unsafe { V::load(from.as_ptr().add(at)) }
}

#[inline(always)]
pub(super) unsafe fn store<V: Vector>(to: &mut [f32], at: usize, value: V) {
    debug_assert!(
        at + V::LANES <= to.len(),
        "store of {} at {at} of {}",
        V::LANES,
        to.len()
    );
    unsafe { value.store(to.as_mut_ptr().add(at)) }
}

#[inline(always)]
pub(super) unsafe fn scalar<V: Vector>(from: &[f32], at: usize) -> V {
    debug_assert!(at < from.len(), "read at {at} of {}", from.len());
    unsafe { V::splat(*from.as_ptr().add(at)) }
}

/// Floats of a cache line.
pub(super) const LINE: usize = 16;
/// Prefetch into the first-level cache.
pub(super) const NEAR: bool = true;
/// Prefetch into the second-level cache.
pub(super) const FAR: bool = false;

/// Asks for the cache line at `from[at]`, which need not exist.
#[inline(always)]
pub(super) fn prefetch<const LEVEL: bool>(from: &[f32], at: usize) {
    prefetch_line::<LEVEL>(from.as_ptr().wrapping_add(at));
}

#[inline(always)]
pub(super) fn prefetch_line<const LEVEL: bool>(at: *const f32) {
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

/// Whether `count` elements from `first` on are among `all`.
#[inline(always)]
pub(super) fn within(first: usize, count: usize, all: usize) -> bool {
    first.checked_add(count).is_some_and(|end| end <= all)
}

/// How many of `left` rows to take next, so that groups of at most `most` are as few as possible and nearly equal.
#[inline(always)]
pub(super) fn balanced(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

/// As [`balanced`], without a division but for the last two groups: only these are nearly equal.
#[inline(always)]
pub(super) fn balanced_at_end(left: usize, most: usize) -> usize {
    if left >= 2 * most {
        most
    } else if left > most {
        left.div_ceil(2)
    } else {
        left
    }
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
pub(super) use with_rows;
