//! The first frame of a WebP.

mod chunks;
mod codes;

use std::io::Cursor;

use image::ColorType;
use image_webp::{DecodingError, WebPDecoder};

use super::header::{Header, Work};
use super::raster::{self, OVERHEAD_BYTES_MAX};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::rows::{Layout, Rows};

type File<'a> = WebPDecoder<Cursor<&'a [u8]>>;

/// What the header says.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let (mut decoder, layout) = open(encoded, limits)?;
    let quarters = quarters(decoder.is_lossy(), decoder.has_alpha(), decoder.is_animated());
    // Lossy pixels are kept in blocks of 16 by 16.
    let [height, width] = layout.stored.map(|side| u64::from(side).next_multiple_of(16));
    Ok(Header {
        bytes: quarters * width * height / 4 + encoded.len() as u64 * 3 + codes_bytes(encoded, &layout) + (1 << 20),
        layout,
        work: Work::EveryPixel,
    })
}

/// What the tables of the costliest lossless stream in it take, in bytes.
fn codes_bytes(encoded: &[u8], layout: &Layout) -> u64 {
    let [height, width] = layout.stored;
    let streams = chunks::lossless_streams(encoded, width, height);
    streams.map(codes::tables_bytes).max().unwrap_or(0)
}

/// Quarters of a byte that the decoder holds for each pixel.
fn quarters(lossy: bool, alpha: bool, animated: bool) -> u64 {
    // Y, U and V of a lossy frame; its alpha, which is unpacked as RGBA; what a lossless picture is unpacked to, and what its
    // transforms and entropy codes say for each block of 4 by 4.
    let (yuv, alpha_plane, blocks, rgba) = (6, 4 + 16 + 5, 5, 16);
    let out = if alpha { rgba } else { 12 };
    match (lossy, animated) {
        // A frame, the canvas, and what is made of it; whether the first frame is the lossy one is not said.
        (_, true) => (rgba + blocks).max(yuv + rgba + alpha_plane) + rgba + out,
        (true, false) if alpha => yuv + out + alpha_plane,
        (true, false) => yuv + out,
        // With alpha the pixels are unpacked in place.
        (false, false) if alpha => out + blocks,
        (false, false) => out + rgba + blocks,
    }
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let (mut decoder, layout) = open(encoded, limits)?;
    let colour = if decoder.has_alpha() {
        ColorType::Rgba8
    } else {
        ColorType::Rgb8
    };
    let mut bytes = vec![0; decoder.output_buffer_size().unwrap_or(usize::MAX)];
    decoder.read_image(&mut bytes).map_err(|error| refuse(&error))?;
    // An animation's decoder keeps its canvas.
    drop(decoder);
    raster::hand_over(&bytes, colour, Format::WebP, &layout, rows)
}

fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<(File<'a>, Layout), ImageError> {
    let mut decoder = WebPDecoder::new(Cursor::new(encoded)).map_err(|error| refuse(&error))?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    raster::check_sides(Format::WebP, width, height)?;
    // The decoder compares a lossy frame with the canvas only after it has decoded it.
    if chunks::lossy_frames(encoded).any(|(w, h)| w > width || h > height) {
        return Err(corrupt("a frame in it is larger than the picture"));
    }
    decoder.set_memory_limit(OVERHEAD_BYTES_MAX.min(encoded.len() as u64) as usize);
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = orientation::stated(exif.as_deref(), xmp.as_deref());
    Ok((decoder, Layout::whole(width, height, orientation)))
}

fn refuse(error: &DecodingError) -> ImageError {
    match error {
        DecodingError::UnsupportedFeature(what) => ImageError::Unsupported {
            format: Format::WebP,
            what: what.clone(),
        },
        other => corrupt(&other.to_string()),
    }
}

fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::WebP,
        part: part.into(),
    }
}
