//! Resampling as Pillow does it, of nothing but the part that the crop keeps.

use std::cell::RefCell;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::decode::Picture;
use super::geometry::Span;
use super::spec::Interpolation;

/// Buffers larger than this are given back after a resize, in bytes.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resamples `picture` to `rows.resized` by `columns.resized` and answers the `rows.length` by `columns.length` RGB pixels
/// of it that the spans keep.
pub(crate) fn resample(picture: &Picture, rows: Span, columns: Span, interpolation: Interpolation) -> Vec<u8> {
    let filter = match interpolation {
        Interpolation::Nearest => return nearest(picture, rows, columns),
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Lanczos => FilterType::Lanczos3,
    };
    let mut pixels = vec![0; columns.length as usize * rows.length as usize * 3];
    let (top, height) = source(rows, picture.extent[0]);
    let (left, width) = source(columns, picture.extent[1]);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(left, top, width, height);
    let rgb = &picture.rgb;
    let from = TypedImageRef::<U8x3>::from_buffer(rgb.width, rgb.height, &rgb.data);
    let to = TypedImage::<U8x3>::from_buffer(columns.length, rows.length, &mut pixels);
    if let (Ok(from), Ok(mut to)) = (from, to) {
        RESIZER.with_borrow_mut(|resizer| {
            let done = resizer.resize_typed(&from, &mut to, &options);
            debug_assert_eq!(done, Ok(()));
            if resizer.size_of_internal_buffers() > KEPT_BYTES_MAX {
                resizer.reset_internal_buffers();
            }
        });
    }
    pixels
}

/// Start and length of what a span covers of an axis of `extent` source pixels.
fn source(span: Span, extent: f64) -> (f64, f64) {
    let scale = extent / f64::from(span.resized);
    let start = f64::from(span.start) * scale;
    (start, (f64::from(span.length) * scale).min(extent - start))
}

fn nearest(picture: &Picture, rows: Span, columns: Span) -> Vec<u8> {
    let [height, width] = [picture.rgb.height, picture.rgb.width];
    let columns = nearest_indices(columns, picture.extent[1], width);
    let pixels = picture.rgb.data.as_chunks::<3>().0;
    let mut out = Vec::with_capacity(rows.length as usize * columns.len() * 3);
    for row in nearest_indices(rows, picture.extent[0], height) {
        let row = &pixels[row * width as usize..][..width as usize];
        out.extend(columns.iter().flat_map(|&column| row[column]));
    }
    out
}

/// The source pixel under the centre of each kept pixel. Pillow adds the scale up pixel by pixel, so this does too.
fn nearest_indices(span: Span, extent: f64, side: u32) -> Vec<usize> {
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
