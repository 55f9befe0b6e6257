//! Where the taps of an operation read its input, and how a derivative goes back that way.

use super::lattice::Lattice;
use super::program::{ConvMap, Op};

/// A position; axes that a program lacks stay 0.
pub(super) type At = [i64; 3];

/// The taps of the input that an operation reads: tap `i` of its output and `j` of its window read `from[i] + by[j]`.
#[derive(Debug)]
pub(super) struct Route {
    from: Vec<usize>,
    by: Vec<usize>,
    /// Whether these are the input's taps in their order, none left out.
    dense: bool,
}

impl Route {
    pub(super) fn new(from: Vec<usize>, by: Vec<usize>) -> Self {
        let counts = |list: &[usize]| list.iter().copied().eq(0..list.len());
        let dense = counts(&from) && counts(&by) && (from.len() == 1 || by.len() == 1);
        Self { from, by, dense }
    }

    /// The window alone.
    pub(super) fn window(taps: usize) -> Self {
        Self::new(vec![0], (0..taps).collect())
    }

    /// Adds to `target`, `[channel][tap]`, what `gradient`, `[tap]`, becomes through `weights`, `[channel][window]`.
    pub(super) fn spread<T>(&self, weights: &[T], get: impl Fn(&T) -> f64, gradient: &[f64], target: &mut [f64]) {
        let window = self.by.len();
        let taps = target.len() / (weights.len() / window).max(1);
        let dense = self.dense && taps == self.from.len() * window;
        match gradient {
            [g] if dense => target.iter_mut().zip(weights).for_each(|(t, w)| *t += g * get(w)),
            [g] if window == 1 => {
                let target = target[self.from[0]..].iter_mut().step_by(taps);
                target.zip(weights).for_each(|(t, w)| *t += g * get(w));
            }
            many if dense => {
                for (target, w) in target.chunks_exact_mut(taps).zip(weights) {
                    let w = get(w);
                    target.iter_mut().zip(many).for_each(|(t, g)| *t += g * w);
                }
            }
            many => {
                for (target, weights) in target.chunks_exact_mut(taps).zip(weights.chunks_exact(window)) {
                    for (from, g) in self.from.iter().zip(many) {
                        let target = &mut target[*from..];
                        let taps = self.by.iter().zip(weights);
                        taps.for_each(|(by, w)| target[*by] += g * get(w));
                    }
                }
            }
        }
    }
}

impl Op<'_> {
    /// Where tap `offset` of the output at `at` reads.
    pub(super) fn read(&self, at: At, offset: At) -> At {
        let mut to = at;
        match self {
            Self::Conv(ConvMap { window, .. }) | Self::Pool { window, .. } => {
                for axis in 0..window.kernel.len() {
                    to[axis] = at[axis] * window.strides[axis] as i64 + offset[axis] * window.dilations[axis] as i64
                        - window.begins[axis] as i64;
                }
            }
            Self::Pad { before, .. } => to.iter_mut().zip(before).for_each(|(t, b)| *t -= b),
            Self::Affine { .. } | Self::Sum { .. } => {}
        }
        to
    }
}

/// The number of the tap at `at`, row-major.
pub(super) fn tap(lattices: &[Lattice], at: At) -> usize {
    let axes = lattices.iter().zip(at);
    axes.fold(0, |n, (lattice, at)| n * lattice.count() + lattice.index(at))
}

/// All positions that these offsets along each axis make, row-major.
pub(super) fn grid(axes: impl Iterator<Item = Vec<i64>>) -> Vec<At> {
    let mut all = vec![[0i64; 3]];
    for (axis, offsets) in axes.enumerate() {
        let along = |at: At| {
            offsets.iter().map(move |offset| {
                let mut at = at;
                at[axis] = *offset;
                at
            })
        };
        all = all.into_iter().flat_map(along).collect();
    }
    all
}
