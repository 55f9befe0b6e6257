//! A place for a request, from its head; and what became of it, counted.

use std::time::{Duration, Instant};

use super::client::Identity;
use crate::classify::{Admitted, Failure, HeadWork, Served};
use crate::telemetry::Metrics;
use repserve_scheduler::{Priority, Request};

/// Until when a request is to be completed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// The time.
    pub(super) deadline: Instant,
    /// Whether its client chose it.
    pub(super) own: bool,
}

/// What the scheduler is to know of a request.
pub(super) fn request(identity: &Identity, due: Due, priority: Priority) -> Request {
    Request {
        deadline: Some(due.deadline),
        own_deadline: due.own,
        priority,
        client: identity.sender.client,
        weight: identity.weight,
    }
}

/// Gets a place for a request before its body is read. Waits where the client comes back before the time that it was told.
pub(super) async fn admit(
    served: &Served,
    metrics: &Metrics,
    identity: &Identity,
    work: HeadWork,
    request: &Request,
) -> Result<Admitted, Failure> {
    let admitted = served.back_pressure().admit(identity.sender, work, request).await;
    admitted.map_err(Failure::from).inspect_err(|failure| {
        count(metrics, failure);
        served.statistics().request(false, Duration::ZERO);
    })
}

/// Counts what became of a request that was admitted.
pub(super) fn counted<T>(metrics: &Metrics, due: Due, outcome: Result<T, Failure>) -> Result<T, Failure> {
    match &outcome {
        Ok(_) if Instant::now() <= due.deadline => metrics.admission.in_time(),
        Ok(_) => metrics.admission.late(),
        Err(failure) => count(metrics, failure),
    }
    outcome
}

fn count(metrics: &Metrics, failure: &Failure) {
    match failure {
        Failure::Expired => metrics.admission.late(),
        Failure::Rejected(rejected) => metrics.admission.refused(rejected),
        _ => {}
    }
}
