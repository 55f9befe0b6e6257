//! Depthwise convolution of 8-bit quantized values: each output channel reads one input channel.
//!
//! One instruction adds up four products of a lane. Here these are four rows of a column, so that rows that overlap are brought into order
//! once for all output rows that read them: first each column's rows are interleaved, four to a group, then each output row sums
//! groups by weights that stand at its own rows and are zero at the others.

use std::num::Saturating;
use std::ops::Range;

use super::buffer::SharedOutput;
use super::int8::{Int8Isa, Int8Work, dispatch};
use super::register::{balanced, with_rows, within};
use super::sums::{Finish, Int8Output, LANES, Residual, Sums, TOGETHER};

/// Bytes of a column's group of rows: [`TOGETHER`] rows of [`LANES`] channels.
pub(crate) const GROUP: usize = LANES * TOGETHER;

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

/// Rows of output of one image for one vector of channels, and the padded input that they read.
pub(crate) struct Int8Channels<'a, T> {
    /// `[(rows − 1)·stride + kh][padded width][channels]`.
    pub(crate) input: &'a [u8],
    /// Bytes between two rows, and between two pixels, of `input`.
    pub(crate) input_row: usize,
    pub(crate) input_pixel: usize,
    /// Where the vector's channels stand in a pixel of `input`.
    pub(crate) channel: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// As [`RowGroups::weights`] says.
    pub(crate) weights: &'a [i8],
    /// For each channel of the vector what its sum starts with, and its scale, [`LANES`] of each.
    pub(crate) bias: &'a [i32],
    pub(crate) scale: &'a [f32],
    /// The zero point of an output of quantized values.
    pub(crate) zero: u8,
    /// What is added to the quantized output.
    pub(crate) residual: Option<Residual<'a>>,
    /// Work space, `[groups][padded width][GROUP]`.
    pub(crate) columns: &'a mut [u8],
    /// `[images, H, W, out_channels]`.
    pub(crate) output: SharedOutput<'a, T>,
    pub(crate) out_channels: usize,
    /// The channels, at most [`LANES`].
    pub(crate) out: Range<usize>,
    pub(crate) image: usize,
    /// First output row and how many.
    pub(crate) rows: (usize, usize),
    /// Output rows and columns of the layer.
    pub(crate) out_size: (usize, usize),
}

/// Columns of padded input that a row of `width` outputs reads; saturating.
fn columns(width: usize, kernel: usize, stride: usize) -> Saturating<usize> {
    (Saturating(width) - Saturating(1)) * Saturating(stride) + Saturating(kernel)
}

/// Computes a [`Int8Channels`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_channels<T: Int8Output>(isa: Int8Isa, work: Int8Channels<'_, T>) {
    if work.rows.1 == 0 || work.out_size.1 == 0 || work.out.is_empty() {
        return;
    }
    assert!(work.fits(), "a slice is too short for the band");
    dispatch(isa, work);
}

impl<T> Int8Channels<'_, T> {
    /// Whether the slices hold all that is read and written, of at least one row, column and channel.
    pub(super) fn fits(&self) -> bool {
        let count = Saturating::<usize>;
        let ((first, rows), (height, width)) = (self.rows, self.out_size);
        let ([kh, kw], [sh, sw]) = (self.kernel, self.strides);
        let whole = self.out.len() <= LANES
            && self.out.end <= self.out_channels
            && within(first, rows, height)
            && !self.kernel.contains(&0)
            && !self.strides.contains(&0);
        if !whole {
            return false;
        }
        let groups = RowGroups::of(kh, sh);
        let read = columns(width, kw, sw);
        let last_row = (count(rows) - count(1)) * count(sh) + count(kh) - count(1);
        let last_column = (read - count(1)) * count(self.input_pixel);
        let input = last_row * count(self.input_row) + last_column + count(self.channel) + count(LANES);
        let numbers = (count(self.image) + count(1)) * count(height) * count(width) * count(self.out_channels);
        input.0 <= self.input.len()
            && (read * count(groups.groups) * count(GROUP)).0 <= self.columns.len()
            && groups.weights(kw) <= self.weights.len()
            && LANES <= self.bias.len()
            && LANES <= self.scale.len()
            && self.residual.is_none_or(|residual| numbers.0 <= residual.codes.len())
            && numbers.0 <= self.output.len()
    }
}

