//! Depthwise convolution of 8-bit quantized values: each output channel reads one input channel.
//!
//! One instruction adds up four products of a lane. Here these are four rows of a column, so that rows that overlap are brought into order
//! once for all output rows that read them: first each column's rows are interleaved, four to a group, then each output row sums
//! groups by weights that stand at its own rows and are zero at the others.

use std::num::Saturating;

use super::int8::{Int8Isa, Int8Work, dispatch};
use super::register::{balanced_at_end, with_rows};
use super::sums::{Int8Output, LANES, PanelRows, Sums, TOGETHER, VECTORS};

/// Bytes of a column's group of rows: [`TOGETHER`] rows of [`LANES`] channels.
pub(crate) const GROUP: usize = LANES * TOGETHER;
/// Output columns whose groups are made before they are read, by the vectors of a panel: a part of a first-level cache.
const BLOCK: usize = 96;

/// Output rows that are computed together, and the groups of input rows that they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowGroups {
    pub(crate) rows: usize,
    pub(crate) groups: usize,
}

impl RowGroups {
    /// As many output rows as the groups of the first one's input rows serve.
    pub(crate) fn of(kernel_rows: usize, stride: usize) -> Self {
        let groups = kernel_rows.div_ceil(TOGETHER);
        Self {
            rows: (groups * TOGETHER - kernel_rows) / stride + 1,
            groups,
        }
    }

    /// Weights of a vector of channels, for a kernel of `columns` columns: `[rows][groups][columns][LANES][TOGETHER]`;
    /// `usize::MAX` where there are more than can be counted.
    pub(crate) fn weights(self, columns: usize) -> usize {
        [self.groups, columns, GROUP]
            .into_iter()
            .fold(self.rows, usize::saturating_mul)
    }
}

/// A panel of a depthwise convolution: one vector of channels, or up to [`VECTORS`] that share their channels ([`Sums::SPREAD`]).
pub(crate) struct Int8Channels<'a, T> {
    /// Its weights are as [`RowGroups::weights`] says, for each tap those of all vectors.
    pub(crate) panel: PanelRows<'a, T>,
    /// Where the panel's channels stand in a pixel of its input.
    pub(crate) channel: usize,
    /// Work space, `[groups][padded width][vectors][GROUP]`.
    pub(crate) columns: &'a mut [u8],
}

/// Columns of padded input that a row of `width` outputs reads; saturating.
fn columns(width: usize, kernel: usize, stride: usize) -> Saturating<usize> {
    (Saturating(width) - Saturating(1)) * Saturating(stride) + Saturating(kernel)
}

/// Computes an [`Int8Channels`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_channels<T: Int8Output>(isa: Int8Isa, work: Int8Channels<'_, T>) {
    if work.panel.is_empty() {
        return;
    }
    let vectors = if work.panel.vectors() > 1 {
        isa.panel_depthwise()
    } else {
        1
    };
    assert!(work.fits(vectors), "a slice is too short for the band");
    dispatch(isa, work);
}

impl<T> Int8Channels<'_, T> {
    /// Whether the slices hold all that is read and written, of at least one row, column and channel.
    pub(super) fn fits(&self, vectors: usize) -> bool {
        let (count, panel) = (Saturating::<usize>, &self.panel);
        let ([kh, kw], [sh, sw]) = (panel.kernel, panel.strides);
        if panel.kernel.contains(&0) || panel.strides.contains(&0) {
            return false;
        }
        let groups = RowGroups::of(kh, sh);
        let read = columns(panel.out_size.1, kw, sw);
        let last_row = (count(panel.rows.1) - count(1)) * count(sh) + count(kh) - count(1);
        let last_column = (read - count(1)) * count(panel.input_pixel);
        let input = last_row * count(panel.input_row) + last_column + count(self.channel) + count(vectors * LANES);
        panel.fits(vectors)
            && input.0 <= panel.input.len()
            && (read * count(groups.groups) * count(vectors * GROUP)).0 <= self.columns.len()
            && (count(groups.weights(kw)) * count(vectors)).0 <= panel.weights.len()
    }
}

impl<T: Int8Output> Int8Work for Int8Channels<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Sums>(mut self) {
        // SAFETY: `rows_of_channels` has checked the extents for as many vectors.
        unsafe {
            if S::SPREAD && self.panel.vectors() > 1 {
                self.groups::<S, VECTORS>();
            } else {
                self.groups::<S, 1>();
            }
        }
    }
}

