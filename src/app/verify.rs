//! Whether the deploy graph computes what the train-time graph does, in ONNX Runtime.

use std::path::Path;

use anyhow::{Context, ensure};
use bytes::Bytes;

use crate::config::VerifySettings;
use repserve_graph::onnx::ExternalData;
use repserve_reparam::equivalence::{Equivalence, Output, Probe, Tolerance, compare, first_difference, observed};
use repserve_reparam::{Deployed, Options};
use repserve_runtime::{ModelSession, Runtime, RuntimeError, SessionOptions};
use repserve_scheduler::Sessions;

/// The two graphs of a model.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The train-time graph.
    pub source: &'a Bytes,
    /// The file it came from; its external data lies beside it.
    pub file: Option<&'a Path>,
    /// What was made of it.
    pub deployed: &'a Deployed,
    /// How: the output that was kept, where external data may be read.
    pub options: &'a Options,
}

/// What would be served is another function than it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not compute what {reference} does: {numbers}")]
pub struct Mismatch {
    what: &'static str,
    reference: &'static str,
    numbers: String,
}

/// Random inputs for images of this shape.
pub fn probes(image: [usize; 3], settings: &VerifySettings) -> Vec<Probe> {
    let batches: Vec<usize> = (0..settings.batches)
        .map(|i| if i == 0 { 1 } else { settings.batch_size })
        .collect();
    Probe::batches(&image, &batches, settings.seed)
}

/// Runs both graphs on the probes and compares what they answer. The deploy graph's answers come along, one a probe.
///
/// # Errors
/// Where they differ by more than the settings allow, with the numbers and the first block that differs; where one does not run.
pub fn verify(
    runtime: &Runtime,
    pair: Pair<'_>,
    probes: &[Probe],
    settings: &VerifySettings,
) -> anyhow::Result<(Equivalence, Vec<Output>)> {
    let tolerance = Tolerance {
        relative_error_max: settings.relative_error_max,
        top1_agreement_min: settings.top1_agreement_min,
    };
    let mut train = train_session(runtime, pair)?;
    let mut deploy = memory_session(runtime, &pair.deployed.onnx, pair.options.output.clone())?;
    let mut answers = Vec::with_capacity(probes.len());
    let answer = |probe: &Probe| -> Result<Output, RuntimeError> {
        let answer = run(&mut deploy, probe)?;
        answers.push(answer.clone());
        Ok(answer)
    };
    let equivalence = compare(probes, tolerance, |p| run(&mut train, p), answer)?;
    if !equivalence.holds() {
        let place = match probes
            .first()
            .map(|probe| differing_block(runtime, pair, probe, settings))
        {
            Some(Ok(Some(place))) => place,
            _ => "no single block shows it".to_owned(),
        };
        anyhow::bail!(Mismatch {
            what: "the deploy graph",
            reference: "the train-time graph",
            numbers: format!("{equivalence}; {place}"),
        });
    }
    Ok((equivalence, answers))
}

/// Largest difference of lowered sessions from the plain deploy graph, relative to the largest output.
const LOWERED_ERROR_MAX: f64 = 1e-5;

/// Runs the sessions that will serve and compares what they answer with `expected`, the deploy graph's answers, one a probe. Returns the
/// largest relative difference.
///
/// # Errors
/// Where one differs by more than 1e-5 or in a best class, with the numbers; where one does not run.
pub(super) fn verify_lowered(
    sessions: &mut Sessions<ModelSession>,
    probes: &[Probe],
    expected: &[Output],
) -> anyhow::Result<f64> {
    let tolerance = Tolerance {
        relative_error_max: LOWERED_ERROR_MAX,
        top1_agreement_min: 1.0,
    };
    let narrow = sessions.narrow.first_mut().map(|s| ("a one-core session", s));
    let wide = sessions.wide.as_mut().map(|s| ("the all-core session", s));
    let mut worst: f64 = 0.0;
    for (name, session) in narrow.into_iter().chain(wide) {
        let mut answers = expected.iter().cloned();
        let answer = |_: &Probe| {
            let answer = answers.next();
            answer.ok_or_else(|| RuntimeError::Run("a probe more than there are answers".to_owned()))
        };
        let equivalence = compare(probes, tolerance, answer, |p| run(session, p))?;
        if !equivalence.holds() {
            anyhow::bail!(Mismatch {
                what: "the graph with lowered layers",
                reference: "the deploy graph",
                numbers: format!("{equivalence}, in {name}; `runtime.winograd = \"off\"` serves without them"),
            });
        }
        worst = worst.max(equivalence.relative_error);
    }
    Ok(worst)
}

