//! `/metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::error::Problem;

/// Prometheus' text format; gauges of queues and sessions are read now.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    shared.models.measure(&shared.metrics);
    match shared.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            Problem::internal().into_response()
        }
    }
}
