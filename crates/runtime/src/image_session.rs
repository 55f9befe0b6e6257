//! A session as the scheduler runs it: the images of one model have one shape.

use super::session::{ModelSession, Row};
use repserve_scheduler::{Session, SessionError};

/// A session and the shape of its images.
#[derive(Debug)]
pub struct ImageSession {
    session: ModelSession,
    shape: [usize; 3],
}

impl ImageSession {
    /// `shape`: channels, height, width.
    pub fn new(session: ModelSession, shape: [usize; 3]) -> Self {
        Self { session, shape }
    }
}

impl Session for ImageSession {
    /// An image, row-major.
    type Input = Vec<f32>;
    type Output = Row;

    fn run(&mut self, batch: &[Vec<f32>]) -> Result<Vec<Row>, SessionError> {
        self.session
            .run_rows(batch, self.shape)
            .map_err(|error| SessionError(error.to_string()))
    }
}
