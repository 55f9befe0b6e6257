//! Encoded bytes to RGB rows, within the limits; and what that will take, from the header alone.

mod bmp;
mod gif;
mod guard;
mod header;
mod jpeg;
mod png;
mod raster;
mod tiff;
mod webp;

pub(crate) use header::{Header, Work};

use super::error::ImageError;
use super::format::Format;
use super::geometry::Frame;
use super::limits::Limits;
use super::pixels::Rgb8;
use super::rows::{Rows, Whole};

/// How large a JPEG is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JpegDecode {
    /// At the smallest DCT scale that still covers the resized image, where the decoder can: libjpeg-turbo can, `image` cannot.
    #[default]
    Scaled,
    /// Every pixel.
    Exact,
}

/// Which JPEG decoder is built in, for logs and model metadata.
pub fn decoder() -> &'static str {
    jpeg::NAME
}

/// Decodes a whole image of any format: upright, RGB, every pixel.
///
/// # Errors
/// See [`ImageError`].
pub fn decode_rgb(encoded: &[u8], limits: &Limits) -> Result<Rgb8, ImageError> {
    let mut whole = Whole::default();
    let format = decode(encoded, limits, None, &mut whole)?;
    whole.into_upright().ok_or_else(|| no_rows(format))
}

/// Reads an image's header, for decoding it with the same `frame`.
pub(crate) fn header(encoded: &[u8], limits: &Limits, frame: Option<&Frame>) -> Result<(Format, Header), ImageError> {
    limits.check_bytes(encoded)?;
    let format = Format::sniff(encoded)?;
    let header = guard::guarded(format, || match format {
        Format::Jpeg => jpeg::header(encoded, limits, frame),
        Format::Png => png::header(encoded, limits),
        Format::WebP => webp::header(encoded, limits),
        Format::Bmp => bmp::header(encoded, limits),
        Format::Gif => gif::header(encoded, limits),
        Format::Tiff => tiff::header(encoded, limits),
    })?;
    Ok((format, header))
}

/// Decodes an image and hands its rows over; a JPEG at a reduced scale if that covers what `frame` needs.
pub(crate) fn decode(
    encoded: &[u8],
    limits: &Limits,
    frame: Option<&Frame>,
    rows: &mut impl Rows,
) -> Result<Format, ImageError> {
    limits.check_bytes(encoded)?;
    let format = Format::sniff(encoded)?;
    guard::guarded(format, || match format {
        Format::Jpeg => jpeg::read(encoded, limits, frame, rows),
        Format::Png => png::read(encoded, limits, rows),
        Format::WebP => webp::read(encoded, limits, rows),
        Format::Bmp => bmp::read(encoded, limits, rows),
        Format::Gif => gif::read(encoded, limits, rows),
        Format::Tiff => tiff::read(encoded, limits, rows),
    })?;
    Ok(format)
}

/// A decoder that ends well and has not handed over every row.
pub(crate) fn no_rows(format: Format) -> ImageError {
    ImageError::Corrupt {
        format,
        part: "not all of its rows are there".into(),
    }
}
