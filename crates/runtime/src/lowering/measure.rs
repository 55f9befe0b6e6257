//! Both graphs under ONNX Runtime's profiler, one after the other, so that the weights of one of them are in memory: every layer is timed in
//! its place, with its weights as cold and its input as warm as they will be. What counts is the least that each took, for which either has
//! undisturbed rounds of its own.

use std::path::Path;

use tempfile::TempDir;

use super::profile::{self, Times};
use super::rounds::Rounds;
use crate::cpu_time::Stopwatch;
use crate::error::RuntimeError;
use crate::heap::return_freed_memory;
use crate::locate::Runtime;
use crate::session::{ModelSession, SessionOptions, builder};
use crate::session_model::SessionModel;
use crate::unpacked;

/// One graph as it ran on one thread.
pub(super) struct Measured {
    /// Least milliseconds of CPU time of a run.
    pub(super) ms: f64,
    /// Least milliseconds of every node, on the wall: of all its runs those in which nothing disturbed it.
    pub(super) nodes: Times,
}

/// How graphs are measured: on one image, on one thread.
pub(super) struct Measuring<'a> {
    runtime: &'a Runtime,
    /// The output to read, the first if not given.
    output: Option<&'a str>,
    /// Channels, height, width.
    shape: [usize; 3],
    /// Gives back what was read of the weights.
    release: &'a dyn Fn(),
    /// Of the profiles, and of weights while a session is made.
    folder: TempDir,
}

impl<'a> Measuring<'a> {
    /// # Errors
    /// There is no folder for temporary files.
    pub(super) fn new(
        runtime: &'a Runtime,
        output: Option<&'a str>,
        shape: [usize; 3],
        release: &'a dyn Fn(),
    ) -> Result<Self, RuntimeError> {
        Ok(Self {
            release,
            runtime,
            output,
            shape,
            folder: tempfile::tempdir()?,
        })
    }

    /// Gives back what was read of the weights, where they lie in a file, and what was freed.
    pub(super) fn release(&self) {
        (self.release)();
        return_freed_memory();
    }

    /// Runs a graph, whose session is gone afterwards.
    ///
    /// # Errors
    /// It does not load or run, or the profile cannot be written.
    pub(super) fn run(&self, model: &SessionModel) -> Result<Measured, RuntimeError> {
        let mut session = self.session(model)?;
        let image = image(self.shape);
        session.run(&[&image], self.shape)?;
        let mut least_ms = f64::INFINITY;
        let mut rounds = Rounds::default();
        while rounds.go_on() {
            let watch = Stopwatch::start();
            session.run(&[&image], self.shape)?;
            let run = watch.elapsed();
            least_ms = least_ms.min(run.cpu_ms);
            rounds.add(&run);
        }
        let profile = session.end_profiling()?;
        drop(session);
        return_freed_memory();
        Ok(Measured {
            ms: least_ms,
            nodes: profile::read(&profile)?,
        })
    }

    /// A session of one thread that writes a profile.
    fn session(&self, model: &SessionModel) -> Result<ModelSession, RuntimeError> {
        let options = SessionOptions {
            threads: 1,
            layers: model.layers.clone(),
            output: self.output.map(str::to_owned),
            ..SessionOptions::default()
        };
        let folder: &Path = self.folder.path();
        let builder = builder(self.runtime, &options)?
            .with_profiling(folder.join("profile"))
            .map_err(|e| RuntimeError::Model(e.to_string()))?;
        let session = unpacked::session(builder, &model.onnx, folder)?;
        self.release();
        ModelSession::of(session, &options)
    }
}

/// Numbers in [-1, 1) that are the same every time.
fn image(shape: [usize; 3]) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..shape.iter().product()).map(|_| random.f32() * 2.0 - 1.0).collect()
}
