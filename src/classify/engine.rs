//! What the scheduler drives: an encoded image in, one score a class out. Joins preprocessing and sessions.

use bytes::Bytes;

use repserve_preprocess::{ImageError, JpegDecode, Limits, Preprocess};
use repserve_runtime::ImageSession;
use repserve_scheduler::{Engine, Prepared, SessionError, Width};

/// A model's input: shape (3, height, width), normalised.
pub type Tensor = Vec<f32>;

/// Makes a session again.
pub type Rebuild = Box<dyn Fn(Width) -> Result<ImageSession, SessionError> + Send + Sync>;

/// Decodes, preprocesses, and makes sessions.
pub struct ImageEngine {
    preprocess: Preprocess,
    limits: Limits,
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
    pub fn new(preprocess: Preprocess, limits: Limits, jpeg: JpegDecode, rebuild: Rebuild) -> Self {
        Self {
            preprocess,
            limits,
            jpeg,
            rebuild,
        }
    }
}

impl Engine for ImageEngine {
    type Raw = Bytes;
    type Input = Tensor;
    type Output = Vec<f32>;
    type Invalid = ImageError;
    type Session = ImageSession;

    fn prepare(&self, raw: Bytes) -> Result<Prepared<Tensor>, ImageError> {
        let decoded = self.preprocess.apply(&raw, &self.limits, self.jpeg)?;
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
