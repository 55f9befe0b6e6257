//! Resampling as Pillow does it, bit for bit, of nothing but the part that the crop keeps.
//!
//! Two passes with 8-bit pixels between them, and weights in 22-bit fixed point. The order of the passes and the width of the
//! pixels between them are part of the result: there it is rounded, and overshoot is clipped.

mod nearest;
mod passes;
mod weights;
mod wide;

use super::decode::Picture;
use super::geometry::Span;
use super::spec::Interpolation;
use passes::Part;
use weights::{Filter, Weights};

/// Resamples `picture` to `rows.resized` by `columns.resized` and answers the `rows.length` by `columns.length` RGB pixels
/// of it that the spans keep.
pub(crate) fn resample(picture: &Picture, rows: Span, columns: Span, interpolation: Interpolation) -> Vec<u8> {
    let filter = match interpolation {
        Interpolation::Nearest => return nearest::resample(picture, rows, columns),
        Interpolation::Bilinear => Filter::BILINEAR,
        Interpolation::Bicubic => Filter::BICUBIC,
        Interpolation::Lanczos => Filter::LANCZOS,
    };
    let rgb = &picture.rgb;
    let [height, width] = [rgb.height, rgb.width].map(|side| side as usize);
    let down = Weights::new(rgb.height, picture.extent[0], rows, filter);
    let across = Weights::new(rgb.width, picture.extent[1], columns, filter);
    let whole = Part {
        data: &rgb.data,
        rows: 0..height,
        columns: 0..width,
    };
    if down_first([rgb.height, rgb.width], [rows.resized, columns.resized]) {
        let data = passes::down(&whole, across.used(), &down);
        let low = Part {
            data: &data,
            rows: 0..down.len(),
            columns: across.used(),
        };
        passes::across(&low, 0..down.len(), &across)
    } else {
        let data = passes::across(&whole, down.used(), &across);
        let narrow = Part {
            data: &data,
            rows: down.used(),
            columns: 0..across.len(),
        };
        passes::down(&narrow, 0..across.len(), &down)
    }
}

/// Whether Pillow (seen in version 13) goes down before it goes across: where that takes rows away, and more than twice as many as
/// going across takes columns.
fn down_first(from: [u32; 2], to: [u32; 2]) -> bool {
    let [rows, columns] = [0, 1].map(|axis| i64::from(from[axis]) - i64::from(to[axis]));
    rows > 0 && rows > 2 * columns
}
