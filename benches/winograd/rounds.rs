//! Both kinds of session, taking turns.

use std::sync::Barrier;
use std::time::Instant;

use repserve_runtime::{LoweredModel, ModelSession, Runtime, SessionModel, SessionOptions, median};

use crate::cases::{Case, Sessions};

/// Runs of a session in one turn of two sessions at once.
const RUNS: usize = 4;

pub(crate) struct Outcome {
    /// Median milliseconds a run, or images a second where sessions run at the same time; plain, then lowered.
    plain: f64,
    lowered: f64,
    rate: bool,
    difference: f32,
}

impl Outcome {
    pub(crate) fn times(&self) -> f64 {
        if self.rate {
            self.lowered / self.plain
        } else {
            self.plain / self.lowered
        }
    }

    /// The last four cells of the table.
    pub(crate) fn cells(&self) -> String {
        let unit = if self.rate { "images/s" } else { "ms" };
        format!(
            "{:.2} {unit} | {:.2} {unit} | {:.2} | {:.1e}",
            self.plain,
            self.lowered,
            self.times(),
            self.difference
        )
    }
}

pub(crate) fn alternate(
    runtime: &Runtime,
    plain: &SessionModel,
    lowered: &LoweredModel,
    case: &Case,
    rounds: usize,
) -> Outcome {
    let count = if case.sessions == Sessions::Two { 2 } else { 1 };
    let session = |model: &SessionModel| {
        let options = SessionOptions {
            threads: if case.sessions == Sessions::Wide { 2 } else { 1 },
            layers: model.layers.clone(),
            ..SessionOptions::default()
        };
        ModelSession::from_memory(runtime, &model.onnx, &options).unwrap()
    };
    let mut kinds = [plain, &lowered.model].map(|model| (0..count).map(|_| session(model)).collect::<Vec<_>>());
    let (images, shape) = (images(case.batch, case.shape()), case.shape());
    let outputs: Vec<Vec<f32>> = kinds
        .iter_mut()
        .map(|k| k[0].run(&images, shape).unwrap().concat())
        .collect();
    let mut values = [Vec::new(), Vec::new()];
    // The first round only warms up.
    for _ in 0..=rounds {
        for (sessions, values) in kinds.iter_mut().zip(&mut values) {
            values.push(match &mut sessions[..] {
                [session] => {
                    let start = Instant::now();
                    session.run(&images, shape).unwrap();
                    start.elapsed().as_secs_f64() * 1e3
                }
                sessions => together(sessions, &images, shape),
            });
        }
    }
    let [plain, lowered] = values.map(|values| median(&values[1..]).unwrap());
    Outcome {
        plain,
        lowered,
        rate: count > 1,
        difference: difference(&outputs[0], &outputs[1]),
    }
}

/// Images a second of all sessions, each on a thread of its own.
fn together(sessions: &mut [ModelSession], images: &[Vec<f32>], shape: [usize; 3]) -> f64 {
    let count = sessions.len();
    let barrier = Barrier::new(count);
    let seconds: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|session| {
                scope.spawn(|| {
                    // A thread's first run takes work space, which those that serve have had for long.
                    session.run(images, shape).unwrap();
                    barrier.wait();
                    let start = Instant::now();
                    (0..RUNS).for_each(|_| drop(session.run(images, shape).unwrap()));
                    start.elapsed().as_secs_f64()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).fold(0.0, f64::max)
    });
    (count * RUNS * images.len()) as f64 / seconds
}

fn images(batch: usize, shape: [usize; 3]) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut pixel = || random.f32() * 2.0 - 1.0;
    (0..batch)
        .map(|_| (0..shape.iter().product()).map(|_| pixel()).collect())
        .collect()
}

fn difference(expected: &[f32], found: &[f32]) -> f32 {
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let pairs = expected.iter().zip(found);
    pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}
