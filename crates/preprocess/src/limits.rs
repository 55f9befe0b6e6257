//! What an image may cost.

use super::error::ImageError;

/// The longest side that is read. No JPEG is longer; the limit bounds the memory of resampling a one-pixel-wide image.
pub(crate) const SIDE_MAX: u32 = 65_535;

/// What an image may cost. Checked from the bytes and the header before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub bytes_max: usize,
    /// Largest product of width and height, in pixels.
    pub pixels_max: u64,
}

impl Default for Limits {
    /// 10 MiB and 50 megapixels.
    fn default() -> Self {
        Self {
            bytes_max: 10 * 1024 * 1024,
            pixels_max: 50_000_000,
        }
    }
}

impl Limits {
    pub(crate) fn check_bytes(&self, encoded: &[u8]) -> Result<(), ImageError> {
        if encoded.len() > self.bytes_max {
            return Err(ImageError::TooManyBytes {
                bytes: encoded.len(),
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }

    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.pixels_max || width.max(height) > SIDE_MAX {
            return Err(ImageError::TooManyPixels {
                width,
                height,
                pixels_max: self.pixels_max,
            });
        }
        Ok(())
    }
}
