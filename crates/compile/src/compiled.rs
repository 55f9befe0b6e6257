//! Sessions that are verified, warm and measured, and what is known of them.

use std::time::Duration;

use super::beside::{self, Measured};
use super::error::CompileError;
use super::executable::{Chosen, Executable};
use super::facts::{Facts, GraphFacts, LoadTimes, PlanFacts, Speed};
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::manifest::Manifest;
use super::measured_batch::measured_batch_max;
use super::normalization;
use super::package::Package;
use super::phase::{Clock, Phase};
use super::renewed::{Fresh, Renewed};
use super::scores::{self, Scores, Seen};
use super::settings::{CompileSettings, VerifyOtherwise};
use super::signature::Signature;
use super::verify::{Verified, probes_of, verify_lowered};
use repserve_preprocess::Preprocess;
use repserve_reparam::equivalence::{Output, Probe};
use repserve_reparam::report::Report;
use repserve_runtime::{Curve, ImageSession, KernelMode, ModelSession, Plan, Pool, Runtime, RuntimeSettings};
use repserve_scheduler::{Sessions, Width};

/// A model that can be served.
#[derive(Debug)]
pub struct Compiled {
    /// What the model is called, takes and returns.
    pub description: Description,
    /// What was fused, how exact it is, and how it runs.
    pub facts: Facts,
    /// What was fused, block by block.
    pub report: Report,
    /// Makes sessions again.
    pub pool: Pool,
    /// The sessions of the plan; each has run.
    pub sessions: Sessions<ImageSession>,
    /// Sessions, threads and batches.
    pub plan: Plan,
}

/// What a model is called, takes and returns.
#[derive(Debug, Clone)]
pub struct Description {
    /// What its `model.toml` says.
    pub manifest: Manifest,
    /// A label a class; the index where the model brings none.
    pub labels: Vec<String>,
    /// What goes in and what comes out.
    pub signature: Signature,
    /// How images become what goes in.
    pub preprocess: Preprocess,
    /// How what comes out becomes probabilities.
    pub scores: Scores,
}

/// Compiles the package's deploy graph: quantizes or lowers it, compares what runs with the train-time graph, makes the sessions,
/// runs each once and measures them. Takes seconds, and all cores.
///
/// # Errors
/// A model that cannot be served; see [`CompileError`].
pub fn compile(
    runtime: &Runtime,
    package: Package,
    fused: Fused,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Compiled, CompileError> {
    let mut package = package;
    let graph = Graph::verified(runtime, &mut package, fused, settings, clock)?;
    Ok(graph.compiled(runtime, package, settings, clock)?.0)
}

/// A deploy graph that returns what the train-time graph does.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) fused: Fused,
    pub(super) verified: Verified,
    input: GraphInput,
    preprocess: Preprocess,
}

/// What a later start compares its sessions with.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) input: GraphInput,
    pub(super) probe: Probe,
    /// What the train-time graph makes of the probe.
    pub(super) answer: Output,
}

impl Graph {
    /// Compares a deploy graph with its train-time graph, whose file is let go of then.
    ///
    /// # Errors
    /// See [`Fused::verified`]; a package whose images the graph does not take.
    pub(super) fn verified(
        runtime: &Runtime,
        package: &mut Package,
        fused: Fused,
        settings: &CompileSettings,
        clock: &mut Clock<'_>,
    ) -> Result<Self, CompileError> {
        let input = GraphInput::of(fused.model());
        let (preprocess, mut warnings) = input.preprocess(&package.manifest.input)?;
        if !input.bytes && package.assumed.is_none() {
            warnings.extend(normalization::doubt(&package.manifest.input, fused.normalization()));
        }
        let probes = probes_of(&preprocess, image(&input, package), &settings.verify);
        let (mut fused, verified) = clock.time(Phase::Verify, || {
            if fused.source().file.is_some() {
                package.graph.clear();
            }
            fused.verified_and_timed(runtime, probes, &settings.verify, settings.beside.is_none())
        })?;
        let warnings = warnings.into_iter().chain(package.assumed.clone());
        fused.report_mut().warnings.extend(warnings);
        fused.forget_source();
        Ok(Self {
            fused,
            verified,
            input,
            preprocess,
        })
    }

    /// One that was compared before; `verified` says how that went, from how images become what the graph takes, and their extents.
    ///
    /// # Errors
    /// A package whose images the graph does not take.
    pub(super) fn compared(
        package: &Package,
        mut fused: Fused,
        verified: impl FnOnce(&Preprocess, [usize; 3]) -> Verified,
    ) -> Result<Self, CompileError> {
        fused.forget_source();
        let input = GraphInput::of(fused.model());
        let (preprocess, _) = input.preprocess(&package.manifest.input)?;
        Ok(Self {
            verified: verified(&preprocess, image(&input, package)),
            fused,
            input,
            preprocess,
        })
    }

