//! Resampling as Pillow does it, bit for bit, of nothing but the part that the crop keeps, while the rows come.
//!
//! Two passes with 8-bit pixels between them, and weights in 22-bit fixed point. The order of the passes and the width of the
//! pixels between them are part of the result: there it is rounded, and overshoot is clipped.
//!
//! Rows come as they are stored. A picture that is stored turned or mirrored is resampled as it is stored, with the weights of the
//! upright picture, and the small result is turned: the integers are the same, and the large picture is never held.

mod nearest;
mod passes;
mod weights;
mod wide;
mod window;

use image::metadata::Orientation;

use super::geometry::{Frame, Span};
use super::orientation;
use super::pixels::Rgb8;
use super::rows::{Layout, upright};
use super::spec::Interpolation;
use nearest::{Picking, Picks};
use weights::{Filter, Weights, taps_bound};
use window::Window;

/// What is kept of the resized picture: rows and columns, upright.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Its rows.
    pub rows: Span,
    /// Its columns.
    pub columns: Span,
}

impl Kept {
    /// The centre crop that `frame` makes of a picture of this height and width, upright.
    pub(crate) fn of([height, width]: [u32; 2], frame: &Frame) -> Self {
        let [rows, columns] = frame.resized(height, width);
        Self {
            rows: super::geometry::centre(rows, frame.size[0]),
            columns: super::geometry::centre(columns, frame.size[1]),
        }
    }
}

/// Resamples a picture while its rows come.
pub(crate) struct Resampler {
    orientation: Orientation,
    /// Height and width of the result as it is stored.
    sides: [usize; 2],
    pass: Pass,
}

enum Pass {
    Nearest(Picking),
    Weighted(Weighted),
}

impl Resampler {
    /// For a picture of this layout, of which `kept` remains.
    pub(crate) fn new(layout: &Layout, kept: Kept, interpolation: Interpolation) -> Self {
        let orientation = layout.orientation;
        let sides = upright(layout.stored, orientation);
        let axes = upright([0, 1], orientation);
        let spans = [kept.rows, kept.columns];
        let [mirror_rows, mirror_columns] = orientation::mirrored(orientation);
        let pass = match filter(interpolation) {
            None => {
                let picks = |axis: usize, mirror: bool| {
                    let picks = Picks::new(sides[axis], layout.extent[axis], spans[axis]);
                    if mirror { picks.mirrored(sides[axis]) } else { picks }
                };
                Pass::Nearest(Picking::new(
                    picks(axes[0], mirror_rows),
                    picks(axes[1], mirror_columns),
                ))
            }
            Some(filter) => {
                let weights = |axis: usize, mirror: bool| {
                    let weights = Weights::new(sides[axis], layout.extent[axis], spans[axis], filter);
                    if mirror { weights.mirrored(sides[axis]) } else { weights }
                };
                let swapped = orientation::swaps_sides(orientation);
                Pass::Weighted(Weighted::new(
                    weights(axes[0], mirror_rows),
                    weights(axes[1], mirror_columns),
                    down_first(sides, spans.map(|span| span.resized)) != swapped,
                ))
            }
        };
        Self {
            orientation,
            sides: axes.map(|axis| spans[axis].length as usize),
            pass,
        }
    }

    /// The next stored row.
    pub(crate) fn row(&mut self, rgb: &[u8]) {
        match &mut self.pass {
            Pass::Nearest(picking) => picking.row(rgb),
            Pass::Weighted(weighted) => weighted.row(rgb),
        }
    }

    /// What is kept, upright; `None` where not all rows have come.
    pub(crate) fn finish(self) -> Option<Rgb8> {
        let data = match self.pass {
            Pass::Nearest(picking) => picking.finish(),
            Pass::Weighted(weighted) => weighted.out,
        };
        let [height, width] = self.sides;
        let whole = data.len() == height * width * 3;
        let (height, width) = (height as u32, width as u32);
        whole.then(|| orientation::apply(Rgb8 { width, height, data }, self.orientation))
    }
}

/// Both passes, the second one as soon as the first has made the rows that it needs.
struct Weighted {
    down: Weights,
    across: Weights,
    down_first: bool,
    window: Window,
    /// Rows that have come.
    come: usize,
    /// Rows of the result so far.
    done: usize,
    out: Vec<u8>,
    low: Vec<u8>,
    padded: Vec<u8>,
}

