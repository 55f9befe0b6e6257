//! Whether what is served computes what the train-time graph does, in ONNX Runtime.

use std::collections::BTreeSet;

use super::arithmetic::Arithmetic;
use super::bisect::largest_passing;
use super::embedding::{self, compare_embedded};
use super::error::{CompileError, Mismatch};
use super::fused::Fused;
use super::settings::{VerifyOtherwise, VerifySettings};
use super::train_time::{self, Expected};
use repserve_graph::{Model, onnx};
use repserve_preprocess::Preprocess;
use repserve_reparam::Unfused;
use repserve_reparam::equivalence::{
    Difference, Equivalence, Output, Probe, Tolerance, compare, first_difference, observed, relative_error,
};
use repserve_reparam::reason::Reason;
use repserve_reparam::report::Refusal;
use repserve_runtime::{
    Batching, ImageSession, ModelSession, MultiOutputSession, Optimization, Row, Runtime, RuntimeError, SessionOptions,
    return_freed_memory,
};
use repserve_scheduler::{Session, SessionError, Sessions};
use serde::{Deserialize, Serialize};

/// Random inputs for images of this shape.
pub fn probes(image: [usize; 3], settings: &VerifySettings) -> Vec<Probe> {
    let batches: Vec<usize> = (0..settings.batches)
        .map(|i| if i == 0 { 1 } else { settings.batch_size })
        .collect();
    Probe::batches(&image, &batches, settings.seed)
}

/// Random inputs for images of this shape, of values that preprocessing makes of pixels.
pub fn probes_of(preprocess: &Preprocess, image: [usize; 3], settings: &VerifySettings) -> Vec<Probe> {
    let mut probes = probes(image, settings);
    let [channels, height, width] = image;
    for probe in &mut probes {
        for (at, value) in probe.data.iter_mut().enumerate() {
            let channel = at / (height * width).max(1) % channels.max(1);
            let byte = (128.0 + 64.0 * *value).clamp(0.0, 255.0) as u8;
            *value = preprocess.value(channel, byte);
        }
    }
    probes
}

/// How far a deploy graph agrees with its train-time graph.
#[derive(Debug)]
pub struct Verified {
    /// In numbers.
    pub equivalence: Equivalence,
    /// The probes on which they were compared.
    pub probes: Vec<Probe>,
    /// The deploy graph's outputs, one a probe.
    pub outputs: Vec<Output>,
    /// The train-time graph's output for the first probe.
    pub answer: Output,
    /// The deploy graph's embeddings, for each probe one output each.
    pub embedded: Vec<Vec<Output>>,
    /// How many images a run of the deploy graph takes.
    pub batching: Batching,
    /// Milliseconds of CPU time that the train-time graph took for one image in ONNX Runtime on one core; `None` where that was not measured.
    pub train_time_ms: Option<f64>,
}

/// What graphs are compared with.
struct Check<'a> {
    runtime: &'a Runtime,
    probes: &'a [Probe],
    expected: &'a Expected,
    tolerance: Tolerance,
}

impl Fused {
    /// Runs train-time and deploy graph on the probes and compares what they return. Where they differ, the blocks that differ are left
    /// unfused, all of them if need be, unless the settings say otherwise; the report then has the reason. Returns the graph that agrees.
    ///
    /// # Errors
    /// A train-time graph that does not run, returns no numbers or is one for training; a difference, where the settings refuse it.
    pub fn verified(
        self,
        runtime: &Runtime,
        probes: Vec<Probe>,
        settings: &VerifySettings,
    ) -> Result<(Self, Verified), CompileError> {
        self.verified_and_timed(runtime, probes, settings, false)
    }

