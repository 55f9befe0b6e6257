//! The nearest pixel, without weights.

use crate::decode::Picture;
use crate::geometry::Span;

/// Picks for each kept pixel the source pixel under its centre.
pub(super) fn resample(picture: &Picture, rows: Span, columns: Span) -> Vec<u8> {
    let [height, width] = [picture.rgb.height, picture.rgb.width];
    let columns = indices(columns, picture.extent[1], width);
    let pixels = picture.rgb.data.as_chunks::<3>().0;
    let mut out = Vec::with_capacity(rows.length as usize * columns.len() * 3);
    for row in indices(rows, picture.extent[0], height) {
        let row = &pixels[row * width as usize..][..width as usize];
        out.extend(columns.iter().flat_map(|&column| row[column]));
    }
    out
}

/// The source pixel under the centre of each kept pixel. Pillow adds the scale up pixel by pixel, so this does too.
fn indices(span: Span, extent: f64, side: u32) -> Vec<usize> {
    let scale = extent / f64::from(span.resized);
    let mut at = scale * 0.5;
    let mut indices = Vec::with_capacity(span.length as usize);
    for index in 0..span.start.saturating_add(span.length) {
        if index >= span.start {
            indices.push((at as usize).min(side as usize - 1));
        }
        at += scale;
    }
    indices
}