    /// Quantizes or lowers it, compares what runs with it, makes the sessions, runs each once and measures them.
    ///
    /// # Errors
    /// See [`compile`].
    pub(super) fn compiled(
        self,
        runtime: &Runtime,
        mut package: Package,
        settings: &CompileSettings,
        clock: &mut Clock<'_>,
    ) -> Result<(Compiled, Option<Checks>), CompileError> {
        package.graph.clear();
        let Self {
            mut fused,
            verified,
            input,
            preprocess,
        } = self;
        let (scores, values) = scores(&package, &mut fused, &verified)?;
        let Running { chosen, sessions } = running(runtime, &package, &mut fused, &verified, settings, clock)?;
        let pool = chosen.executable.pool().clone();
        let first = sessions.narrow.first().ok_or(CompileError::NoSession)?;
        let batch_fixed = first.batch_fixed();
        let signature = Signature::new(&package, first, image(&input, &package), values, scores)?;
        let signature = signature.with_embeddings(fused.embeddings().to_vec());
        let precision = chosen.executable.precision();
        let batch_max = batch_fixed.unwrap_or_else(|| {
            let (image, count) = (signature.image, sessions.narrow.len());
            measured_batch_max(&fused, image, precision, count, &settings.runtime)
        });
        let report = fused.into_report();
        let mut sessions = shaped(sessions, signature.image);
        let [_, deploy] = GraphFacts::of(&report);
        let like = |measured: &&Measured| measured.fits(&deploy, precision, signature.image);
        let measuring = match &settings.beside {
            None => Measuring::All,
            Some(served) => served.iter().find(like).map_or(Measuring::OneCore, Measuring::Known),
        };
        let plan = clock.time(Phase::WarmUp, || {
            let fresh = |width| Ok(ImageSession::new(pool.session(width)?, signature.image));
            let image = vec![0.0; signature.image_len()];
            let plan = pool.plan();
            let time = Plan::measure_time(&settings.runtime);
            let curve = measured(&mut sessions, &image, batch_max, plan.cores, measuring, time, &fresh)?;
            let plan = plan.clone().decided(curve, batch_fixed);
            warm_up(&mut sessions, &plan, &image, &fresh)?;
            Ok::<_, CompileError>(plan)
        })?;
        let probe = verified.probes.first().cloned();
        let checks = probe.map(|probe| Checks {
            input,
            probe,
            answer: verified.answer.clone(),
        });
        let speed = verified.train_time_ms.and_then(|ms| Speed::of(ms, &plan));
        let facts = facts(chosen, &report, verified, speed, &plan, clock);
        let labels = package
            .labels
            .unwrap_or_else(|| indices(scores.classes(signature.classes)));
        let compiled = Compiled {
            description: Description {
                manifest: package.manifest,
                labels,
                signature,
                preprocess,
                scores,
            },
            facts,
            report,
            pool,
            sessions,
            plan,
        };
        Ok((compiled, checks))
    }
}

/// Channels, height and width of one image.
fn image(input: &GraphInput, package: &Package) -> [usize; 3] {
    let [height, width] = package.image_size();
    [input.channels(), height, width]
}

/// How the output becomes probabilities, and how many values an image has.
fn scores(package: &Package, fused: &mut Fused, verified: &Verified) -> Result<(Scores, usize), CompileError> {
    let rows = verified.outputs.iter().flat_map(|output| {
        let width = output.shape.last().copied().unwrap_or(1).max(1);
        output.data.chunks_exact(width)
    });
    let seen = Seen::of(rows).ok_or(CompileError::NotFinite { failed: 0, images: 0 })?;
    let facts = scores::Facts {
        end: &fused.end(),
        rounded: fused.is_quantized(),
        seen,
        labels: package.labels.as_ref().map(Vec::len),
    };
    let (scores, warning) = Scores::decide(&package.manifest.output, facts)?;
    fused.report_mut().warnings.extend(warning);
    Ok((scores, seen.width))
}

/// What runs, and its sessions.
struct Running {
    chosen: Chosen,
    sessions: Sessions<ModelSession>,
}

