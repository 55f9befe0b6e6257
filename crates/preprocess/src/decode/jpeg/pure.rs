//! JPEG through the `image` crate: no C, no reduced scales.

use super::markers::Markers;
use crate::decode::raster;
use crate::error::ImageError;
use crate::limits::Limits;
use crate::pixels::Rgb8;

/// What this decoder is called.
pub(crate) const NAME: &str = "image";

/// The scales it has, in eighths.
pub(super) const EIGHTHS: &[u32] = &[8];

/// Decodes the stored picture.
pub(super) fn decode(encoded: &[u8], limits: &Limits, _: &Markers, _eighths: u32) -> Result<Rgb8, ImageError> {
    raster::jpeg(encoded, limits)
}
