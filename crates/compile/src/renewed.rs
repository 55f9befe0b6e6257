//! A session that is measured with batches of several sizes.

use repserve_runtime::{ImageSession, Row};
use repserve_scheduler::{Session, SessionError, Width};

use super::error::CompileError;

/// Makes one more session.
pub(super) type Fresh<'a> = &'a (dyn Fn(Width) -> Result<ImageSession, CompileError> + Sync);

/// A session keeps the memory of every size of a batch that it has run. This one is made anew before the first run of a larger size than
/// those before, so that it holds no more than the largest takes.
pub(super) struct Renewed<'a> {
    session: Option<ImageSession>,
    largest: usize,
    width: Width,
    fresh: Fresh<'a>,
}

impl<'a> Renewed<'a> {
    pub(super) fn new(width: Width, fresh: Fresh<'a>) -> Self {
        Self {
            session: None,
            largest: 0,
            width,
            fresh,
        }
    }
}

impl Session for Renewed<'_> {
    type Input = Vec<f32>;
    type Output = Row;

    fn run(&mut self, batch: &[Vec<f32>]) -> Result<Vec<Row>, SessionError> {
        if batch.len() > self.largest {
            self.session = None;
            self.largest = batch.len();
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert((self.fresh)(self.width).map_err(|error| SessionError(error.to_string()))?),
        };
        session.run(batch)
    }
}
