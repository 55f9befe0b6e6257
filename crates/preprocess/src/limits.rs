//! What an image may cost.

use std::fmt;

use super::error::ImageError;

/// A number of bytes for people: in MiB where it is one at least, in tenths that are rounded up, so that what is beyond a limit does
/// not look like it.
///
/// ```
/// use repserve_preprocess::ByteSize;
///
/// assert_eq!(ByteSize(300).to_string(), "300 bytes");
/// assert_eq!(ByteSize(10 << 20).to_string(), "10 MiB");
/// assert_eq!(ByteSize((10 << 20) + 1).to_string(), "10.1 MiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBIBYTE: u64 = 1 << 20;
        if self.0 < MEBIBYTE {
            return write!(f, "{} bytes", self.0);
        }
        let whole = self.0 / MEBIBYTE;
        match (10 * (self.0 % MEBIBYTE)).div_ceil(MEBIBYTE) {
            0 => write!(f, "{whole} MiB"),
            10 => write!(f, "{} MiB", whole + 1),
            tenths => write!(f, "{whole}.{tenths} MiB"),
        }
    }
}

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
