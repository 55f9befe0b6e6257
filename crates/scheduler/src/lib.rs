//! Admission, scheduling and batching, generic over what is computed: no ort, no HTTP, no images.
//!
//! An item goes through two stages, both on the scheduler's own workers (one a core), so that decoding and inference
//! never oversubscribe the machine: [`Engine::prepare`] (bytes to model input) and a session's run (a batch of inputs to outputs).

mod backoff;
mod handle;
mod memory;
mod pace;
mod policy;
mod shared;
mod state;
mod worker;

pub use handle::{Batcher, Pending, Scheduler, Workers, pair};
pub use memory::Memory;
pub use policy::{BatchPolicy, Decision, Event, ItemId, Shape};
pub use state::Snapshot;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the scheduler drives.
pub trait Engine: Send + Sync + 'static {
    /// An item as it arrives, for example an encoded image.
    type Raw: Send + 'static;
    /// An item that a session can take, for example a normalised tensor.
    type Input: Send + 'static;
    /// What a session answers for one item.
    type Output: Send + 'static;
    /// Why an item could not be prepared: the sender's fault, told to the sender.
    type Invalid: Send + 'static;
    /// One session; a worker thread owns it while it runs.
    type Session: Session<Input = Self::Input, Output = Self::Output> + Send + 'static;

    /// What [`Self::prepare`] will take. Must cost little: it is asked before the item is admitted.
    fn cost(&self, _raw: &Self::Raw) -> Cost {
        Cost::default()
    }

    /// Turns an item into a session's input. Pure CPU work, called on a worker.
    fn prepare(&self, raw: Self::Raw) -> Result<Prepared<Self::Input>, Self::Invalid>;

    /// Makes a session again, after one failed or panicked.
    fn rebuild(&self, width: Width) -> Result<Self::Session, SessionError>;
}

/// What preparing an item takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Memory that is held until it is done, in bytes; taken out of [`Memory`] before it begins.
    pub bytes: u64,
    /// How long it takes, in a unit of the engine's choice; nothing counts as 1.
    pub work: u64,
}

/// A prepared item and how long the parts of preparing took.
#[derive(Debug)]
pub struct Prepared<I> {
    /// What the session takes.
    pub input: I,
    /// Time spent decoding.
    pub decode: Duration,
    /// Time spent on geometry and normalisation.
    pub preprocess: Duration,
}

/// Runs batches.
pub trait Session {
    /// One item in.
    type Input;
    /// One item out.
    type Output;

    /// Runs a batch; answers as many outputs as inputs, in order.
    fn run(&mut self, batch: &[Self::Input]) -> Result<Vec<Self::Output>, SessionError>;
}

/// How many cores a session's run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// One core.
    Narrow,
    /// All cores of the plan.
    Wide,
}

/// A session's run failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SessionError(pub String);

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

/// Settings of the queue and the batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSettings {
    /// Images that may wait for a session; a request that finds no room for all of its images is answered 429.
    pub queue_capacity: usize,
    /// Images in one run at most; 0 lets the warm-up measure which size is best.
    pub batch_max: usize,
    /// How long an incomplete batch may wait for more while a session is free, microseconds.
    pub delay_us_max: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            queue_capacity: 256,
            batch_max: 0,
            delay_us_max: 0,
        }
    }
}

/// The numbers that a scheduler works with: the settings, and what was measured for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Items that may wait for a session.
    pub queue_capacity: usize,
    /// Items in one run of a narrow session at most.
    pub batch_max: usize,
    /// Items in one run of the wide session at most: no more than it finishes before a narrow one finishes a single item.
    pub wide_max: usize,
    /// How long an incomplete batch may wait for more while a session is free.
    pub delay: Duration,
    /// How long prepared items may wait while workers prepare more for their batch: about as long as a batch runs.
    pub fill: Duration,
}

impl From<&BatchSettings> for Tuning {
    /// What holds where nothing was measured.
    fn from(settings: &BatchSettings) -> Self {
        let batch_max = settings.batch_max.max(1);
        Self {
            queue_capacity: settings.queue_capacity,
            batch_max,
            wide_max: batch_max,
            delay: Duration::from_micros(settings.delay_us_max),
            fill: Duration::from_millis(20),
        }
    }
}

/// The sessions that a scheduler starts with.
#[derive(Debug)]
pub struct Sessions<S> {
    /// One-core sessions; there are as many workers.
    pub narrow: Vec<S>,
    /// The all-core session, where it pays.
    pub wide: Option<S>,
}

/// How an admitted item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// With an answer.
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

/// Is told what happens, for metrics. Called on workers, sometimes under the scheduler's lock: must be quick and must not call back.
pub trait Observer: Send + Sync + 'static {
    /// An item was prepared.
    fn prepared(&self, _decode: Duration, _preprocess: Duration) {}
    /// A run ended well.
    fn ran(&self, _width: Width, _batch_size: usize, _inference: Duration) {}
    /// A session failed and is made anew.
    fn rebuilding(&self, _width: Width, _reason: &SessionError) {}
    /// An item ended.
    fn ended(&self, _end: End, _timings: &Timings) {}
}

/// Observes nothing.
impl Observer for () {}
