//! Clients on one thread, over connections that are kept: a closed loop (each connection sends again at the moment when it has its
//! response) and an open loop (requests are due at given times, whether or not earlier responses have come).
//!
//! Latency counts from the time when a request was due, so that a client that was late itself does not hide what a server did
//! (Tene, "How NOT to Measure Latency", 2015: coordinated omission).

mod arrivals;
mod closed;
mod connection;
mod open;
mod settle;
mod target;
#[cfg(test)]
mod testing;

use std::time::Duration;

pub use arrivals::Arrivals;
pub use closed::closed;
pub use connection::ExchangeError;
pub use open::open;
pub use settle::settle;
pub use target::{Target, get};

/// Every request that was due in a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// One for each request, in no order.
    pub samples: Vec<Sample>,
    /// How long requests were sent.
    pub sending: Duration,
}

/// One request as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was due, since the start of the run.
    pub due: Duration,
    /// From the time when it was due to the last byte of the response, or to its failure.
    pub latency: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A complete response with this HTTP status.
    Status(u16),
    /// No connection, or no complete response on it.
    Failed,
    /// No response until the run gave up waiting.
    NoResponse,
    /// An open loop had its greatest number of requests in flight.
    NotSent,
}

/// How long responses are waited for once nothing is sent any more.
const WAIT_AT_END: Duration = Duration::from_secs(10);