impl Weighted {
    fn new(down: Weights, across: Weights, down_first: bool) -> Self {
        let columns = if down_first { across.used().len() } else { across.len() };
        Self {
            window: Window::new(down.used().start, columns * 3, down.taps_max()),
            out: Vec::with_capacity(down.len() * across.len() * 3),
            low: Vec::new(),
            padded: Vec::new(),
            come: 0,
            done: 0,
            down,
            across,
            down_first,
        }
    }

    fn row(&mut self, rgb: &[u8]) {
        let row = self.come;
        self.come += 1;
        if !self.down.used().contains(&row) {
            return;
        }
        let Self {
            across, window, padded, ..
        } = self;
        if self.down_first {
            let columns = across.used();
            window.push(|held| held.copy_from_slice(&rgb[columns.start * 3..columns.end * 3]));
        } else {
            window.push(|held| passes::across(rgb, 0, across, padded, held));
        }
        self.emit();
    }

    /// Makes the rows of the result for which everything has come.
    fn emit(&mut self) {
        while let Some((first, values)) = self.down.get(self.done) {
            if first + values.len() > self.window.next() {
                self.window.drop_before(first);
                return;
            }
            let (rows, stride) = (self.window.from(first), self.window.row_bytes());
            let start = self.out.len();
            self.out.resize(start + self.across.len() * 3, 0);
            let out = &mut self.out[start..];
            if self.down_first {
                self.low.resize(stride, 0);
                passes::down(rows, stride, values, &mut self.low);
                let column = self.across.used().start;
                passes::across(&self.low, column, &self.across, &mut self.padded, out);
            } else {
                passes::down(rows, stride, values, out);
            }
            self.done += 1;
        }
    }
}

fn filter(interpolation: Interpolation) -> Option<Filter> {
    match interpolation {
        Interpolation::Nearest => None,
        Interpolation::Bilinear => Some(Filter::BILINEAR),
        Interpolation::Bicubic => Some(Filter::BICUBIC),
        Interpolation::Lanczos => Some(Filter::LANCZOS),
    }
}

/// Whether Pillow (seen in version 13) goes down before it goes across: where that takes rows away, and more than twice as many as
/// going across takes columns.
fn down_first(from: [u32; 2], to: [u32; 2]) -> bool {
    let [rows, columns] = [0, 1].map(|axis| i64::from(from[axis]) - i64::from(to[axis]));
    rows > 0 && rows > 2 * columns
}

/// What a [`Resampler`] holds at most for a picture of this layout, in bytes.
pub(crate) fn bytes_max(layout: &Layout, kept: Kept, interpolation: Interpolation) -> u64 {
    let sides = upright(layout.stored, layout.orientation);
    let axes = upright([0, 1], layout.orientation);
    let spans = [kept.rows, kept.columns];
    let lengths = axes.map(|axis| spans[axis].length as usize);
    let result = lengths[0].saturating_mul(lengths[1]).saturating_mul(3);
    let pixels = |axis: usize| (sides[axis] as usize).saturating_add(spans[axis].length as usize);
    // Twice the result where it is turned; the rows that the passes work on; the places of the taps.
    let mut bytes = result
        .saturating_mul(2)
        .saturating_add(pixels(axes[1]).saturating_mul(12))
        .saturating_add((lengths[0] + lengths[1]).saturating_mul(64));
    if let Some(filter) = filter(interpolation) {
        let taps = [0, 1].map(|axis| taps_bound(sides[axis], layout.extent[axis], spans[axis], filter));
        let weights =
            |axis: usize| taps[axis].saturating_mul((spans[axis].length as usize).saturating_mul(8).saturating_add(8));
        let swapped = orientation::swaps_sides(layout.orientation);
        let columns = if down_first(sides, spans.map(|span| span.resized)) != swapped {
            sides[axes[1]] as usize
        } else {
            lengths[1]
        };
        let window = window::bytes(columns.saturating_mul(3), taps[axes[0]]);
        bytes = bytes
            .saturating_add(weights(0))
            .saturating_add(weights(1))
            .saturating_add(window);
    }
    bytes as u64
}

#[cfg(test)]
mod tests;