    /// The same; `timed`: the train-time graph is also timed, on one core, while the deploy graph runs.
    pub(super) fn verified_and_timed(
        mut self,
        runtime: &Runtime,
        probes: Vec<Probe>,
        settings: &VerifySettings,
        timed: bool,
    ) -> Result<(Self, Verified), CompileError> {
        train_time::check_mode(self.model())?;
        let arithmetic = Arithmetic::of(self.model());
        let tolerance = arithmetic.tolerance(&self.end(), settings);
        let error_max = tolerance.relative_error_max;
        let output = self.output();
        let expected = train_time::expected(runtime, self.source(), output, &arithmetic, error_max, &probes)?;
        let (probes, expected) = finite(probes, expected)?;
        if self.source().file.is_some() {
            self.forget_source();
        }
        let check = Check {
            runtime,
            probes: &probes,
            expected: &expected,
            tolerance,
        };
        let single = probes
            .first()
            .filter(|_| timed && !matches!(expected.batching, Batching::Fixed(2..)));
        let (checked, train_time_ms) = std::thread::scope(|scope| {
            let timing = single.map(|single| scope.spawn(|| self.train_time_ms(runtime, single)));
            let checked = check.run(&self);
            (checked, timing.and_then(|timing| timing.join().ok().flatten()))
        });
        let (mut fused, mut verified) = match checked {
            Ok(verified) => (self, verified),
            Err(error) => {
                let error = check.placed(&self, error);
                if settings.otherwise == VerifyOtherwise::Refuse {
                    return Err(error);
                }
                check.unfused(&self, &error)?
            }
        };
        if verified.batching == Batching::Alone {
            fused.report_mut().warnings.push(
                "the result of an image depends on the others of its batch; images are run one at a time".to_owned(),
            );
        }
        verified.embedded = embedding::embedded(runtime, &fused, &probes, verified.batching, error_max)?;
        verified.probes = probes;
        verified.train_time_ms = train_time_ms;
        Ok((fused, verified))
    }
}

/// How far values of both graphs differ on one image.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ErrorsByValue {
    /// The graph's outputs.
    pub outputs: Vec<ValueError>,
    /// What each fused block makes, in graph order.
    pub blocks: Vec<ValueError>,
}

/// How far one value of both graphs differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueError {
    /// Its name, the same in both graphs.
    pub value: String,
    /// The largest difference relative to the largest value; none where it is no number.
    pub relative_error: Option<f64>,
}

impl Fused {
    /// Runs both graphs on the first image of a probe and compares each output, and what each block makes.
    ///
    /// # Errors
    /// A graph that does not run for what is inside it.
    pub fn errors_by_value(&self, runtime: &Runtime, probe: &Probe) -> Result<ErrorsByValue, CompileError> {
        let train = self.source().model()?;
        let deploy = &self.model().graph;
        let outputs: Vec<&str> = deploy.outputs.iter().map(|v| deploy.value(*v).name.as_str()).collect();
        let blocks = self.report().blocks.iter().map(|block| block.output.as_str());
        let known = |name: &&str| deploy.find(name).is_some() && train.graph.find(name).is_some();
        let mut names: Vec<&str> = Vec::new();
        for name in outputs.iter().copied().chain(blocks).filter(known) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let [a, b] = [&train, self.model()].map(|model| values_of(runtime, model, &names, probe));
        let (a, b) = (a?, b?);
        let errors = names.iter().zip(a.iter().zip(&b)).map(|(name, (a, b))| {
            let error = (a.len() == b.len() && !a.is_empty()).then(|| relative_error(a, b, 0.0));
            ValueError {
                value: (*name).to_owned(),
                relative_error: error.filter(|error| error.is_finite()),
            }
        });
        let (outputs, blocks) = errors.partition(|error| outputs.contains(&error.value.as_str()));
        Ok(ErrorsByValue { outputs, blocks })
    }
}

/// These values of a graph, for the first image of a probe.
fn values_of(runtime: &Runtime, model: &Model, names: &[&str], probe: &Probe) -> Result<Vec<Vec<f32>>, CompileError> {
    let &[_, channels, height, width] = &probe.shape[..] else {
        return Ok(vec![Vec::new(); names.len()]);
    };
    let shape = [channels, height, width];
    let graph = onnx::write(observed(model.clone(), names)).map_err(repserve_reparam::Error::from)?;
    let mut session = MultiOutputSession::from_memory(runtime, &graph, cores())?;
    let image = probe.data.get(..shape.iter().product()).unwrap_or_default();
    Ok(session.run(image, shape)?.into_iter().map(|(_, data)| data).collect())
}

