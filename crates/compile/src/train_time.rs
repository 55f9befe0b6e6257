//! The train-time graph in ONNX Runtime: what it returns for probes, and how many images it takes at a time.

use std::time::Duration;

use super::arithmetic::Arithmetic;
use super::error::CompileError;
use super::fused::Fused;
use super::source::Source;
use super::verify::{cores, run};
use repserve_graph::ops::{BatchNormalization, Dropout, GraphView};
use repserve_graph::shapes::Shapes;
use repserve_graph::{Model, onnx};
use repserve_reparam::equivalence::{Output, Probe, relative_error};
use repserve_runtime::{
    Batching, Curve, ImageSession, ModelSession, Runtime, RuntimeError, SessionOptions, return_freed_memory,
};
use repserve_scheduler::Sessions;

/// Batches that are tried where a graph does not run single images.
const BATCHES_TRIED: [usize; 9] = [2, 4, 8, 16, 32, 3, 6, 64, 128];
/// Images of a batch that also run alone.
const ALONE_IMAGES: usize = 2;
/// How far the result of an image may be from that of the same image alone, as multiples of what two graphs may differ.
const OF_BATCH_FACTOR: f64 = 10.0;
/// The same where values are rounded to a grid, relative to the largest output: a value may cross to the next step.
const OF_BATCH_QUANTIZED: f64 = 0.05;

/// Operators that draw random numbers, whether or not they are given a seed.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// What the train-time graph returned.
#[derive(Debug)]
pub(super) struct Expected {
    /// One a probe, in order.
    pub(super) outputs: Vec<Output>,
    /// How many images it takes at a time.
    pub(super) batching: Batching,
}

/// CPU time that runs of one image may take beside those of the probes.
const TIMING: Duration = Duration::from_millis(20);

/// Runs the train-time graph on the probes; alone, image by image, where the result of an image depends on the others of its batch.
///
/// # Errors
/// It does not load or does not run.
pub(super) fn expected(
    runtime: &Runtime,
    source: &Source,
    output: Option<&str>,
    arithmetic: &Arithmetic,
    relative_error_max: f64,
    probes: &[Probe],
) -> Result<Expected, CompileError> {
    let options = SessionOptions {
        threads: cores(),
        output: output.map(str::to_owned),
        optimization: arithmetic.optimization(),
        ..SessionOptions::default()
    };
    let mut session = load(runtime, source, &options)?;
    let mut batching = Batching::Free;
    let mut known: Vec<Option<Output>> = probes.iter().map(|_| None).collect();
    if let (Some(single), Some(known)) = (probes.first(), known.first_mut()) {
        let found;
        (session, batching, found) = running(session, single)?;
        *known = Some(found);
    }
    let batch = probes
        .iter()
        .position(|probe| probe.shape.first().is_some_and(|n| *n > 1));
    if let Some(place) = batch.filter(|_| batching == Batching::Free) {
        let found;
        (session, batching, found) = of_batch(session, &probes[place], arithmetic, relative_error_max)?;
        known[place] = Some(found);
    }
    let outputs = probes.iter().zip(known).map(|(probe, known)| match known {
        Some(output) => Ok(output),
        None => run(&mut session, probe).map(|answer| answer.main),
    });
    let outputs = outputs.collect::<Result<_, _>>().map_err(CompileError::TrainTime)?;
    drop(session);
    return_freed_memory();
    Ok(Expected { outputs, batching })
}

/// The session, with whether the images of a batch may run together, and what it returned for the batch.
fn of_batch(
    session: ModelSession,
    probe: &Probe,
    arithmetic: &Arithmetic,
    relative_error_max: f64,
) -> Result<(ModelSession, Batching, Output), CompileError> {
    let mut session = session;
    let together = run(&mut session, probe).map(|answer| answer.main);
    let mut session = session.with_batching(Batching::Alone);
    if let Ok(together) = &together
        && !arithmetic.grid_of_batch
    {
        let differ_max = match arithmetic.quantized {
            true => OF_BATCH_QUANTIZED,
            false => OF_BATCH_FACTOR * relative_error_max,
        };
        let (shape, data) = first_images(&probe.shape, &probe.data, ALONE_IMAGES);
        let label = probe.label.clone();
        let alone = run(&mut session, &Probe { label, shape, data })?.main;
        let (shape, data) = first_images(&together.shape, &together.data, ALONE_IMAGES);
        if same(&alone, &Output { shape, data }, differ_max) {
            return Ok((session.with_batching(Batching::Free), Batching::Free, together.clone()));
        }
    }
    let batching = match together {
        Ok(_) => Batching::Alone,
        Err(_) => Batching::Fixed(1),
    };
    let alone = run(&mut session, probe)?.main;
    Ok((session.with_batching(batching), batching, alone))
}

impl Fused {
    /// What the train-time graph takes for one image in a session on one core, in milliseconds of CPU time, as the sessions that will serve are
    /// measured. `None` where that fails: nothing depends on it.
    pub(super) fn train_time_ms(&self, runtime: &Runtime, single: &Probe) -> Option<f64> {
        let shape = single.shape.get(1..)?.try_into().ok()?;
        let options = SessionOptions {
            threads: 1,
            output: self.output().map(str::to_owned),
            ..SessionOptions::default()
        };
        let session = load(runtime, self.source(), &options).ok()?;
        let mut sessions = Sessions {
            narrow: vec![ImageSession::new(session, shape)],
            wide: None,
        };
        let curve = Curve::measure(&mut sessions, &single.data, 1, TIMING, true).ok()?;
        drop(sessions);
        return_freed_memory();
        Some(curve.narrow.first()?.latency_ms)
    }
}