impl<T: Int8Output> Int8Work for Int8Channels<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Sums>(mut self) {
        let groups = RowGroups::of(self.kernel[0], self.strides[0]);
        let width = self.out_size.1;
        for first in (0..self.rows.1).step_by(groups.rows) {
            // SAFETY: `rows_of_channels` has checked the extents; `first + row < rows` and `x + columns <= width`.
            unsafe {
                self.interleave::<S>(first, groups);
                for row in 0..groups.rows.min(self.rows.1 - first) {
                    let mut x = 0;
                    while x < width {
                        let columns = balanced(width - x, S::ROWS[0]);
                        with_rows!(S, 1, columns, |R| self.pixels::<S, R>([first, row], x, groups));
                        x += columns;
                    }
                }
            }
        }
    }
}

impl<T: Int8Output> Int8Channels<'_, T> {
    fn read_columns(&self) -> usize {
        columns(self.out_size.1, self.kernel[1], self.strides[1]).0
    }

    /// Brings the input rows that the output rows from `first` on read into groups. Beyond the last row stands that row again, whose
    /// weights are zero there.
    #[inline(always)]
    unsafe fn interleave<S: Sums>(&mut self, first: usize, groups: RowGroups) {
        let last = (self.rows.1 - 1) * self.strides[0] + self.kernel[0] - 1;
        let read = self.read_columns();
        for group in 0..groups.groups {
            let top = first * self.strides[0] + group * TOGETHER;
            let rows: [usize; TOGETHER] = std::array::from_fn(|i| (top + i).min(last) * self.input_row + self.channel);
            for column in 0..read {
                let at = column * self.input_pixel;
                debug_assert!(rows[TOGETHER - 1] + at + LANES <= self.input.len());
                debug_assert!((group * read + column + 1) * GROUP <= self.columns.len());
                unsafe {
                    let from = rows.map(|row| self.input.as_ptr().add(row + at));
                    S::interleave(from, self.columns.as_mut_ptr().add((group * read + column) * GROUP));
                }
            }
        }
    }

    /// `R` neighbouring pixels of the output row `first + row`.
    #[inline(always)]
    unsafe fn pixels<S: Sums, const R: usize>(&self, [first, row]: [usize; 2], x: usize, groups: RowGroups) {
        unsafe {
            let mut sums = [S::load(self.bias.as_ptr()); R];
            let step = self.strides[1] * GROUP;
            let read = self.read_columns();
            let mut weights = row * groups.groups * self.kernel[1] * GROUP;
            for group in 0..groups.groups {
                let corner = (group * read + x * self.strides[1]) * GROUP;
                for kx in 0..self.kernel[1] {
                    debug_assert!(weights + GROUP <= self.weights.len());
                    let w = S::weights(self.weights.as_ptr().add(weights));
                    weights += GROUP;
                    let tap = self.columns.as_ptr().add(corner + kx * GROUP);
                    for r in 0..R {
                        debug_assert!(corner + kx * GROUP + r * step + GROUP <= self.columns.len());
                        sums[r] = sums[r].dot_each(tap.add(r * step), w);
                    }
                }
            }
            let (height, width) = self.out_size;
            let pixel = (self.image * height + self.rows.0 + first + row) * width + x;
            let finish = Finish {
                scale: self.scale.as_ptr(),
                zero: self.zero,
                residual: self.residual,
                output: self.output,
                at: pixel * self.out_channels + self.out.start,
                step: self.out_channels,
                count: self.out.len(),
            };
            finish.write(sums);
        }
    }
}