/// Quantizes or lowers the graph and compares what runs with the deploy graph. Where kernels or shared weights change what it returns,
/// it runs without them.
fn running(
    runtime: &Runtime,
    package: &Package,
    fused: &mut Fused,
    verified: &Verified,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Running, CompileError> {
    match checked(runtime, package, fused, verified, settings, clock) {
        Err(CompileError::Mismatch(mismatch)) if settings.verify.otherwise == VerifyOtherwise::Unfused => {
            let warning = format!("{mismatch}; it is served without kernels and shared weights");
            fused.report_mut().warnings.push(warning);
            let plain = CompileSettings {
                runtime: RuntimeSettings {
                    kernels: KernelMode::Off,
                    share_weights: false,
                    ..settings.runtime.clone()
                },
                ..settings.clone()
            };
            checked(runtime, package, fused, verified, &plain, clock)
        }
        checked => checked,
    }
}

fn checked(
    runtime: &Runtime,
    package: &Package,
    fused: &Fused,
    verified: &Verified,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Running, CompileError> {
    let mut chosen = Executable::choose(runtime, package, fused, verified.batching, settings, clock)?;
    let pool = chosen.executable.pool();
    let first = pool.session(Width::Narrow)?;
    let mut sessions = clock.time(Phase::Sessions, || pool.sessions(first))?;
    if let Executable::Lowered(lowered) = &mut chosen.executable
        && (lowered.report.lowered > 0 || fused.is_quantized())
    {
        let error = clock.time(Phase::Verify, || verify_lowered(&mut sessions, verified))?;
        lowered.report.relative_error = Some(error).filter(|_| lowered.report.lowered > 0);
    }
    Ok(Running { chosen, sessions })
}

/// Labels of a model that brings none.
pub(super) fn indices(classes: usize) -> Vec<String> {
    (0..classes).map(|index| index.to_string()).collect()
}

/// The sessions as the scheduler runs them.
pub(super) fn shaped(sessions: Sessions<ModelSession>, shape: [usize; 3]) -> Sessions<ImageSession> {
    let shaped = |session| ImageSession::new(session, shape);
    Sessions {
        narrow: sessions.narrow.into_iter().map(shaped).collect(),
        wide: sessions.wide.map(shaped),
    }
}

/// What is measured of the sessions.
#[derive(Clone, Copy)]
enum Measuring<'a> {
    /// Everything.
    All,
    /// One-core runs.
    OneCore,
    /// Nothing: it was measured of another version of the same network.
    Known(&'a Measured),
}

/// Measures how long batches take, on sessions that go with it: a session keeps the memory of the largest batch that it ran.
fn measured(
    sessions: &mut Sessions<ImageSession>,
    image: &Vec<f32>,
    batch_max: usize,
    cores: usize,
    measuring: Measuring<'_>,
    time: Duration,
    fresh: Fresh<'_>,
) -> Result<Curve, CompileError> {
    let wide = match measuring {
        Measuring::Known(measured) => return Ok(measured.curve.clone()),
        Measuring::All => true,
        Measuring::OneCore => false,
    };
    let renewed = |width| move |_| Renewed::new(width, fresh);
    let mut measured = Sessions {
        narrow: sessions.narrow.drain(..).map(renewed(Width::Narrow)).collect(),
        wide: sessions.wide.take().filter(|_| wide).map(renewed(Width::Wide)),
    };
    let curve = Curve::measure(&mut measured, image, batch_max, time, true)?;
    Ok(match wide {
        true => curve,
        false => beside::with_assumed_wide(curve, cores),
    })
}

/// Makes the sessions of the plan that are not there, drops a wide one that does not pay, and runs each once, so that the first request
/// finds everything in place.
fn warm_up(
    sessions: &mut Sessions<ImageSession>,
    plan: &Plan,
    image: &[f32],
    fresh: Fresh<'_>,
) -> Result<(), CompileError> {
    while sessions.narrow.len() < plan.cores {
        sessions.narrow.push(fresh(Width::Narrow)?);
    }
    match plan.wide_threads {
        0 => sessions.wide = None,
        _ if sessions.wide.is_none() => sessions.wide = Some(fresh(Width::Wide)?),
        _ => {}
    }
    Ok(beside::run_each(sessions, image)?)
}

fn facts(
    chosen: Chosen,
    report: &Report,
    verified: Verified,
    speed: Option<Speed>,
    plan: &Plan,
    clock: &Clock<'_>,
) -> Facts {
    let Chosen { executable, auto } = chosen;
    let [source, deploy] = GraphFacts::of(report);
    let threads = PlanFacts::of(executable.pool(), plan);
    let precision = executable.precision();
    let (int8, kernels) = match executable {
        Executable::Quantized(quantized) => (Some(quantized.int8), None),
        Executable::Lowered(lowered) => (lowered.int8, Some(lowered.report)),
    };
    Facts {
        precision,
        auto,
        int8,
        source,
        deploy,
        blocks_fused: report.blocks.len(),
        refusals: report.refusals.len(),
        equivalence: verified.equivalence,
        kernels,
        speed,
        plan: threads,
        cached: false,
        load_seconds: LoadTimes(clock.spent().to_vec()),
    }
}