/// The extents and values of the first images of a batch of `shape`, the batch first.
fn first_images(shape: &[usize], data: &[f32], images: usize) -> (Vec<usize>, Vec<f32>) {
    let (all, image) = shape.split_first().map_or((1, shape), |(all, image)| (*all, image));
    let kept = images.min(all);
    let values = data.len() / all.max(1) * kept;
    ([&[kept], image].concat(), data[..values].to_vec())
}

/// Whether two outputs are the same up to an error. What is not a number in both is the same.
fn same(a: &Output, b: &Output, relative_error_max: f64) -> bool {
    let finite = |output: &Output| output.data.iter().all(|x| x.is_finite());
    if !finite(a) || !finite(b) {
        return finite(a) == finite(b);
    }
    a.data.len() == b.data.len() && relative_error(&a.data, &b.data, 1e-6) <= relative_error_max
}

/// The session, with a batch that it runs, and what it returned.
fn running(mut session: ModelSession, single: &Probe) -> Result<(ModelSession, Batching, Output), CompileError> {
    let first = match run(&mut session, single) {
        Ok(answer) => return Ok((session, Batching::Free, answer.main)),
        Err(error) => error,
    };
    if session.input().batch.is_none() {
        for images in BATCHES_TRIED {
            session = session.with_batching(Batching::Fixed(images));
            if let Ok(answer) = run(&mut session, single) {
                return Ok((session, Batching::Fixed(images), answer.main));
            }
        }
    }
    Err(CompileError::TrainTime(first))
}

impl Fused {
    /// A session of the train-time graph as it was found, in ONNX Runtime alone, on all cores. It runs image by image, so that no result depends on
    /// the others of a batch.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn train_time_session(&self, runtime: &Runtime) -> Result<ModelSession, CompileError> {
        let options = SessionOptions {
            threads: cores(),
            output: self.output().map(str::to_owned),
            ..SessionOptions::default()
        };
        let session = load(runtime, self.source(), &options)?;
        Ok(session.with_batching(Batching::Alone))
    }
}

/// The train-time graph; loaded from its file where there is one, since weights may lie beside it.
fn load(runtime: &Runtime, source: &Source, options: &SessionOptions) -> Result<ModelSession, CompileError> {
    let Some(file) = &source.file else {
        return ModelSession::from_memory(runtime, &source.onnx, options).map_err(CompileError::TrainTime);
    };
    let session = ModelSession::from_file(runtime, file, options);
    session.or_else(|error| {
        // ONNX Runtime follows no links to data that lies elsewhere, as caches lay them.
        let whole = source.model().ok().and_then(|model| onnx::write(model).ok());
        let whole = whole.ok_or_else(|| CompileError::TrainTime(RuntimeError::Model(error.to_string())))?;
        ModelSession::from_memory(runtime, &whole, options).map_err(|_| CompileError::TrainTime(error))
    })
}

/// Refuses a graph whose results depend on the batch or on chance: one that was exported for training, or that draws random numbers.
///
/// # Errors
/// Where it is one, with the operator and what to do.
pub(super) fn check_mode(model: &Model) -> Result<(), CompileError> {
    let graph = &model.graph;
    let shapes = Shapes::of_model(model);
    let view = GraphView::of(model, &shapes);
    for (_, node) in graph.nodes() {
        let seen = view.node(node);
        let normalizes = matches!(BatchNormalization::of(&seen), Ok(Some(normalization)) if normalization.trains);
        let drops = matches!(Dropout::of(&seen), Ok(Some(dropout)) if dropout.trains);
        let operator = node.op.clone();
        let output = node.output(0).map_or(String::new(), |v| graph.value(v).name.clone());
        if normalizes || drops {
            return Err(CompileError::TrainingMode { operator, output });
        }
        if RANDOM.iter().any(|op| node.is(op)) {
            return Err(CompileError::Random { operator, output });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(data: &[f32]) -> Output {
        Output {
            shape: vec![1, data.len()],
            data: data.to_vec(),
        }
    }

    #[test]
    fn graphs_that_draw_random_numbers_are_refused() {
        use repserve_graph::{Node, Value};
        let mut model = Model::default();
        let [x, noise] = ["x", "noise"].map(|name| model.graph.add_value(Value::named(name)));
        model
            .graph
            .push_node(Node::new("RandomNormalLike", vec![x], vec![noise]));
        let error = check_mode(&model).unwrap_err().to_string();
        assert!(
            error.starts_with("RandomNormalLike (which makes \"noise\") draws random numbers"),
            "{error}"
        );
    }

    #[test]
    fn outputs_that_are_no_numbers_are_the_same_as_such() {
        let [a, nan] = [output(&[1.0, 2.0]), output(&[f32::NAN, 2.0])];
        assert!(same(&a, &output(&[1.0, 2.001]), 1e-3));
        assert!(!same(&a, &output(&[1.0, 2.1]), 1e-3));
        assert!(same(&nan, &nan, 1e-3) && !same(&a, &nan, 1e-3));
    }
}
