//! `/livez`, `/readyz`, `/healthz`: whether the process runs, and whether it should get requests.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::error::{Code, Problem};
use super::{Shared, wire};

/// What the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthState {
    /// A model is loading: which phase.
    Loading(&'static str),
    /// Fused, verified, warm.
    Ready,
    /// A signal came; requests are still taken for a while, new connections should go elsewhere.
    Draining,
    /// A model that is required is not served: why.
    Incomplete(String),
    /// The model cannot be served; the process ends.
    Failed(String),
}

/// The state, shared between `app`, which changes it, and the handlers that report it.
#[derive(Debug)]
pub struct Health(watch::Sender<HealthState>);

impl Default for Health {
    fn default() -> Self {
        Self(watch::Sender::new(HealthState::Loading("start")))
    }
}

impl Health {
    /// Sets what the server is doing now. Once it drains, it stays so.
    pub fn set(&self, state: HealthState) {
        self.0.send_if_modified(|now| {
            let changed = *now != HealthState::Draining && *now != state;
            if changed {
                *now = state;
            }
            changed
        });
    }

    /// What the server is doing now.
    pub fn get(&self) -> HealthState {
        self.0.borrow().clone()
    }

    /// What the server is doing, as it changes.
    pub fn watch(&self) -> watch::Receiver<HealthState> {
        self.0.subscribe()
    }

    /// Whether the server goes down.
    pub fn draining(&self) -> bool {
        *self.0.borrow() == HealthState::Draining
    }

    /// Why a request cannot be served now, where it cannot.
    pub(super) fn problem(&self) -> Problem {
        match &*self.0.borrow() {
            HealthState::Loading(phase) => {
                Problem::new(Code::NotReady, format!("the model is loading (phase: {phase})"))
            }
            HealthState::Ready => Problem::new(Code::NotReady, "no model is served"),
            HealthState::Incomplete(reason) => Problem::new(Code::NotReady, reason.clone()),
            HealthState::Draining => Problem::new(Code::Draining, "the server is going down"),
            HealthState::Failed(reason) => {
                Problem::new(Code::NotReady, format!("the model cannot be served: {reason}"))
            }
        }
    }
}

/// The process runs. Waits on nothing.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "operations",
    summary = "Whether the process runs",
    description = "Waits on nothing.",
    responses((status = 200, description = "It runs", body = wire::Status))
)]
pub(super) async fn live() -> Response {
    Json(wire::Status { status: "live" }).into_response()
}

/// The model is fused, verified and warm, and no signal has come.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "operations",
    summary = "Whether requests are taken",
    description = "The model is fused, verified and warm, and the server does not go down.",
    responses((status = 200, description = "They are", body = wire::Status))
)]
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    respond(&shared)
}

/// As [`ready`].
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "operations",
    summary = "Whether requests are taken",
    description = "The same as /readyz.",
    responses((status = 200, description = "They are", body = wire::Status))
)]
pub(super) async fn healthz(State(shared): State<Shared>) -> Response {
    respond(&shared)
}

fn respond(shared: &Shared) -> Response {
    match shared.health.get() {
        HealthState::Ready => Json(wire::Status { status: "ready" }).into_response(),
        _ => shared.health.problem().uncounted().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_is_the_last_state() {
        let health = Health::default();
        health.set(HealthState::Ready);
        assert_eq!(health.get(), HealthState::Ready);
        health.set(HealthState::Draining);
        health.set(HealthState::Ready);
        assert!(health.draining());
    }
}