impl<T: Int8Output> Int8Channels<'_, T> {
    /// All rows, group by group, of `C` vectors.
    #[inline(always)]
    unsafe fn groups<S: Sums, const C: usize>(&mut self) {
        let groups = RowGroups::of(self.panel.kernel[0], self.panel.strides[0]);
        let width = self.panel.out_size.1;
        for first in (0..self.panel.rows.1).step_by(groups.rows) {
            let mut left = 0;
            while left < width {
                let block = balanced_at_end(width - left, BLOCK / C);
                let rows = groups.rows.min(self.panel.rows.1 - first);
                // SAFETY: the caller's; `first + row < rows` and `x + columns <= width`.
                unsafe {
                    self.interleave::<S, C>(first, left, block, groups);
                    for row in 0..rows {
                        let mut x = 0;
                        while x < block {
                            let columns = balanced_at_end(block - x, S::ROWS[C - 1]);
                            if C == 1 {
                                with_rows!(S, 1, columns, |R| self.pixels::<S, R, C>(
                                    [first, row],
                                    [left, x],
                                    groups
                                ));
                            } else {
                                with_rows!(S, 4, columns, |R| self.pixels::<S, R, C>(
                                    [first, row],
                                    [left, x],
                                    groups
                                ));
                            }
                            x += columns;
                        }
                    }
                }
                left += block;
            }
        }
    }

    /// Brings the columns that a block of outputs from `left` on reads of the input rows of the output rows from `first` on into groups. Beyond the
    /// last row stands that row again, whose weights are zero there.
    #[inline(always)]
    unsafe fn interleave<S: Sums, const C: usize>(
        &mut self,
        first: usize,
        left: usize,
        block: usize,
        groups: RowGroups,
    ) {
        let panel = &self.panel;
        let last = (panel.rows.1 - 1) * panel.strides[0] + panel.kernel[0] - 1;
        let read = columns(block, panel.kernel[1], panel.strides[1]).0;
        for group in 0..groups.groups {
            let top = first * panel.strides[0] + group * TOGETHER;
            let corner = left * panel.strides[1] * panel.input_pixel + self.channel;
            let rows: [usize; TOGETHER] = std::array::from_fn(|i| (top + i).min(last) * panel.input_row + corner);
            for column in 0..read {
                let at = column * panel.input_pixel;
                debug_assert!(rows[TOGETHER - 1] + at + C * LANES <= panel.input.len());
                debug_assert!((group * read + column + 1) * C * GROUP <= self.columns.len());
                unsafe {
                    let from = rows.map(|row| panel.input.as_ptr().add(row + at));
                    let to = self.columns.as_mut_ptr().add((group * read + column) * C * GROUP);
                    if C == 1 {
                        S::interleave(from, to);
                    } else {
                        S::interleave_panel(from, to);
                    }
                }
            }
        }
    }

    /// `R` neighbouring pixels of the output row `first + row`, from column `x` of the block at `left` on.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const R: usize, const C: usize>(
        &self,
        [first, row]: [usize; 2],
        [left, x]: [usize; 2],
        groups: RowGroups,
    ) {
        unsafe {
            let panel = &self.panel;
            let mut sums = panel.biases::<S, R, C>();
            let step = panel.strides[1] * C * GROUP;
            let read = columns(
                balanced_at_end(panel.out_size.1 - left, BLOCK / C),
                panel.kernel[1],
                panel.strides[1],
            )
            .0;
            let mut weights = row * groups.groups * panel.kernel[1] * C * GROUP;
            for group in 0..groups.groups {
                let corner = group * read * C * GROUP + x * step;
                for kx in 0..panel.kernel[1] {
                    let tap = self.columns.as_ptr().add(corner + kx * C * GROUP);
                    for v in 0..C {
                        debug_assert!(weights + GROUP <= panel.weights.len());
                        let w = S::weights(panel.weights.as_ptr().add(weights));
                        weights += GROUP;
                        for r in 0..R {
                            debug_assert!(corner + (kx * C + v) * GROUP + r * step + GROUP <= self.columns.len());
                            sums[r][v] = sums[r][v].dot_each(tap.add(v * GROUP + r * step), w);
                        }
                    }
                }
            }
            panel.write(first + row, left + x, sums);
        }
    }
}
