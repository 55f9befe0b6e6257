//! Methods whose messages are small.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use prost::Message;

use super::frame;
use crate::http::body_budget::BodyCharge;
use crate::http::error::{Code, Problem};
use crate::http::{Shared, body};

/// Bytes of a small message at most.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// The route of a method that `answer` implements.
pub(super) fn unary<Q, A>(answer: fn(&Shared, Q) -> Result<A, Problem>) -> MethodRouter<Shared>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    post(
        async move |State(shared): State<Shared>,
                    Extension(charge): Extension<BodyCharge>,
                    headers: HeaderMap,
                    body: Body|
                    -> Result<Response, Problem> {
            let question = read(&shared, &charge, &headers, body).await?;
            frame::respond(&answer(&shared, question)?)
        },
    )
}

/// Reads a small message.
pub(super) async fn read<Q: Message + Default>(
    shared: &Shared,
    charge: &BodyCharge,
    headers: &HeaderMap,
    body: Body,
) -> Result<Q, Problem> {
    let coding = frame::coding(headers)?;
    let within = body::BodyTimeouts::new(&shared.server);
    let body = body::read_as_sent(body, MESSAGE_BYTES_MAX + frame::PREFIX_BYTES, within).await?;
    let message = frame::message(body, coding, MESSAGE_BYTES_MAX, charge).await?;
    Q::decode(message).map_err(|error| Problem::new(Code::Malformed, format!("the message cannot be read: {error}")))
}