/// The probes for which the train-time graph returns numbers, and what it returns.
fn finite(probes: Vec<Probe>, expected: Expected) -> Result<(Vec<Probe>, Expected), CompileError> {
    let images = probes.iter().filter_map(|probe| probe.shape.first()).sum();
    let failed = |output: &Output| {
        let rows = output.shape.first().copied().unwrap_or(1).max(1);
        let rows = output.data.chunks((output.data.len() / rows).max(1));
        rows.filter(|row| !row.iter().all(|x| x.is_finite())).count()
    };
    let all: usize = expected.outputs.iter().map(failed).sum();
    let pairs = probes.into_iter().zip(expected.outputs);
    let (probes, outputs): (Vec<_>, Vec<_>) = pairs.filter(|(_, output)| failed(output) == 0).unzip();
    if probes.is_empty() {
        return Err(CompileError::NotFinite { failed: all, images });
    }
    if all > 0 {
        tracing::warn!(
            failed = all,
            images,
            "the train-time graph returns NaN or infinity for some random images"
        );
    }
    Ok((probes, Expected { outputs, ..expected }))
}

impl Check<'_> {
    /// Compares a deploy graph: in batches of any size where it can, otherwise in those that the train-time graph takes.
    fn run(&self, fused: &Fused) -> Result<Verified, CompileError> {
        let batching = self.expected.batching;
        if let Batching::Fixed(_) = batching
            && let Ok(verified) = self.run_with(fused, Batching::Free)
        {
            return Ok(verified);
        }
        self.run_with(fused, batching)
    }

    fn run_with(&self, fused: &Fused, batching: Batching) -> Result<Verified, CompileError> {
        let output = fused.output().map(str::to_owned);
        let mut deploy = memory_session(self.runtime, fused.onnx(), output)?.with_batching(batching);
        let mut known = self.expected.outputs.iter().cloned();
        let train = |_: &Probe| known.next().ok_or_else(one_more);
        let mut outputs = Vec::with_capacity(self.probes.len());
        let run_deploy = |probe: &Probe| -> Result<Output, RuntimeError> {
            let output = run(&mut deploy, probe)?.main;
            outputs.push(output.clone());
            Ok(output)
        };
        let equivalence = compare(self.probes, self.tolerance, train, run_deploy)?;
        drop(deploy);
        fused.release();
        return_freed_memory();
        if !equivalence.holds() {
            return Err(CompileError::Mismatch(Mismatch {
                what: "the deploy graph",
                reference: "the train-time graph",
                numbers: equivalence.to_string(),
            }));
        }
        Ok(Verified {
            equivalence,
            probes: Vec::new(),
            outputs,
            answer: self.expected.outputs.first().cloned().ok_or_else(one_more)?,
            embedded: Vec::new(),
            batching,
            train_time_ms: None,
        })
    }

    /// The error, with the first block that differs where it is a difference.
    fn placed(&self, fused: &Fused, error: CompileError) -> CompileError {
        let CompileError::Mismatch(mut mismatch) = error else {
            return error;
        };
        let place = self.probes.first().map(|probe| self.differing_block(fused, probe));
        let place = match place {
            Some(Ok(Some(difference))) => format!(
                "the first block that differs makes {} (relative error {:.2e})",
                difference.block, difference.relative_error
            ),
            _ => "no single block shows it".to_owned(),
        };
        mismatch.numbers = format!("{}; {place}", mismatch.numbers);
        CompileError::Mismatch(mismatch)
    }

    /// Which block differs first. The train-time graph is parsed again for it.
    fn differing_block(&self, fused: &Fused, probe: &Probe) -> Result<Option<Difference>, CompileError> {
        let train = fused.source().model()?;
        let each = |model: &Model, names: &[&str]| -> Result<Vec<Output>, CompileError> {
            let value = |name: &&str| {
                let graph = onnx::write(observed(model.clone(), &[name])).map_err(repserve_reparam::Error::from)?;
                let session = memory_session(self.runtime, &graph, None)?;
                Ok(run(&mut session.with_batching(self.expected.batching), probe)?.main)
            };
            names.iter().map(value).collect()
        };
        first_difference(
            &fused.report().blocks,
            probe,
            self.tolerance.relative_error_max,
            |_, names| each(&train, names),
            |_, names| each(fused.model(), names),
        )
    }

    /// The graph of which as many blocks are fused as the comparison allows; the whole of it unfused where nothing else agrees.
    fn unfused(&self, fused: &Fused, error: &CompileError) -> Result<(Fused, Verified), CompileError> {
        let blocks = &fused.report().blocks;
        let mut best: Option<(Fused, Verified)> = None;
        let made = largest_passing(blocks.len(), |made| -> Result<bool, CompileError> {
            let left = blocks.iter().zip(made).filter(|(_, made)| !**made);
            let names: BTreeSet<String> = left.map(|(block, _)| block.output.clone()).collect();
            let trial = fused.again(Unfused::Blocks(names))?;
            let verified = self.run(&trial);
            Ok(match verified {
                Ok(verified) => {
                    best = Some((trial, verified));
                    true
                }
                Err(_) => false,
            })
        })?;
        let (mut found, verified) = match best {
            Some(found) => found,
            None => {
                let plain = fused.again(Unfused::All)?;
                let verified = self.run(&plain)?;
                (plain, verified)
            }
        };
        let left = blocks.iter().zip(&made).filter(|(_, made)| !**made);
        let refusals = left.map(|(block, _)| Refusal {
            block: block.output.clone(),
            reason: Reason::Differs(error.to_string()),
            nodes: block.nodes.clone(),
        });
        let refusals: Vec<_> = refusals.collect();
        let warning = format!(
            "{} of {} blocks are left unfused: {error}",
            refusals.len(),
            blocks.len()
        );
        let report = found.report_mut();
        report.refusals.extend(refusals);
        report.warnings.push(warning);
        Ok((found, verified))
    }
}

