//! Bands: some output rows of an image over a padded copy of the input rows that they read, small enough to stay near the core.

use super::geometry::{self, Convolution, KernelError};

/// Bytes of padded input that a band may take: part of a second-level cache, beside a panel's weights.
const BYTES: usize = 192 << 10;

/// Whether the smallest band, one output row of `width` columns over padded input pixels of `pixel_bytes`, can be addressed; so can then
/// every other band.
///
/// # Errors
/// Where it cannot.
pub(super) fn addressable(conv: &Convolution, width: usize, pixel_bytes: usize) -> Result<(), KernelError> {
    let pixels = geometry::product([conv.kernel[0], columns(conv, width)]);
    geometry::addressable(pixels, pixel_bytes).map(|_| ())
}

/// Columns of the padded copy for outputs that are `width` wide: no more than the padded input has.
pub(super) fn columns(conv: &Convolution, width: usize) -> usize {
    (width - 1) * conv.strides[1] + conv.kernel[1]
}

/// Output rows of a band, at least one and at most `height`, where a padded input row takes `row_bytes`.
pub(super) fn rows_max(conv: &Convolution, row_bytes: usize, height: usize) -> usize {
    let input_rows = (BYTES / row_bytes).max(conv.kernel[0]);
    ((input_rows - conv.kernel[0]) / conv.strides[0] + 1).min(height)
}

/// How a padded row lies in memory.
#[derive(Clone, Copy)]
pub(super) struct PaddedRow {
    /// Columns, and values of a column.
    pub(super) columns: usize,
    pub(super) pixel: usize,
    /// Values of a column in the input; those that only pad a pixel stay as they are.
    pub(super) channels: usize,
    /// Columns before the input's first.
    pub(super) left: usize,
}

impl PaddedRow {
    /// Fills `row` with the input row `source` and `zero` around it, or with `zero` alone; the input's columns that no output reads
    /// are left out.
    pub(super) fn fill<T: Copy>(self, row: &mut [T], source: Option<&[T]>, zero: T) {
        let Some(source) = source else {
            row.fill(zero);
            return;
        };
        let left = self.left.min(self.columns);
        let real = (source.len() / self.channels).min(self.columns - left);
        let source = &source[..real * self.channels];
        row[..left * self.pixel].fill(zero);
        let inside = &mut row[left * self.pixel..(left + real) * self.pixel];
        if self.pixel == self.channels {
            inside.copy_from_slice(source);
        } else if (self.channels, self.pixel) == (3, 4) {
            // A network's first layer; with counts that are known, a pixel is no call.
            for (to, from) in inside.as_chunks_mut::<4>().0.iter_mut().zip(source.as_chunks::<3>().0) {
                to[..3].copy_from_slice(from);
            }
        } else {
            let pixels = inside.chunks_exact_mut(self.pixel);
            for (to, from) in pixels.zip(source.chunks_exact(self.channels)) {
                to[..self.channels].copy_from_slice(from);
            }
        }
        row[(left + real) * self.pixel..].fill(zero);
    }
}

/// The input row that a padded row is a copy of; `None` where it only pads.
pub(super) fn input_row(conv: &Convolution, padded: usize, height: usize) -> Option<usize> {
    padded.checked_sub(conv.pads[0]).filter(|y| *y < height)
}
