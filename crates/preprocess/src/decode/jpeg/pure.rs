//! JPEG through the `image` crate: no C, no reduced scales.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::{ColorType, ImageDecoder};

use super::markers::Markers;
use crate::decode::raster;
use crate::error::ImageError;
use crate::format::Format;
use crate::rows::{Layout, Rows};

/// What this decoder is called.
pub(crate) const NAME: &str = "image";

/// The scales it has, in eighths.
pub(super) const EIGHTHS: &[u32] = &[8];

/// Whether the whole picture is kept besides what comes out even if it is coded in one scan.
pub(super) const KEEPS_ALWAYS: bool = true;

/// What it holds however large the picture is, in bytes.
pub(crate) fn bytes(encoded: &[u8]) -> u64 {
    encoded.len() as u64 * 2 + (1 << 20)
}

/// Scans that are decoded, and bytes that are held for leaving out others: none are.
pub(super) fn scans(_encoded: &[u8], markers: &Markers, _eighths: u32) -> (usize, u64) {
    (markers.scans, 0)
}

/// Decodes the stored picture and hands its rows over.
pub(super) fn decode(
    encoded: &[u8],
    _: &Markers,
    layout: Layout,
    _eighths: u32,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let decoder = JpegDecoder::new(Cursor::new(encoded)).map_err(|failure| raster::refuse(failure, Format::Jpeg))?;
    let (width, height) = decoder.dimensions();
    if [height, width] != layout.stored {
        return Err(ImageError::Corrupt {
            format: Format::Jpeg,
            part: "it has several frame headers".into(),
        });
    }
    raster::rows(decoder, Format::Jpeg, &layout, rows)
}

/// Every pixel of a picture of `sides`, width and height, with so many components, which is part of another file. Three of them come
/// out as R, G, B.
///
/// # Errors
/// What is wrong with it; four components are not read.
pub(crate) fn pixels(encoded: &[u8], sides: [u32; 2], components: usize) -> Result<Vec<u8>, String> {
    let decoder = JpegDecoder::new(Cursor::new(encoded)).map_err(|failure| failure.to_string())?;
    let read = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => return Err(format!("pixels of type {other:?}")),
    };
    if components > 3 {
        return Err("four inks, which are read with libjpeg-turbo (cargo feature jpeg-turbo) only".into());
    }
    if decoder.dimensions() != (sides[0], sides[1]) || read != components {
        return Err("it has several frame headers".into());
    }
    let mut pixels = vec![0; sides[0] as usize * sides[1] as usize * components];
    decoder.read_image(&mut pixels).map_err(|failure| failure.to_string())?;
    Ok(pixels)
}
