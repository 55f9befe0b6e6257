//! Whether what is served computes what the train-time graph does, in ONNX Runtime.

use super::error::{CompileError, Mismatch};
use super::fused::Fused;
use super::settings::VerifySettings;
use super::source::Source;
use repserve_graph::Model;
use repserve_graph::onnx;
use repserve_reparam::equivalence::{Equivalence, Output, Probe, Tolerance, compare, first_difference, observed};
use repserve_runtime::{ModelSession, Runtime, RuntimeError, SessionOptions};
use repserve_scheduler::Sessions;

/// Random inputs for images of this shape.
pub fn probes(image: [usize; 3], settings: &VerifySettings) -> Vec<Probe> {
    let batches: Vec<usize> = (0..settings.batches)
        .map(|i| if i == 0 { 1 } else { settings.batch_size })
        .collect();
    Probe::batches(&image, &batches, settings.seed)
}

/// How far a deploy graph agrees with its train-time graph.
#[derive(Debug)]
pub struct Verified {
    /// In numbers.
    pub equivalence: Equivalence,
    /// The deploy graph's outputs, one a probe.
    pub outputs: Vec<Output>,
}

impl Fused {
    /// Runs train-time and deploy graph on the probes and compares what they return.
    ///
    /// # Errors
    /// Where they differ by more than the settings allow, with the numbers and the first block that differs; where one does not run.
    pub fn verify(
        &self,
        runtime: &Runtime,
        probes: &[Probe],
        settings: &VerifySettings,
    ) -> Result<Verified, CompileError> {
        let tolerance = Tolerance {
            relative_error_max: settings.relative_error_max,
            top1_agreement_min: settings.top1_agreement_min,
        };
        let output = self.output().map(str::to_owned);
        let mut train = train_session(runtime, self.source())?;
        let mut deploy = memory_session(runtime, self.onnx(), output)?;
        let mut outputs = Vec::with_capacity(probes.len());
        let run_deploy = |probe: &Probe| -> Result<Output, RuntimeError> {
            let output = run(&mut deploy, probe)?;
            outputs.push(output.clone());
            Ok(output)
        };
        let equivalence = compare(probes, tolerance, |p| run(&mut train, p), run_deploy)?;
        if equivalence.holds() {
            return Ok(Verified { equivalence, outputs });
        }
        let place = match probes
            .first()
            .map(|probe| self.differing_block(runtime, probe, settings.relative_error_max))
        {
            Some(Ok(Some(place))) => place,
            _ => "no single block shows it".to_owned(),
        };
        Err(CompileError::Mismatch(Mismatch {
            what: "the deploy graph",
            reference: "the train-time graph",
            numbers: format!("{equivalence}; {place}"),
        }))
    }

    /// Says which block differs first. The train-time graph is parsed again for it.
    fn differing_block(
        &self,
        runtime: &Runtime,
        probe: &Probe,
        relative_error_max: f64,
    ) -> Result<Option<String>, CompileError> {
        let source = self.source();
        let train = onnx::read(source.onnx.clone(), &source.options.external).map_err(repserve_reparam::Error::from)?;
        let each = |model: &Model, names: &[&str]| -> Result<Vec<Output>, CompileError> {
            let value = |name: &&str| {
                let graph = onnx::write(observed(model.clone(), &[name])).map_err(repserve_reparam::Error::from)?;
                Ok(run(&mut memory_session(runtime, &graph, None)?, probe)?)
            };
            names.iter().map(value).collect()
        };
        let found = first_difference(
            &self.report().blocks,
            probe,
            relative_error_max,
            |_, names| each(&train, names),
            |_, names| each(self.model(), names),
        )?;
        Ok(found.map(|d| {
            format!(
                "the first block that differs makes {} (relative error {:.2e})",
                d.block, d.relative_error
            )
        }))
    }
}

/// Largest difference of lowered sessions from the plain deploy graph, relative to the largest output.
const LOWERED_ERROR_MAX: f64 = 1e-5;

/// Runs the sessions that will serve and compares what they return with `expected`, the deploy graph's outputs, one a probe. Returns the
/// largest relative difference.
///
/// # Errors
/// Where one differs by more than 1e-5 or in a best class, with the numbers; where one does not run.
pub(super) fn verify_lowered(
    sessions: &mut Sessions<ModelSession>,
    probes: &[Probe],
    expected: &[Output],
) -> Result<f64, CompileError> {
    let tolerance = Tolerance {
        relative_error_max: LOWERED_ERROR_MAX,
        top1_agreement_min: 1.0,
    };
    let narrow = sessions.narrow.first_mut().map(|s| ("a one-core session", s));
    let wide = sessions.wide.as_mut().map(|s| ("the all-core session", s));
    let mut worst: f64 = 0.0;
    for (name, session) in narrow.into_iter().chain(wide) {
        let mut outputs = expected.iter().cloned();
        let known = |_: &Probe| {
            let output = outputs.next();
            output.ok_or_else(|| RuntimeError::Run("a probe more than there are outputs".to_owned()))
        };
        let equivalence = compare(probes, tolerance, known, |p| run(session, p))?;
        if !equivalence.holds() {
            return Err(CompileError::Mismatch(Mismatch {
                what: "the graph with lowered layers",
                reference: "the deploy graph",
                numbers: format!("{equivalence}, in {name}; `runtime.kernels = \"off\"` serves without them"),
            }));
        }
        worst = worst.max(equivalence.relative_error);
    }
    Ok(worst)
}

/// The train-time graph; loaded from its file where there is one, since weights may lie beside it.
fn train_session(runtime: &Runtime, source: &Source) -> Result<ModelSession, CompileError> {
    let options = SessionOptions {
        threads: cores(),
        output: source.options.output.clone(),
        ..SessionOptions::default()
    };
    let session = match &source.file {
        Some(file) => ModelSession::from_file(runtime, file, &options),
        None => ModelSession::from_memory(runtime, &source.onnx, &options),
    };
    session.map_err(CompileError::TrainTime)
}

fn memory_session(runtime: &Runtime, onnx: &[u8], output: Option<String>) -> Result<ModelSession, RuntimeError> {
    let threads = cores();
    ModelSession::from_memory(
        runtime,
        onnx,
        &SessionOptions {
            threads,
            output,
            ..SessionOptions::default()
        },
    )
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run(session: &mut ModelSession, probe: &Probe) -> Result<Output, RuntimeError> {
    let [images, shape @ ..] = probe.shape.as_slice() else {
        return Err(RuntimeError::Run("a probe without extents".to_owned()));
    };
    let shape: [usize; 3] = shape
        .try_into()
        .map_err(|_| RuntimeError::Run(format!("a probe of {:?} is no batch of images", probe.shape)))?;
    let length: usize = shape.iter().product();
    let inputs: Vec<&[f32]> = probe.data.chunks(length.max(1)).collect();
    let rows = session.run(&inputs, shape)?;
    Ok(Output {
        shape: vec![*images, rows.first().map_or(0, Vec::len)],
        data: rows.concat(),
    })
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
        let expected = probes
            .iter()
            .map(|p| run(&mut plain, p))
            .collect::<Result<Vec<_>, _>>()?;
        verify_lowered(&mut sessions, &probes, &expected)
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
