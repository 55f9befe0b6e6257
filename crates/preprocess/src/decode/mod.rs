//! Encoded bytes to upright RGB pixels, within the limits.

mod gif;
mod guard;
mod jpeg;
mod raster;
mod tiff;

use image::metadata::Orientation;

use super::error::ImageError;
use super::format::Format;
use super::geometry::Frame;
use super::limits::Limits;
use super::orientation;
use super::pixels::Rgb8;

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

/// An upright picture, possibly decoded at a reduced scale.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The pixels.
    pub rgb: Rgb8,
    /// Height and width of the file's picture, upright.
    pub full: [u32; 2],
    /// The part of `rgb` that the picture covers, height and width in pixels of `rgb`: a reduced scale may fill its last pixel in part.
    pub extent: [f64; 2],
}

/// Decodes a whole image of any format: upright, RGB, every pixel.
///
/// # Errors
/// See [`ImageError`].
pub fn decode_rgb(encoded: &[u8], limits: &Limits) -> Result<Rgb8, ImageError> {
    decode(encoded, limits, None).map(|picture| picture.rgb)
}

/// Decodes an image; a JPEG at a reduced scale if that covers what `frame` needs.
pub(crate) fn decode(encoded: &[u8], limits: &Limits, frame: Option<&Frame>) -> Result<Picture, ImageError> {
    limits.check_bytes(encoded)?;
    let format = Format::sniff(encoded)?;
    guard::guarded(format, || {
        let (stored, orientation) = match format {
            Format::Jpeg => return jpeg::read(encoded, limits, frame),
            Format::Png => raster::png(encoded, limits)?,
            Format::WebP => raster::webp(encoded, limits)?,
            Format::Bmp => raster::bmp(encoded, limits)?,
            Format::Gif => (gif::read(encoded, limits)?, Orientation::NoTransforms),
            Format::Tiff => tiff::read(encoded, limits)?,
        };
        let rgb = orientation::apply(stored, orientation);
        let full = [rgb.height, rgb.width];
        Ok(Picture {
            rgb,
            full,
            extent: full.map(f64::from),
        })
    })
}
