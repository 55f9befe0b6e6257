//! Which instruction sets this processor has, and how code over any [`Vector`] is entered for one of them.

use super::portable;
use super::register::Vector;
#[cfg(target_arch = "x86_64")]
use super::x86;

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
    pub(crate) fn emulated16() -> Self {
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
    pub(crate) fn panel(self, left: usize) -> usize {
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

/// Code over any [`Vector`]. `run` and all that it calls must be `#[inline(always)]`, so that it is compiled for the set.
pub(super) trait Work {
    /// # Safety
    /// Only [`dispatch`] calls it.
    unsafe fn run<V: Vector>(self);
}

pub(super) fn dispatch(isa: Isa, work: impl Work) {
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
