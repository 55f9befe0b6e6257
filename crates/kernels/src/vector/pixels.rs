//! The direct sum over a padded copy of some input rows.

use std::num::Saturating;

use super::buffer::SharedOutput;
use super::isa::{Isa, Work, dispatch};
use super::register::{FAR, LINE, Vector, balanced, load, prefetch, scalar, with_rows, within};

/// Rows of output of one image, and the zero-padded input that they read.
pub(crate) struct Band<'a> {
    /// `[blocks][(rows − 1)·stride + kh][padded width][lanes]`.
    pub(crate) input: &'a [f32],
    /// Floats between two channel blocks of `input`.
    pub(crate) input_block: usize,
    /// Floats between two rows of `input`.
    pub(crate) input_row: usize,
    /// Channels in a block of the input: the vector width, or 1 for NCHW.
    pub(crate) input_lanes: usize,
    /// First channel of the panel's group, a multiple of `input_lanes`, and the channels of a group.
    pub(crate) channels: (usize, usize),
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// The panel's weights: `[depth / input_lanes][kh][kw][input_lanes][vectors · LANES]`, the last block without padding.
    pub(crate) weights: &'a [f32],
    /// Which of how many bands that use these weights one after the other: each prefetches its part of the next panel's.
    pub(crate) turn: (usize, usize),
    /// One value a padded output channel.
    pub(crate) bias: &'a [f32],
    /// Blocked, as the output.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) relu: bool,
    pub(crate) output: SharedOutput<'a>,
    /// First block of output channels and how many; blocks of the whole layer.
    pub(crate) block: usize,
    pub(crate) vectors: usize,
    pub(crate) blocks: usize,
    pub(crate) image: usize,
    /// First output row and how many.
    pub(crate) rows: (usize, usize),
    /// Output rows and columns of the layer.
    pub(crate) out_size: (usize, usize),
}

/// Computes one panel of a [`Band`].
///
/// # Panics
/// When a slice is too short for the geometry.
pub(crate) fn rows_of_pixels(isa: Isa, work: Band<'_>) {
    if work.rows.1 == 0 || work.out_size.1 == 0 || work.channels.1 == 0 {
        return;
    }
    assert!(work.fits(isa.lanes()), "a slice is too short for the band");
    dispatch(isa, work);
}

impl Band<'_> {
    /// Whether the slices hold all that is read and written, of at least one row, column and channel.
    pub(super) fn fits(&self, lanes: usize) -> bool {
        let count = Saturating::<usize>;
        let ((first, rows), (height, width)) = (self.rows, self.out_size);
        let ([kh, kw], [sh, sw]) = (self.kernel.map(count), self.strides.map(count));
        let whole = (1..=3).contains(&self.vectors)
            && within(self.block, self.vectors, self.blocks)
            && within(first, rows, height)
            && !self.kernel.contains(&0)
            && (1..=lanes).contains(&self.input_lanes)
            && self.channels.0.is_multiple_of(self.input_lanes);
        if !whole {
            return false;
        }
        let last_channel = self.channels.1 - 1;
        let last_block = count(self.channels.0 / self.input_lanes) + count(last_channel / self.input_lanes);
        let last_row = count(rows - 1) * sh + kh - count(1);
        let last_column = count(width - 1) * sw + kw - count(1);
        let input = last_block * count(self.input_block)
            + last_row * count(self.input_row)
            + last_column * count(self.input_lanes)
            + count(last_channel % self.input_lanes);
        let weights = count(self.channels.1) * kh * kw * count(self.vectors) * count(lanes);
        let channels = count(self.blocks) * count(lanes);
        let floats = (count(self.image) + count(1)) * channels * count(height) * count(width);
        input.0 < self.input.len()
            && weights.0 <= self.weights.len()
            && channels.0 <= self.bias.len()
            && floats.0 <= self.output.len()
            && self.residual.is_none_or(|r| floats.0 <= r.len())
    }
}

