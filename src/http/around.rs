//! What happens around every request, in this order.
//!
//! One layer instead of one for each step: each layer of a router puts the request, its future and a copy of everything below it on the
//! heap. A server at its limit would spend more on that than on the refusal itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body_budget::BodyBudget;
use super::client::Clients;
use super::keep_alive::close_after;
use super::observe::Observed;
use super::response_budget::ResponseBudget;
use super::secure::headers;
use super::{Shared, framing, grpc, packed_response, reserve, v2};

/// What the steps need. HTTP and gRPC have the same; the second listener has its own.
#[derive(Debug, Clone)]
pub(super) struct Around {
    steps: Arc<Steps>,
    /// Whether only gRPC is served.
    grpc: bool,
}

#[derive(Debug)]
struct Steps {
    shared: Shared,
    clients: Clients,
    bodies: BodyBudget,
    responses: ResponseBudget,
}

impl Around {
    pub(super) fn new(shared: Shared) -> Self {
        let steps = Steps {
            clients: Clients::new(&shared),
            bodies: BodyBudget::new(&shared),
            responses: ResponseBudget::new(&shared.limits),
            shared,
        };
        Self {
            steps: Arc::new(steps),
            grpc: false,
        }
    }

    /// The same where gRPC is served, and nothing else.
    pub(super) fn of_grpc(self) -> Self {
        Self { grpc: true, ..self }
    }
}

/// The layer.
pub(super) async fn around(State(around): State<Around>, mut request: Request, next: Next) -> Response {
    let Around { steps, grpc } = around;
    let is_call = grpc && grpc::is_call(&request);
    let observed = Observed::begin(&steps.shared, &mut request);
    let is_protocol = v2::is_protocol(request.uri().path());
    let reserved = reserve::is_reserved(&request);
    let checked = framing::check(&request).and_then(|()| reserve::check(&request));
    let refused = checked.is_err();
    let mut response = match checked {
        Ok(()) if grpc && !is_call => grpc::only_calls().into_response(),
        Ok(()) => steps.run(request, next).await,
        Err(problem) => problem.into_response(),
    };
    if refused || reserved {
        close_after(&mut response);
    }
    let mut response = steps.responses.charge(response);
    if is_protocol {
        v2::add_error_member(&mut response);
    }
    observed.end(&mut response);
    if is_call {
        // No browser can make one.
        grpc::translate(&mut response);
    } else {
        headers::harden(steps.shared.security.tls.is_some(), response.headers_mut());
    }
    response
}

impl Steps {
    /// Has the request handled, which knows whose it is and is charged for its body.
    async fn run(&self, mut request: Request, next: Next) -> Response {
        let identity = self.clients.identify(&request);
        request.extensions_mut().insert(identity);
        if grpc::is_stream(request.uri().path()) {
            request.extensions_mut().insert(self.responses.clone());
        }
        let (charge, request) = self.bodies.charge(identity.client, request);
        let accepted = packed_response::accepted(&request);
        let response = next.run(request).await;
        let response = packed_response::pack(response, accepted, identity.client).await;
        drop(charge);
        response
    }
}
