//! The sessions of one model: how many, how wide, warm.

use anyhow::Context;
use bytes::Bytes;

use crate::batch::{Session, SessionError, Sessions, Width};
use crate::classify::{ImageEngine, ImageSession, Rebuild, Signature};
use crate::runtime::{ModelSession, Runtime, RuntimeError, SessionOptions};

/// Runs of each session before it is served.
const WARM_UP_RUNS: usize = 2;

/// Makes sessions of one deploy graph.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    runtime: Runtime,
    onnx: Bytes,
    output: Option<String>,
    cores: usize,
}

impl Pool {
    pub(super) fn new(runtime: Runtime, onnx: Bytes, output: Option<String>) -> Self {
        Self {
            runtime,
            onnx,
            output,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// One session.
    pub(super) fn session(&self, width: Width) -> Result<ModelSession, RuntimeError> {
        let options = SessionOptions {
            threads: if width == Width::Wide { self.cores } else { 1 },
            output: self.output.clone(),
        };
        ModelSession::from_memory(&self.runtime, &self.onnx, &options)
    }

    /// A narrow session a core, `first` among them, and a wide one where there are several cores.
    pub(super) fn sessions(&self, first: ModelSession, engine: &ImageEngine) -> anyhow::Result<Sessions<ImageSession>> {
        let mut narrow = vec![engine.session(first)];
        for _ in 1..self.cores {
            narrow.push(engine.session(self.session(Width::Narrow)?));
        }
        let wide = (self.cores > 1).then(|| self.session(Width::Wide)).transpose()?;
        Ok(Sessions {
            narrow,
            wide: wide.map(|session| engine.session(session)),
        })
    }

    /// How the scheduler makes a session again.
    pub(super) fn rebuild(&self) -> Rebuild {
        let pool = self.clone();
        Box::new(move |width| pool.session(width).map_err(|error| SessionError(error.to_string())))
    }
}

/// Runs every session, so that the first request finds everything in place.
pub(super) fn warm_up(sessions: &mut Sessions<ImageSession>, signature: &Signature) -> anyhow::Result<()> {
    let image = vec![0.0; signature.image_len()];
    for session in sessions.narrow.iter_mut().chain(sessions.wide.as_mut()) {
        for _ in 0..WARM_UP_RUNS {
            session.run(std::slice::from_ref(&image)).context("the warm-up")?;
        }
    }
    Ok(())
}
