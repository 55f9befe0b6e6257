//! JPEG through the `image` crate: no C, no reduced scales.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;

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
pub(super) fn bytes(encoded: &[u8]) -> u64 {
    encoded.len() as u64 * 2 + (1 << 20)
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