fn one_more() -> RuntimeError {
    RuntimeError::Run("a probe more than there are outputs".to_owned())
}

/// Largest difference of lowered sessions from the plain deploy graph, relative to the largest output.
pub(super) const LOWERED_ERROR_MAX: f64 = 1e-5;

/// Runs the sessions that will serve and compares what they return with what the deploy graph did. Returns the largest relative
/// difference.
///
/// # Errors
/// Where one differs by more than 1e-5 or in a best class, with the numbers; where one does not run.
pub(super) fn verify_lowered(sessions: &mut Sessions<ModelSession>, verified: &Verified) -> Result<f64, CompileError> {
    let tolerance = Tolerance {
        relative_error_max: LOWERED_ERROR_MAX,
        scale_min: verified.equivalence.tolerance.scale_min,
        top1_agreement_min: 1.0,
    };
    let narrow = sessions.narrow.first_mut().map(|s| ("a one-core session", s));
    let wide = sessions.wide.as_mut().map(|s| ("the all-core session", s));
    let mut worst: f64 = 0.0;
    for (name, session) in narrow.into_iter().chain(wide) {
        let mut outputs = verified.outputs.iter().cloned();
        let known = |_: &Probe| outputs.next().ok_or_else(one_more);
        let mut embedded = verified.embedded.iter();
        let mut embedding_error: f64 = 0.0;
        let found = |probe: &Probe| {
            let Answer { main, further } = run(session, probe)?;
            let error = compare_embedded(embedded.next().map_or(&[], Vec::as_slice), &further);
            embedding_error = if error <= embedding_error {
                embedding_error
            } else {
                error
            };
            Ok::<_, RuntimeError>(main)
        };
        let equivalence = compare(&verified.probes, tolerance, known, found)?;
        // Not a number is refused as well.
        let embeddings_hold = embedding_error <= LOWERED_ERROR_MAX;
        if !equivalence.holds() || !embeddings_hold {
            return Err(CompileError::Mismatch(Mismatch {
                what: "the graph with lowered layers",
                reference: "the deploy graph",
                numbers: format!(
                    "{equivalence}, relative error of embeddings {embedding_error:.2e}, in {name}; `runtime.kernels = \"off\"` serves without them"
                ),
            }));
        }
        worst = worst.max(equivalence.relative_error);
    }
    Ok(worst)
}

fn memory_session(runtime: &Runtime, onnx: &[u8], output: Option<String>) -> Result<ModelSession, RuntimeError> {
    let threads = cores();
    ModelSession::from_memory(
        runtime,
        onnx,
        &SessionOptions {
            threads,
            output,
            optimization: Optimization::Fusing,
            ..SessionOptions::default()
        },
    )
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a session makes of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The output that is read.
    pub(super) main: Output,
    /// The embeddings.
    pub(super) further: Vec<Output>,
}

