//! Both graphs under ONNX Runtime's profiler, taking turns: every layer is timed in its place, with its weights as cold and its
//! input as warm as they will be.

use std::path::Path;

use tempfile::TempDir;

use super::profile::{self, Times};
use super::rounds::Rounds;
use crate::cpu_time::{Elapsed, Stopwatch};
use crate::error::RuntimeError;
use crate::locate::Runtime;
use crate::session::{ModelSession, SessionOptions, builder};
use crate::session_model::SessionModel;

/// One graph as it ran on one thread.
pub(super) struct Measured {
    /// Least milliseconds of CPU time of a run.
    pub(super) ms: f64,
    /// Least milliseconds of every node, on the wall: of all its runs those in which nothing disturbed it.
    pub(super) nodes: Times,
}

/// A graph whose session is made, to be measured against what is made of it.
pub(super) struct Measuring<'a> {
    runtime: &'a Runtime,
    /// The output to read, the first if not given.
    output: Option<&'a str>,
    /// Of the profiles.
    folder: TempDir,
    plain: ModelSession,
}

impl<'a> Measuring<'a> {
    /// Makes the session of the plain graph.
    ///
    /// # Errors
    /// It does not load.
    pub(super) fn new(
        runtime: &'a Runtime,
        plain: &SessionModel,
        output: Option<&'a str>,
    ) -> Result<Self, RuntimeError> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            plain: profiled(runtime, plain, output, &folder.path().join("plain"))?,
            runtime,
            output,
            folder,
        })
    }

    /// Runs both graphs in turns on one image of `shape` (channels, height, width).
    ///
    /// # Errors
    /// A graph does not load or run, or the profile cannot be written.
    pub(super) fn against(self, lowered: &SessionModel, shape: [usize; 3]) -> Result<[Measured; 2], RuntimeError> {
        let profile = self.folder.path().join("lowered");
        let lowered = profiled(self.runtime, lowered, self.output, &profile)?;
        let mut sessions = [self.plain, lowered];
        let image = image(shape);
        let mut least = [f64::INFINITY; 2];
        for session in &mut sessions {
            session.run(&[&image], shape)?;
        }
        let mut rounds = Rounds::default();
        while rounds.go_on() {
            let mut runs = [Elapsed::default(); 2];
            for ((session, least), run) in sessions.iter_mut().zip(&mut least).zip(&mut runs) {
                let watch = Stopwatch::start();
                session.run(&[&image], shape)?;
                *run = watch.elapsed();
                *least = least.min(run.cpu_ms);
            }
            rounds.add(&runs);
        }
        let [mut plain, mut lowered] = sessions;
        Ok([
            Measured {
                ms: least[0],
                nodes: profile::read(&plain.end_profiling()?)?,
            },
            Measured {
                ms: least[1],
                nodes: profile::read(&lowered.end_profiling()?)?,
            },
        ])
    }
}

/// A session of one thread that writes a profile.
fn profiled(
    runtime: &Runtime,
    model: &SessionModel,
    output: Option<&str>,
    profile: &Path,
) -> Result<ModelSession, RuntimeError> {
    let options = SessionOptions {
        threads: 1,
        layers: model.layers.clone(),
        output: output.map(str::to_owned),
        ..SessionOptions::default()
    };
    let failed = |e: String| RuntimeError::Model(e);
    let mut builder = builder(runtime, &options)?
        .with_profiling(profile)
        .map_err(|e| failed(e.to_string()))?;
    let session = builder
        .commit_from_memory(&model.onnx)
        .map_err(|e| failed(e.to_string()))?;
    ModelSession::of(session, &options)
}

/// Numbers in [-1, 1) that are the same every time.
fn image(shape: [usize; 3]) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..shape.iter().product()).map(|_| random.f32() * 2.0 - 1.0).collect()
}
