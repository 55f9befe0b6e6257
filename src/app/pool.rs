//! The sessions of one model: made again, warmed up and measured, and the plan that comes of it.

use anyhow::Context;

use crate::classify::{ImageEngine, ImageSession, Rebuild, Signature};
use repserve_runtime::{Curve, ModelSession, Plan, Pool, RuntimeSettings};
use repserve_scheduler::{SessionError, Sessions};

/// How the scheduler makes a session again.
pub(super) fn rebuild(pool: &Pool) -> Rebuild {
    let pool = pool.clone();
    Box::new(move |width| pool.session(width).map_err(|error| SessionError(error.to_string())))
}

/// The sessions as the scheduler runs them.
pub(super) fn prepared(made: Sessions<ModelSession>, engine: &ImageEngine) -> Sessions<ImageSession> {
    Sessions {
        narrow: made.narrow.into_iter().map(|session| engine.session(session)).collect(),
        wide: made.wide.map(|session| engine.session(session)),
    }
}

/// Runs every session, so that the first request finds everything in place, and measures which batches pay. A wide session
/// that does not pay is dropped.
pub(super) fn warm_up(
    sessions: &mut Sessions<ImageSession>,
    plan: Plan,
    batch_fixed: Option<usize>,
    signature: &Signature,
    settings: &RuntimeSettings,
) -> anyhow::Result<Plan> {
    let image = vec![0.0; signature.image_len()];
    let batch_max = batch_fixed.unwrap_or(settings.measure_batch_max);
    let curve = Curve::measure(sessions, &image, batch_max, Plan::measure_time(settings)).context("the warm-up")?;
    let plan = plan.decided(curve, batch_fixed);
    if plan.wide_threads == 0 {
        sessions.wide = None;
    }
    Ok(plan)
}
