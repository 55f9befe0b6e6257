//! Both graphs under ONNX Runtime's profiler, taking turns: every layer is timed in its place, with its weights as cold and its
//! input as warm as they will be.

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

/// Runs the models in turns on one image of `shape` (channels, height, width); `output` is the one to read, the first if not given.
///
/// # Errors
/// A model does not load or run, or the profile cannot be written.
pub(super) fn measure(
    runtime: &Runtime,
    models: [&SessionModel; 2],
    shape: [usize; 3],
    output: Option<&str>,
) -> Result<[Measured; 2], RuntimeError> {
    let folder = tempfile::tempdir()?;
    let profiled = |model: &SessionModel, name: &str| {
        let options = SessionOptions {
            threads: 1,
            layers: model.layers.clone(),
            output: output.map(str::to_owned),
            ..SessionOptions::default()
        };
        let failed = |e: String| RuntimeError::Model(e);
        let mut builder = builder(runtime, &options)?
            .with_profiling(folder.path().join(name))
            .map_err(|e| failed(e.to_string()))?;
        let session = builder
            .commit_from_memory(&model.onnx)
            .map_err(|e| failed(e.to_string()))?;
        ModelSession::of(session, &options)
    };
    let [plain, lowered] = models;
    let mut sessions = [profiled(plain, "plain")?, profiled(lowered, "lowered")?];
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

/// Numbers in [-1, 1) that are the same every time.
fn image(shape: [usize; 3]) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..shape.iter().product()).map(|_| random.f32() * 2.0 - 1.0).collect()
}
