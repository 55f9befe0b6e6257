//! What the scheduler drives: an encoded image in, one score a class out. Joins preprocessing and sessions.

use std::time::Duration;

use bytes::Bytes;

use repserve_preprocess::{Format, ImageError, Inspected, JpegDecode, Limits, Preprocess};
use repserve_runtime::{ImageSession, Row};
use repserve_scheduler::{Cost, Engine, Prepared, SessionError, Width};

/// A model's input: shape (3, height, width), normalised.
pub type Tensor = Vec<f32>;

/// Makes a session again.
pub type Rebuild = Box<dyn Fn(Width) -> Result<ImageSession, SessionError> + Send + Sync>;

/// An encoded image whose header has been read.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// What decoding it will take.
    pub inspected: Inspected,
}

/// What decoding takes on a processor of today: for each image, and for each pixel of an ordinary JPEG. What is seen corrects it.
const IMAGE_NS: u64 = 100_000;
const PIXEL_NS: u64 = 8;

/// What images may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// One image's file and pixels.
    pub image: Limits,
    /// What decoding one image may hold, in bytes: no more than all decoding together may.
    pub bytes_max: u64,
    /// What the images of one request may take to decode, in pixels of an ordinary JPEG.
    pub request_pixels_max: u64,
}

/// The images of a request take too long to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request's images take as long to decode as JPEGs of {pixels} pixels together; the limit is {pixels_max} \
     (limits.request_pixels_max; a pixel of another format counts four times, one of a JPEG of many scans once for two of them)"
)]
pub struct TooMuchWork {
    /// What they take, in pixels of an ordinary JPEG.
    pub pixels: u64,
    /// The limit.
    pub pixels_max: u64,
}

/// Decodes, preprocesses, and makes sessions.
pub struct ImageEngine {
    preprocess: Preprocess,
    limits: DecodeLimits,
    jpeg: JpegDecode,
    rebuild: Rebuild,
}

impl std::fmt::Debug for ImageEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageEngine")
            .field("preprocess", &self.preprocess.spec())
            .field("limits", &self.limits)
            .field("jpeg", &self.jpeg)
            .finish_non_exhaustive()
    }
}

impl ImageEngine {
    /// Joins its parts.
    pub fn new(preprocess: Preprocess, limits: DecodeLimits, jpeg: JpegDecode, rebuild: Rebuild) -> Self {
        Self {
            preprocess,
            limits,
            jpeg,
            rebuild,
        }
    }

    /// Reads an image's header and judges what decoding it will take.
    ///
    /// # Errors
    /// Where it cannot be decoded, as far as its header says, or takes more memory than there may be.
    pub fn inspect(&self, bytes: Bytes) -> Result<Encoded, ImageError> {
        let inspected = self.preprocess.inspect(&bytes, &self.limits.image, self.jpeg)?;
        if inspected.bytes > self.limits.bytes_max {
            return Err(ImageError::TooMuchMemory {
                format: inspected.format,
                width: inspected.width,
                height: inspected.height,
                bytes: inspected.bytes,
                bytes_max: self.limits.bytes_max,
            });
        }
        Ok(Encoded { bytes, inspected })
    }

    /// Judges what all images of a request take together.
    ///
    /// # Errors
    /// Where that is too much.
    pub fn check_request<'a>(&self, images: impl Iterator<Item = &'a Encoded>) -> Result<(), TooMuchWork> {
        let pixels = images.fold(0_u64, |sum, image| sum.saturating_add(image.inspected.work_pixels));
        let pixels_max = self.limits.request_pixels_max;
        if pixels > pixels_max {
            return Err(TooMuchWork { pixels, pixels_max });
        }
        Ok(())
    }
}

/// Images that are decoded in the same way: of one format, JPEGs of several scans apart.
fn class(inspected: &Inspected) -> u8 {
    let pixels = u64::from(inspected.width) * u64::from(inspected.height);
    match inspected.format {
        Format::Jpeg if inspected.work_pixels > pixels => 0,
        Format::Jpeg => 1,
        Format::Png => 2,
        Format::WebP => 3,
        Format::Gif => 4,
        Format::Bmp => 5,
        Format::Tiff => 6,
    }
}

impl Engine for ImageEngine {
    type Raw = Encoded;
    type Input = Tensor;
    type Output = Row;
    type Invalid = ImageError;
    type Session = ImageSession;

    fn cost(&self, raw: &Encoded) -> Cost {
        let inspected = &raw.inspected;
        let pixels_ns = inspected.work_pixels.saturating_mul(PIXEL_NS);
        Cost {
            bytes: inspected.bytes,
            expected: Duration::from_nanos(IMAGE_NS.saturating_add(pixels_ns)),
            class: class(inspected),
            encoded_bytes: raw.bytes.len() as u64,
        }
    }

    fn prepare(&self, raw: Encoded) -> Result<Prepared<Tensor>, ImageError> {
        let decoded = self.preprocess.apply(&raw.bytes, &self.limits.image, self.jpeg)?;
        Ok(Prepared {
            input: decoded.tensor,
            decode: decoded.decode,
            preprocess: decoded.preprocess,
        })
    }

    fn rebuild(&self, width: Width) -> Result<ImageSession, SessionError> {
        (self.rebuild)(width)
    }
}