impl Work for Band<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (first, rows) = self.rows;
        // While this panel's weights are used, the next one's come in, a share with every run of pixels.
        let width = self.vectors * V::LANES;
        let (turn, turns) = self.turn;
        let runs = rows * self.out_size.1.div_ceil(V::ROWS[self.vectors - 1]) * turns;
        let taps = self.channels.1.div_ceil(self.input_lanes) * self.kernel[0] * self.kernel[1];
        let step = (self.input_lanes * width).div_ceil(runs);
        let panel = self.channels.1 * self.kernel[0] * self.kernel[1] * width;
        let mut next = panel + turn * (panel / turns);
        for row in 0..rows {
            let mut x = 0;
            while x < self.out_size.1 {
                let columns = balanced(self.out_size.1 - x, V::ROWS[self.vectors - 1]);
                let place = Place {
                    row,
                    y: first + row,
                    x,
                    next,
                    step,
                };
                // SAFETY: `rows_of_pixels` has checked the extents; `x + columns <= width`.
                unsafe {
                    match self.vectors {
                        1 => with_rows!(V, 1, columns, |R| self.pixels::<V, R, 1>(place)),
                        2 => with_rows!(V, 2, columns, |R| self.pixels::<V, R, 2>(place)),
                        _ => with_rows!(V, 3, columns, |R| self.pixels::<V, R, 3>(place)),
                    }
                }
                x += columns;
                next += taps * step;
            }
        }
    }
}

/// A run of output pixels: its row in the band and in the map, its first column; and which weights to prefetch meanwhile, from
/// where on and how far apart from tap to tap.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    y: usize,
    x: usize,
    next: usize,
    step: usize,
}

impl Band<'_> {
    /// `R` neighbouring pixels of `C` vectors of channels.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const R: usize, const C: usize>(&self, place: Place) {
        unsafe {
            let mut sums = [[V::splat(0.0); C]; R];
            for v in 0..C {
                let bias = load(self.bias, (self.block + v) * V::LANES);
                for sum in &mut sums {
                    sum[v] = bias;
                }
            }
            for v in 0..C {
                for r in 0..R {
                    self.output.prefetch((self.line(place, v) + r) * V::LANES);
                }
            }
            // Where there is one column, or one block, a step is not taken, and may be any number.
            let step = self.strides[1].wrapping_mul(self.input_lanes);
            let corner = self.channels.0 / self.input_lanes * self.input_block
                + place.row * self.strides[0] * self.input_row
                + place.x * step;
            let (mut weights, mut left, mut block, mut next) = (0, self.channels.1, corner, place.next);
            while left > 0 {
                let lanes = left.min(self.input_lanes);
                for ky in 0..self.kernel[0] {
                    for kx in 0..self.kernel[1] {
                        let from = block + ky * self.input_row + kx * self.input_lanes;
                        prefetch::<FAR>(self.weights, next);
                        let mut line = LINE;
                        while line < place.step {
                            prefetch::<FAR>(self.weights, next + line);
                            line += LINE;
                        }
                        next += place.step;
                        for lane in 0..lanes {
                            let mut w = [V::splat(0.0); C];
                            for v in 0..C {
                                w[v] = load(self.weights, weights + v * V::LANES);
                            }
                            weights += C * V::LANES;
                            for r in 0..R {
                                let x = scalar::<V>(self.input, from + r * step + lane);
                                for v in 0..C {
                                    sums[r][v] = x.mul_add(w[v], sums[r][v]);
                                }
                            }
                        }
                    }
                }
                left -= lanes;
                block = block.wrapping_add(self.input_block);
            }
            self.finish(place, sums);
        }
    }

    /// Where the run of pixels starts in the output, in pixels, for the panel's vector `v`.
    #[inline(always)]
    fn line(&self, place: Place, v: usize) -> usize {
        let (height, width) = self.out_size;
        ((self.image * self.blocks + self.block + v) * height + place.y) * width + place.x
    }

    #[inline(always)]
    unsafe fn finish<V: Vector, const R: usize, const C: usize>(&self, place: Place, sums: [[V; C]; R]) {
        for v in 0..C {
            let line = self.line(place, v);
            for r in 0..R {
                let at = (line + r) * V::LANES;
                unsafe {
                    let mut pixel = sums[r][v];
                    if let Some(residual) = self.residual {
                        pixel = pixel.add(load(residual, at));
                    }
                    if self.relu {
                        pixel = pixel.relu();
                    }
                    self.output.store(at, pixel);
                }
            }
        }
    }
}
