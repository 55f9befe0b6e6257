//! The messages of a call, one after the other, as its body brings them.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::http::body_budget::BodyCharge;
use crate::http::error::{Code, Problem};
use crate::http::grpc::frame::{self, Framed};
use crate::http::{Shared, body};

/// The messages of a body.
pub(super) struct Messages {
    body: Body,
    /// What has arrived of the next message, and of those behind it.
    rest: BytesMut,
    /// Charged for what `rest` holds.
    charge: BodyCharge,
    bytes_max: usize,
    /// How long a message may take to arrive.
    message_timeout: Duration,
    /// How long may pass between messages.
    idle_timeout: Duration,
}

impl Messages {
    pub(super) fn new(body: Body, charge: BodyCharge, shared: &Shared) -> Self {
        Self {
            body,
            rest: BytesMut::new(),
            charge,
            bytes_max: shared.limits.request_bytes_max,
            message_timeout: shared.server.body_timeout(),
            idle_timeout: shared.server.request_timeout(None),
        }
    }

    /// The next message; none where the client sends no more.
    ///
    /// # Errors
    /// A message that is cut off, too large or too slow, and a client that sends none for long. There is none after it.
    pub(super) async fn next(&mut self) -> Result<Option<Framed>, Problem> {
        let mut due = self.due();
        loop {
            if let Some(message) = frame::first(&mut self.rest, self.bytes_max)? {
                self.charge.hold(self.rest.len())?;
                return Ok(Some(message));
            }
            let began = !self.rest.is_empty();
            match tokio::time::timeout_at(due, self.body.frame()).await {
                Err(_) => return Err(self.late()),
                Ok(None) if began => return Err(Problem::new(Code::Malformed, "the call's last message is cut off")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(body::broken(error)),
                Ok(Some(Ok(frame))) => self
                    .rest
                    .extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new())),
            }
            if !began {
                due = self.due();
            }
        }
    }

    /// When it is too late for the rest of a message, or for the next one.
    fn due(&self) -> Instant {
        let timeout = match self.rest.is_empty() {
            true => self.idle_timeout,
            false => self.message_timeout,
        };
        Instant::now() + timeout
    }

    fn late(&self) -> Problem {
        let detail = match self.rest.is_empty() {
            true => format!(
                "the call is ended, as no request has come for {} ms (server.request_timeout_ms)",
                self.idle_timeout.as_millis()
            ),
            false => format!(
                "a message did not arrive within {} ms",
                self.message_timeout.as_millis()
            ),
        };
        Problem::new(Code::BodyTimeout, detail)
    }
}
