//! The entry of a model's sessions: it holds on one kind of processor, and is all that a start needs.

use std::thread;

use repserve_cache::Entry;
use repserve_quantize::Precision;
use repserve_reparam::equivalence::{Equivalence, Output, Probe, Tolerance, compare};
use repserve_reparam::report::Report;
use repserve_runtime::{Curve, KernelReport, ModelSession, Pool, PoolRecord, Runtime, RuntimeError};
use repserve_scheduler::{Sessions, Width};
use serde::{Deserialize, Serialize};

use super::super::compiled::{Compiled, Description, indices, shaped};
use super::super::embedding::{Embedding, compare_embedded};
use super::super::error::{CompileError, Mismatch};
use super::super::facts::{Facts, GraphFacts, Int8Facts, LoadTimes, PlanFacts, Speed};
use super::super::graph_input::GraphInput;
use super::super::package::Package;
use super::super::phase::{Clock, Phase};
use super::super::precision::AutoFacts;
use super::super::scores::Scores;
use super::super::settings::CompileSettings;
use super::super::signature::Signature;
use super::super::verify::{Answer, LOWERED_ERROR_MAX, run};
use super::external::Files;
use super::{PROBE, Unusable, floats, record};

/// What was found out about a model, and what is no bytes of its sessions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionsRecord {
    pub(super) external: Files,
    pub(super) report: Report,
    pub(super) input: GraphInput,
    pub(super) scores: Scores,
    /// Values that come out for an image.
    pub(super) values: usize,
    pub(super) embeddings: Vec<Embedding>,
    pub(super) equivalence: Equivalence,
    pub(super) precision: Precision,
    pub(super) auto: Option<AutoFacts>,
    pub(super) int8: Option<Int8Facts>,
    pub(super) kernels: Option<KernelReport>,
    pub(super) speed: Option<Speed>,
    pub(super) curve: Curve,
    pub(super) pool: PoolRecord,
    pub(super) answers: Answers,
}

/// What a probe led to when the entry was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) label: String,
    pub(super) shape: Vec<usize>,
    /// The train-time graph's.
    pub(super) train_time: Output,
    /// Those of the sessions.
    pub(super) narrow: Answer,
    pub(super) wide: Option<Answer>,
}

/// The model that the entry holds.
///
/// # Errors
/// An entry that is not what it ought to be, data files that have changed, or sessions that return something else than they did.
pub(super) fn restored(
    runtime: &Runtime,
    package: &Package,
    entry: &Entry,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Compiled, Unusable> {
    let mut record: SessionsRecord = record(entry)?;
    record.external.check(package)?;
    if let Some(int8) = &mut record.int8 {
        int8.judgement.wanted = settings.gate;
    }
    let (preprocess, _) = record.input.preprocess(&package.manifest.input)?;
    let [height, width] = package.image_size();
    let image = [record.input.channels(), height, width];
    let (pool, mut sessions, plan) = clock.time(Phase::Sessions, || {
        let pool = Pool::restored(runtime, record.pool, |name| entry.section(name), &settings.runtime)?;
        let first = pool.session(Width::Narrow)?;
        let plan = pool.plan().clone().decided(record.curve, first.batch_fixed());
        let pool = pool.with_plan(plan.clone());
        let sessions = pool.sessions(first)?;
        Ok::<_, Unusable>((pool, sessions, plan))
    })?;
    clock.time(Phase::Verify, || {
        let probe = Probe {
            label: record.answers.label.clone(),
            shape: record.answers.shape.clone(),
            data: floats(&entry.section(PROBE)?),
        };
        probed(
            &mut sessions,
            &probe,
            &record.answers,
            &record.equivalence,
            record.precision,
        )?;
        Ok::<_, Unusable>(())
    })?;
    let first = sessions.narrow.first().ok_or(CompileError::NoSession)?;
    let signature = Signature::new(package, first, image, record.values, record.scores)?;
    let signature = signature.with_embeddings(record.embeddings);
    let labels = package.labels.clone();
    let labels = labels.unwrap_or_else(|| indices(record.scores.classes(signature.classes)));
    let [source, deploy] = GraphFacts::of(&record.report);
    let facts = Facts {
        precision: record.precision,
        auto: record.auto,
        int8: record.int8,
        source,
        deploy,
        blocks_fused: record.report.blocks.len(),
        refusals: record.report.refusals.len(),
        equivalence: record.equivalence,
        kernels: record.kernels,
        speed: record.speed,
        plan: PlanFacts::of(&pool, &plan),
        cached: true,
        load_seconds: LoadTimes(clock.spent().to_vec()),
    };
    Ok(Compiled {
        description: Description {
            manifest: package.manifest.clone(),
            labels,
            signature,
            preprocess,
            scores: record.scores,
        },
        facts,
        report: record.report,
        sessions: shaped(sessions, image),
        pool,
        plan,
    })
}

/// Runs the probe on every session, which also warms it up, and compares what it returns with what was stored.
fn probed(
    sessions: &mut Sessions<ModelSession>,
    probe: &Probe,
    answers: &Answers,
    equivalence: &Equivalence,
    precision: Precision,
) -> Result<(), CompileError> {
    let check = |session: &mut ModelSession, stored: &Answer| -> Result<(), CompileError> {
        let Answer { main: output, further } = run(session, probe)?;
        let own = Tolerance {
            relative_error_max: LOWERED_ERROR_MAX,
            ..equivalence.tolerance
        };
        same(probe, &stored.main, &output, own, "they returned when they were made")?;
        same_embeddings(&stored.further, &further)?;
        // How far int8 may be from it is the gate's to say.
        if precision == Precision::Fp32 {
            same(
                probe,
                &answers.train_time,
                &output,
                equivalence.tolerance,
                "the train-time graph returned",
            )?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let narrow = sessions.narrow.iter_mut();
        let running: Vec<_> = narrow
            .map(|session| scope.spawn(|| check(session, &answers.narrow)))
            .collect();
        running.into_iter().try_for_each(|thread| {
            let panicked = |_| Err(RuntimeError::Run("it panicked".to_owned()).into());
            thread.join().unwrap_or_else(panicked)
        })
    })?;
    match (&mut sessions.wide, &answers.wide) {
        (Some(wide), Some(stored)) => check(wide, stored),
        (Some(wide), None) => check(wide, &answers.narrow),
        (None, _) => Ok(()),
    }
}

fn same_embeddings(stored: &[Output], found: &[Output]) -> Result<(), CompileError> {
    let error = compare_embedded(stored, found);
    if stored.len() == found.len() && error <= LOWERED_ERROR_MAX {
        return Ok(());
    }
    Err(CompileError::Mismatch(Mismatch {
        what: "a session of the start-up cache's",
        reference: "the embeddings that it returned when it was made",
        numbers: format!("relative error {error:.2e}"),
    }))
}

fn same(
    probe: &Probe,
    stored: &Output,
    output: &Output,
    tolerance: Tolerance,
    reference: &'static str,
) -> Result<(), CompileError> {
    let known = |_: &Probe| Ok::<_, RuntimeError>(stored.clone());
    let equivalence = compare(std::slice::from_ref(probe), tolerance, known, |_| Ok(output.clone()))?;
    if equivalence.holds() {
        return Ok(());
    }
    Err(CompileError::Mismatch(Mismatch {
        what: "a session of the start-up cache's",
        reference,
        numbers: equivalence.to_string(),
    }))
}
