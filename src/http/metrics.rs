//! `/metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use super::{Shared, health};

/// Prometheus' text format; gauges of queues and sessions are read now.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    summary = "Metrics",
    description = "Prometheus' text format.",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    shared.models.measure(&shared.metrics);
    shared.metrics.ready(shared.health.get() == health::HealthState::Ready);
    match shared.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            Problem::internal().into_response()
        }
    }
}
