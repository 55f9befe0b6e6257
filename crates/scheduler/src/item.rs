//! An item of a request: what it is before it is admitted, and what became of it.

use std::time::Duration;

use super::engine::SessionError;

/// One item of a request.
#[derive(Debug)]
pub enum Payload<R, I> {
    /// Still to be prepared.
    Raw(R),
    /// Ready for a session (a tensor that came over the wire).
    Ready(I),
}

/// What became of an admitted item. Every admitted item gets exactly one.
#[derive(Debug)]
pub enum Outcome<O, E> {
    /// Inference ran.
    Completed {
        /// The session's output.
        output: O,
        /// Where the time went.
        timings: Timings,
    },
    /// The item itself cannot be prepared.
    Invalid(E),
    /// Its deadline passed, or it could not be done by then any more.
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
    Completed,
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

/// Why the server is too busy for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There are no places for all of its items.
    QueueFull,
    /// Its client has its share of the places, and those that are left are kept for others.
    ClientShare,
    /// It would not be done by its deadline.
    Deadline,
    /// It has no deadline of its own and would wait too long, in a queue that has been too long for a while.
    StandingQueue,
}

impl Refusal {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::ClientShare, Self::Deadline, Self::StandingQueue];

    /// The reason as a word for programs, stable over versions.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ClientShare => "client_share",
            Self::Deadline => "deadline",
            Self::StandingQueue => "standing_queue",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "the queue is full",
            Self::ClientShare => "the client has its share of the queue, and the rest is kept for others",
            Self::Deadline => "the queue is too long for the request to be done by its deadline",
            Self::StandingQueue => "the queue has been too long for a while",
        })
    }
}

/// Why a request was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The server is too busy.
    #[error("{reason}")]
    Overloaded {
        /// Why.
        reason: Refusal,
        /// When the request would be admitted if no other came before.
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
    /// Its work takes longer than its deadline allows, even with nothing else to do.
    #[error("the request needs at least {} ms of work, more than its deadline allows", needed.as_millis().max(1))]
    TooShort {
        /// What it takes at least.
        needed: Duration,
    },
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
            Self::Expired | Self::TooShort { .. } => "deadline",
            Self::Draining => "draining",
        }
    }
}
