//! An item of a request: what it is before it is admitted, and what became of it.

use std::time::{Duration, Instant};

use super::engine::SessionError;

/// One item of a request.
#[derive(Debug)]
pub enum Work<R, I> {
    /// Still to be prepared.
    Raw(R),
    /// Ready for a session (a tensor that came over the wire).
    Ready(I),
}

/// What became of an admitted item. Every admitted item gets exactly one.
#[derive(Debug)]
pub enum Outcome<O, E> {
    /// Inference ran.
    Answered {
        /// The session's output.
        output: O,
        /// Where the time went.
        timings: Timings,
    },
    /// The item itself cannot be prepared.
    Invalid(E),
    /// Its deadline passed before a session took it.
    Expired,
    /// The session that ran it failed; it has been rebuilt.
    Failed(SessionError),
    /// The server is going down and its hard limit passed.
    Aborted,
}

/// Where an item's time went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Decoding.
    pub decode: Duration,
    /// Geometry and normalisation.
    pub preprocess: Duration,
    /// Waiting, in all.
    pub queue: Duration,
    /// The session's run.
    pub inference: Duration,
    /// Items that shared the run.
    pub batch_size: usize,
}

/// How an admitted item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// With an output.
    Answered,
    /// It could not be prepared.
    Invalid,
    /// Its deadline passed first.
    Expired,
    /// Its client went away first.
    Abandoned,
    /// Its session failed.
    Failed,
    /// The server stopped first.
    Aborted,
}

/// Why a request was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue cannot take all items of the request.
    #[error("the queue is full")]
    Overloaded {
        /// When a place should be free, from the queue's length and its measured rate.
        retry_after: Duration,
    },
    /// The request has more items than the queue has places.
    #[error("the request has more images than the queue has places ({capacity})")]
    TooMany {
        /// Places in all.
        capacity: usize,
    },
    /// Its deadline has passed already.
    #[error("the deadline passed before the request was admitted")]
    Expired,
    /// The scheduler drains or has stopped.
    #[error("the server is going down")]
    Draining,
}

impl Rejected {
    /// The error's kind as a word for programs, stable over versions: `overloaded`, `too_large`, `deadline` or `draining`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::TooMany { .. } => "too_large",
            Self::Expired => "deadline",
            Self::Draining => "draining",
        }
    }
}

/// When a request must be answered; `None` never.
pub type Deadline = Option<Instant>;