impl Answer {
    fn of(rows: Vec<Row>) -> Self {
        let embeddings = rows.first().map_or(0, |row| row.further.len());
        let output = |values: Vec<&[f32]>| Output {
            shape: vec![values.len(), values.first().map_or(0, |values| values.len())],
            data: values.concat(),
        };
        let further = |at: usize| output(rows.iter().map(|row| &row.further[at][..]).collect());
        Self {
            further: (0..embeddings).map(further).collect(),
            main: output(rows.iter().map(|row| &row.values[..]).collect()),
        }
    }
}

/// What a session makes of a probe.
pub(super) fn run(session: &mut ModelSession, probe: &Probe) -> Result<Answer, RuntimeError> {
    let [_, shape @ ..] = probe.shape.as_slice() else {
        return Err(RuntimeError::Run("a probe without extents".to_owned()));
    };
    let shape: [usize; 3] = shape
        .try_into()
        .map_err(|_| RuntimeError::Run(format!("a probe of {:?} is no batch of images", probe.shape)))?;
    let length: usize = shape.iter().product();
    let inputs: Vec<&[f32]> = probe.data.chunks(length.max(1)).collect();
    Ok(Answer::of(session.run_rows(&inputs, shape)?))
}

/// What a session of images makes of a probe.
pub(super) fn run_image(session: &mut ImageSession, probe: &Probe) -> Result<Answer, SessionError> {
    let images = probe.shape.first().copied().unwrap_or(1).max(1);
    let inputs: Vec<Vec<f32>> = probe
        .data
        .chunks((probe.data.len() / images).max(1))
        .map(<[f32]>::to_vec)
        .collect();
    Ok(Answer::of(session.run(&inputs)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use repserve_graph::Tensor;
    use repserve_graph::onnx::ExternalData;
    use repserve_runtime::{Pool, RuntimeSettings, SessionModel};
    use repserve_scheduler::Width;

    const MODEL: &[u8] = include_bytes!("../../../models/repvgg-cifar10/model.bn_folded.onnx");

    /// Compares the model with sessions of what `change` makes of its constants.
    fn check(change: impl Fn(f32) -> f32) -> Result<f64, CompileError> {
        let runtime = Runtime::load(None)?;
        let mut model = onnx::read(Bytes::from_static(MODEL), &ExternalData::None).unwrap();
        let constants: Vec<_> = model.graph.constants().map(|(id, t)| (id, t.clone())).collect();
        for (id, tensor) in constants.iter().filter(|(_, t)| t.shape().len() == 4) {
            let values = tensor.data().as_chunks::<4>().0.iter();
            let values: Vec<f32> = values.map(|b| change(f32::from_le_bytes(*b))).collect();
            model.graph.set_constant(*id, Tensor::from_f32(tensor.shape(), &values));
        }
        let changed = SessionModel::encode(model)?;
        let pool = Pool::new(&runtime, changed, None, &RuntimeSettings::default())?;
        let mut sessions = pool.sessions(pool.session(Width::Narrow)?)?;
        let probes = probes([3, 32, 32], &VerifySettings::default());
        let mut plain = memory_session(&runtime, MODEL, None)?;
        let mut again = memory_session(&runtime, MODEL, None)?;
        let outputs = probes
            .iter()
            .map(|p| Ok(run(&mut plain, p)?.main))
            .collect::<Result<Vec<_>, RuntimeError>>()?;
        let verified = Verified {
            equivalence: compare(
                &probes,
                Tolerance::default(),
                |p| Ok(run(&mut plain, p)?.main),
                |p| Ok(run(&mut again, p)?.main),
            )?,
            probes,
            answer: outputs[0].clone(),
            embedded: Vec::new(),
            outputs,
            batching: Batching::Free,
            train_time_ms: None,
        };
        verify_lowered(&mut sessions, &verified)
    }

    #[test]
    fn sessions_that_compute_the_same_pass() {
        assert!(check(|weight| weight).unwrap() <= LOWERED_ERROR_MAX);
    }

    #[test]
    fn sessions_that_compute_something_else_are_refused_with_the_numbers() {
        let error = check(|weight| weight * 1.001).unwrap_err();
        assert!(matches!(error, CompileError::Mismatch(_)));
        let text = error.to_string();
        assert!(
            text.contains("relative error") && text.contains("runtime.kernels"),
            "{text}"
        );
    }
}
