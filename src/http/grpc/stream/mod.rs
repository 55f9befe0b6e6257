//! `ModelStreamInfer`: the requests of one call, answered in their order.
//!
//! A few requests of a call are run at a time; the next message is read when the first of them has its response, and that is written when the
//! client takes it. So a client that sends faster than it is served, or does not read, is slowed down by its own flow control, and a call
//! holds a bounded number of requests. What is wrong with one request is told in its response, and the call goes on; what is wrong with
//! the call itself ends it.

mod messages;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::StreamBody;
use hyper::body::Frame;

use self::messages::Messages;
use super::frame::{self, Framed};
use super::infer::{admit_early, encode, run};
use super::proto::{ModelInferResponse, ModelStreamInferResponse};
use super::{bounds, status, timeout};
use crate::http::Shared;
use crate::http::body_budget::BodyCharge;
use crate::http::client::Identity;
use crate::http::compression::Coding;
use crate::http::error::{Code, Problem};
use crate::http::health::HealthState;
use crate::http::inference::{RunContext, ready};
use crate::http::observe::Arrived;
use crate::http::response_budget::{ResponseBudget, ResponseCharge};

/// Requests of a call that are run at a time.
const IN_FLIGHT_MAX: usize = 8;

/// What all requests of a call have in common.
struct Call {
    shared: Shared,
    identity: Identity,
    coding: Coding,
    /// When the call is to be over, where its client says so.
    deadline: Option<Instant>,
    /// Whose requests are charged each for itself.
    charge: BodyCharge,
    responses: ResponseBudget,
}

/// A response in its frame, and what it is charged until it is written.
struct Answer {
    framed: Bytes,
    charge: Option<ResponseCharge>,
}

/// The method.
pub(super) async fn model_stream_infer(
    State(shared): State<Shared>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    Extension(charge): Extension<BodyCharge>,
    Extension(identity): Extension<Identity>,
    Extension(responses): Extension<ResponseBudget>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (timeout, coding) = (timeout::timeout(&headers)?, frame::coding(&headers)?);
    ready(&shared)?;
    let messages = Messages::new(body, charge.clone(), &shared);
    let call = Arc::new(Call {
        shared,
        identity,
        coding,
        deadline: timeout.and_then(|timeout| arrived.checked_add(timeout)),
        charge,
        responses,
    });
    let body = StreamBody::new(frames(call, messages));
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}

/// The responses, and at the end the call's status.
fn frames(call: Arc<Call>, messages: Messages) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let sent = read(messages).take_until(drained(&call.shared));
    let of_call = Arc::clone(&call);
    let answers = sent
        .map(move |message| answer(Arc::clone(&of_call), message))
        .buffered(IN_FLIGHT_MAX);
    let state = Responses {
        answers: Box::pin(answers),
        call,
        charge: None,
        ended: false,
    };
    stream::unfold(state, async |mut state| {
        let frame = state.next().await?;
        Some((Ok(frame), state))
    })
}

/// The messages until the client sends no more, or one cannot be read.
fn read(messages: Messages) -> impl Stream<Item = Result<Framed, Problem>> + Send {
    stream::unfold(Some(messages), async |messages| {
        let mut messages = messages?;
        match messages.next().await {
            Ok(message) => Some((Ok(message?), Some(messages))),
            Err(problem) => Some((Err(problem), None)),
        }
    })
}

/// Completes when the server goes down.
fn drained(shared: &Shared) -> impl Future<Output = ()> + Send + use<> {
    let mut health = shared.health.watch();
    async move {
        let _ = health.wait_for(|state| *state == HealthState::Draining).await;
    }
}

struct Responses<S> {
    answers: Pin<Box<S>>,
    call: Arc<Call>,
    /// Of the response that is being written.
    charge: Option<ResponseCharge>,
    ended: bool,
}

impl<S: Stream<Item = Result<Answer, Problem>>> Responses<S> {
    /// The next response, or the status that ends the call.
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.ended {
            return None;
        }
        let next = self.answers.next();
        let over = || {
            let detail = "the call's deadline has passed (grpc-timeout)";
            Some(Err(Problem::new(Code::Deadline, detail)))
        };
        let next = match self.call.deadline {
            None => next.await,
            Some(at) if at <= Instant::now() => over(),
            Some(at) => tokio::time::timeout_at(at.into(), next)
                .await
                .unwrap_or_else(|_| over()),
        };
        let trailers = match next {
            Some(Ok(answer)) => {
                self.charge = answer.charge;
                return Some(Frame::data(answer.framed));
            }
            Some(Err(problem)) => status::trailers(Err(&problem)),
            None if self.call.shared.health.draining() => status::trailers(Err(&self.call.shared.health.problem())),
            None => status::trailers(Ok(())),
        };
        (self.ended, self.charge) = (true, None);
        Some(Frame::trailers(trailers))
    }
}

/// The response to a message.
///
/// # Errors
/// Where there is none, since the message could not be read.
async fn answer(call: Arc<Call>, message: Result<Framed, Problem>) -> Result<Answer, Problem> {
    let message = message?;
    let arrived = Instant::now();
    // A compressed message is not unpacked for its id.
    let id = match message.compressed {
        true => String::new(),
        false => bounds::id(&message.bytes).unwrap_or_default().to_owned(),
    };
    let framed = match infer(&call, message, arrived).await {
        Ok(framed) => framed,
        Err(problem) => refused(&call, id, &problem)?,
    };
    match call.responses.charge_bytes(framed.len()) {
        Ok(charge) => Ok(Answer { framed, charge }),
        Err(problem) => Ok(Answer {
            framed: refused(&call, String::new(), &problem)?,
            charge: None,
        }),
    }
}

/// Runs a request; its response in its frame.
async fn infer(call: &Call, message: Framed, arrived: Instant) -> Result<Bytes, Problem> {
    let shared = &call.shared;
    let charge = call.charge.of_another();
    charge.hold(message.bytes.len())?;
    let context = RunContext {
        shared: shared.clone(),
        identity: call.identity,
        arrived,
        timeout: call
            .deadline
            .map(|deadline| deadline.saturating_duration_since(arrived)),
        packed: message.compressed,
    };
    // What is refused is refused before it costs anything.
    let early = admit_early(&context).await?;
    let bytes_max = shared.limits.request_bytes_max;
    let message = frame::unpacked(message, call.coding, bytes_max, &charge).await?;
    let inferred = run(&context, message, &charge, early).await?;
    encode(inferred, call.identity.client, |response| {
        frame::framed(&ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(response),
        })
    })
    .await
}

/// What tells a client that its request is refused.
fn refused(call: &Call, id: String, problem: &Problem) -> Result<Bytes, Problem> {
    if let Some(reason) = problem.reason() {
        call.shared.metrics.rejected(reason);
    }
    frame::framed(&ModelStreamInferResponse {
        error_message: problem.detail().to_owned(),
        infer_response: Some(ModelInferResponse {
            id,
            ..ModelInferResponse::default()
        }),
    })
}
