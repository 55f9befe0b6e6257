//! Tap positions along one axis: a finite arithmetic progression of input offsets.

/// The offsets `lo, lo + step, …, hi`; `step` is 0 where there is a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lattice {
    /// Smallest offset.
    pub(crate) lo: i64,
    /// Largest offset.
    pub(crate) hi: i64,
    /// Distance of neighbours; 0 for a single offset.
    pub(crate) step: i64,
}

impl Lattice {
    /// The single offset `at`.
    pub(crate) fn point(at: i64) -> Self {
        Self {
            lo: at,
            hi: at,
            step: 0,
        }
    }

    /// Number of offsets.
    pub(crate) fn count(&self) -> usize {
        if self.step == 0 {
            1
        } else {
            ((self.hi - self.lo) / self.step) as usize + 1
        }
    }

    /// The offset number `index`.
    pub(crate) fn at(&self, index: usize) -> i64 {
        self.lo + self.step * index as i64
    }

    /// The number of `offset`, which must be one of the lattice's.
    pub(crate) fn index(&self, offset: i64) -> usize {
        if self.step == 0 {
            0
        } else {
            ((offset - self.lo) / self.step) as usize
        }
    }

    /// The coarsest lattice that holds both.
    pub(crate) fn union(self, other: Self) -> Self {
        let lo = self.lo.min(other.lo);
        Self {
            lo,
            hi: self.hi.max(other.hi),
            step: gcd(gcd(self.step, other.step), gcd(self.lo - lo, other.lo - lo)),
        }
    }

    /// What a window of `kernel` taps, `dilation` apart, with `stride` and `pad` zeros in front, reads for these outputs.
    pub(crate) fn through(self, kernel: usize, stride: usize, dilation: usize, pad: i64) -> Self {
        let (stride, reach) = (stride as i64, dilation as i64 * (kernel as i64 - 1));
        Self {
            lo: stride * self.lo - pad,
            hi: stride * self.hi - pad + reach,
            step: gcd(stride * self.step, if kernel > 1 { dilation as i64 } else { 0 }),
        }
    }
}

/// The greatest common divisor; 0 only where both are 0.
pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}
