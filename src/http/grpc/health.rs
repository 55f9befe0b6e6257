//! gRPC's standard health service: the server's state, and each model's under its name.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::proto::SERVICE;
use crate::http::Shared;
use crate::http::health::HealthState;

/// Clients that may watch at a time: each holds a connection for as long as it likes.
const WATCHES_MAX: usize = 64;

/// The service.
#[derive(Debug)]
pub(super) struct HealthService {
    shared: Shared,
    watches: Arc<Semaphore>,
}

impl HealthService {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
        }
    }
}

/// The state of a service, or of a model called so.
fn status(shared: &Shared, service: &str) -> ServingStatus {
    let known = service.is_empty() || service == SERVICE || shared.models.get(service, None).is_some();
    match shared.health.get() {
        _ if !known => ServingStatus::ServiceUnknown,
        HealthState::Ready => ServingStatus::Serving,
        _ => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// A client that watches.
struct Watch {
    shared: Shared,
    service: String,
    state: watch::Receiver<HealthState>,
    told: Option<ServingStatus>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// The next state that the client was not told. The last one is that the server goes down: a client that watches must not hold it up.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        while !self.ended {
            let going_down = *self.state.borrow_and_update() == HealthState::Draining;
            let now = status(&self.shared, &self.service);
            self.ended = going_down;
            if self.told.replace(now) != Some(now) {
                return Some((Ok(response(now)), self));
            }
            self.ended |= self.state.changed().await.is_err();
        }
        None
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.shared, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no service and no model is called so")),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let Ok(permit) = Arc::clone(&self.watches).try_acquire_owned() else {
            return Err(Status::resource_exhausted(
                "as many clients watch as may; ask with Check",
            ));
        };
        let watch = Watch {
            state: self.shared.health.watch(),
            shared: self.shared.clone(),
            service: request.into_inner().service,
            told: None,
            ended: false,
            _permit: permit,
        };
        Ok(Response::new(Box::pin(unfold(watch, Watch::next))))
    }
}