/// The train-time graph; loaded from its file where weights lie beside it.
fn train_session(runtime: &Runtime, pair: Pair<'_>) -> anyhow::Result<ModelSession> {
    let options = SessionOptions {
        threads: cores(),
        output: pair.options.output.clone(),
        ..SessionOptions::default()
    };
    let session = match pair.file {
        Some(file) => ModelSession::from_file(runtime, file, &options),
        None => ModelSession::from_memory(runtime, pair.source, &options),
    };
    session.context("the train-time graph")
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

/// Says which block differs first.
fn differing_block(
    runtime: &Runtime,
    pair: Pair<'_>,
    probe: &Probe,
    settings: &VerifySettings,
) -> anyhow::Result<Option<String>> {
    let each = |onnx: Bytes, external: &ExternalData, names: &[&str]| -> anyhow::Result<Vec<Output>> {
        let value = |name: &&str| {
            let graph = observed(onnx.clone(), external, &[name])?;
            Ok(run(&mut memory_session(runtime, &graph, None)?, probe)?)
        };
        names.iter().map(value).collect()
    };
    let deployed = Bytes::copy_from_slice(&pair.deployed.onnx);
    let found = first_difference(
        &pair.deployed.report.blocks,
        probe,
        settings.relative_error_max,
        |_, names| each(pair.source.clone(), &pair.options.external, names),
        |_, names| each(deployed.clone(), &ExternalData::None, names),
    )?;
    Ok(found.map(|d| {
        format!(
            "the first block that differs makes {} (relative error {:.2e})",
            d.block, d.relative_error
        )
    }))
}

/// Checks that the graph takes images of the size that `model.toml` says.
pub(super) fn check_size(graph: [Option<usize>; 3], size: [usize; 2]) -> anyhow::Result<()> {
    let [channels, height, width] = graph;
    ensure!(
        channels.is_none_or(|c| c == 3),
        "the graph takes images of {} channels; only 3 (R, G, B) can be served",
        channels.unwrap_or(0)
    );
    let [h, w] = size;
    ensure!(
        height.is_none_or(|x| x == h) && width.is_none_or(|x| x == w),
        "the graph takes images of {}x{} pixels (height x width) and model.toml says {h}x{w}",
        height.map_or("any".to_owned(), |x| x.to_string()),
        width.map_or("any".to_owned(), |x| x.to_string()),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_graph::Tensor;
    use repserve_runtime::{Layers, Pool, RuntimeSettings};
    use repserve_scheduler::Width;

    const MODEL: &[u8] = include_bytes!("../../models/repvgg-cifar10/model.bn_folded.onnx");

    /// Compares the model with sessions of what `change` makes of its constants.
    fn check(change: impl Fn(f32) -> f32) -> anyhow::Result<f64> {
        let runtime = Runtime::load(None)?;
        let mut model = repserve_graph::onnx::read(Bytes::from_static(MODEL), &ExternalData::None)?;
        let constants: Vec<_> = model.graph.constants().map(|(id, t)| (id, t.clone())).collect();
        for (id, tensor) in constants.iter().filter(|(_, t)| t.shape().len() == 4) {
            let values = tensor.data().as_chunks::<4>().0.iter();
            let values: Vec<f32> = values.map(|b| change(f32::from_le_bytes(*b))).collect();
            model.graph.set_constant(*id, Tensor::from_f32(tensor.shape(), &values));
        }
        let changed = repserve_graph::onnx::write(model)?.into();
        let pool = Pool::new(&runtime, changed, Layers::default(), None, &RuntimeSettings::default())?;
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
        assert!(error.downcast_ref::<Mismatch>().is_some());
        let text = error.to_string();
        assert!(
            text.contains("relative error") && text.contains("runtime.winograd"),
            "{text}"
        );
    }
}
