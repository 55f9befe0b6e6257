//! The products of Winograd's algorithm: for each point of the transform a small matrix product, tiles by channels.

use std::num::Saturating;
use std::ops::Range;

use super::isa::{Isa, Work, dispatch};
use super::register::{FAR, LINE, NEAR, Vector, balanced, load, prefetch, scalar, store, with_rows};

/// One product a point `M[p][t][o] = Σ_k V[p][t][k] U[p][k][o]` of one panel.
pub(crate) struct Products<'a> {
    /// `V`: point `p`, tile `t`, channel `k` at `p·input_plane + t·input_row + k`.
    pub(crate) input: &'a [f32],
    pub(crate) input_plane: usize,
    pub(crate) input_row: usize,
    /// `U` of the panel: `[points][depth][vectors · LANES]`.
    pub(crate) weights: &'a [f32],
    /// `M`: point `p`, tile `t` at `p·output_plane + t·vectors·LANES`.
    pub(crate) output: &'a mut [f32],
    pub(crate) output_plane: usize,
    /// The tiles that have each point: only these rows of `V` are read and of `M` written.
    pub(crate) spans: &'a [Range<usize>],
    pub(crate) tiles: usize,
    /// Input channels of the panel's group.
    pub(crate) depth: usize,
    /// Vectors of output channels, 1 to 3.
    pub(crate) vectors: usize,
}

/// Computes [`Products`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn products(isa: Isa, work: Products<'_>) {
    if work.spans.is_empty() || work.tiles == 0 {
        return;
    }
    assert!(work.fits(isa.lanes()), "a slice is too short for the products");
    dispatch(isa, work);
}

impl Products<'_> {
    /// Whether the slices hold all that is read and written, of at least one point and one tile.
    pub(super) fn fits(&self, lanes: usize) -> bool {
        let count = Saturating::<usize>;
        let (points, tiles, depth) = (count(self.spans.len()), count(self.tiles), count(self.depth));
        let width = count(self.vectors) * count(lanes);
        let (last_point, last_tile) = (points - count(1), tiles - count(1));
        let input = last_point * count(self.input_plane) + last_tile * count(self.input_row) + depth;
        let output = last_point * count(self.output_plane) + tiles * width;
        (1..=3).contains(&self.vectors)
            && self.spans.iter().all(|span| span.end <= self.tiles)
            && input.0 <= self.input.len()
            && (points * depth * width).0 <= self.weights.len()
            && output.0 <= self.output.len()
    }
}

impl Work for Products<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let width = self.vectors * V::LANES;
        for (point, span) in self.spans.iter().enumerate() {
            let a = &self.input[point * self.input_plane..];
            let b = &self.weights[point * self.depth * width..][..self.depth * width];
            let c = &mut self.output[point * self.output_plane..];
            // While this point's weights are used, the next one's come in, a share with every group of tiles.
            let groups = span.len().max(1).div_ceil(V::ROWS[self.vectors - 1]);
            let mut next = Next {
                at: b.len(),
                step: width / groups.min(width),
            };
            let mut first = span.start;
            while first < span.end {
                let rows = balanced(span.end - first, V::ROWS[self.vectors - 1]);
                let (a, c) = (&a[first * self.input_row..], &mut c[first * width..]);
                // SAFETY: `products` has checked the extents; `first + rows <= span.end`.
                unsafe {
                    match self.vectors {
                        1 => with_rows!(V, 1, rows, |R| block::<V, R, 1>(
                            a,
                            self.input_row,
                            b,
                            self.depth,
                            c,
                            next
                        )),
                        2 => with_rows!(V, 2, rows, |R| block::<V, R, 2>(
                            a,
                            self.input_row,
                            b,
                            self.depth,
                            c,
                            next
                        )),
                        _ => with_rows!(V, 3, rows, |R| block::<V, R, 3>(
                            a,
                            self.input_row,
                            b,
                            self.depth,
                            c,
                            next
                        )),
                    }
                }
                first += rows;
                next.at += next.step * self.depth;
            }
        }
    }
}

/// Weights to prefetch: where to start, and how far to go with every channel.
#[derive(Clone, Copy)]
struct Next {
    at: usize,
    step: usize,
}

/// `R` rows of `C` vectors: all of them stay in registers while `k` runs.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize, const C: usize>(
    a: &[f32],
    row: usize,
    b: &[f32],
    depth: usize,
    c: &mut [f32],
    next: Next,
) {
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        let mut start = 0;
        while start < depth {
            let end = depth.min(start + LINE);
            // The sums wait for every line of a row that is not yet near: those of the next channels, then of the next rows, come early.
            let ahead = if end < depth { end } else { R * row };
            for r in 0..R {
                prefetch::<NEAR>(a, r * row + ahead);
            }
            for k in start..end {
                // A step is at most the panel's three vectors: three lines.
                let at = next.at + k * next.step;
                prefetch::<FAR>(b, at);
                if next.step > LINE {
                    prefetch::<FAR>(b, at + LINE);
                }
                if next.step > 2 * LINE {
                    prefetch::<FAR>(b, at + 2 * LINE);
                }
                let mut weights = [V::splat(0.0); C];
                for v in 0..C {
                    weights[v] = load(b, (k * C + v) * V::LANES);
                }
                for r in 0..R {
                    let x = scalar::<V>(a, r * row + k);
                    for v in 0..C {
                        sums[r][v] = x.mul_add(weights[v], sums[r][v]);
                    }
                }
            }
            start = end;
        }
        for r in 0..R {
            for v in 0..C {
                store(c, (r * C + v) * V::LANES, sums[r][v]);
            }
        }
    }
}
