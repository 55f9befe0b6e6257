//! What the scheduler drives: an encoded image in, one score a class out. Joins the rooms `image` and `runtime`.

use bytes::Bytes;

use repserve_preprocess::{ImageError, JpegDecode, Limits, Preprocess};
use repserve_runtime::ModelSession;
use repserve_scheduler::{Engine, Prepared, Session, SessionError, Width};

/// A model's input: shape (3, height, width), normalised.
pub type Tensor = Vec<f32>;

/// Makes a session again.
pub type Rebuild = Box<dyn Fn(Width) -> Result<ModelSession, SessionError> + Send + Sync>;

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

    /// Makes one input of a session into which a model of this size goes.
    pub fn session(&self, session: ModelSession) -> ImageSession {
        let [height, width] = self.preprocess.size().map(|side| side as usize);
        ImageSession {
            session,
            shape: [3, height, width],
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
        (self.rebuild)(width).map(|session| self.session(session))
    }
}

/// A session with the shape of its input.
#[derive(Debug)]
pub struct ImageSession {
    session: ModelSession,
    shape: [usize; 3],
}

impl Session for ImageSession {
    type Input = Tensor;
    type Output = Vec<f32>;

    fn run(&mut self, batch: &[Tensor]) -> Result<Vec<Vec<f32>>, SessionError> {
        self.session
            .run(batch, self.shape)
            .map_err(|error| SessionError(error.to_string()))
    }
}
