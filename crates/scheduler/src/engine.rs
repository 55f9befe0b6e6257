//! What a scheduler drives: an engine that prepares items, and the sessions that run them in batches.

use std::time::Duration;

/// What the scheduler drives.
pub trait Engine: Send + Sync + 'static {
    /// An item as it arrives, for example an encoded image.
    type Raw: Send + 'static;
    /// An item that a session can take, for example a normalised tensor.
    type Input: Send + 'static;
    /// What a session returns for one item.
    type Output: Send + 'static;
    /// Why an item could not be prepared: the sender's fault, returned to the sender.
    type Invalid: Send + 'static;
    /// One session; a worker thread owns it while it runs.
    type Session: Session<Input = Self::Input, Output = Self::Output> + Send + 'static;

    /// What [`Self::prepare`] will take. Must cost little: it is called before the item is admitted.
    fn cost(&self, _raw: &Self::Raw) -> Cost {
        Cost::default()
    }

    /// Turns an item into a session's input. Pure CPU work, called on a worker.
    ///
    /// # Errors
    /// Where the item itself is at fault.
    fn prepare(&self, raw: Self::Raw) -> Result<Prepared<Self::Input>, Self::Invalid>;

    /// Makes a session again, after one failed or panicked.
    ///
    /// # Errors
    /// Where it cannot be made.
    fn rebuild(&self, width: Width) -> Result<Self::Session, SessionError>;
}

/// What preparing an item takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Memory that is held until it is done, in bytes; taken out of [`Memory`](crate::Memory) before it begins.
    pub bytes: u64,
    /// How long it should take one core, as far as that is known from before; what is seen corrects it.
    pub expected: Duration,
    /// What is corrected together: items of one class and of about the same `expected` time.
    pub class: u8,
    /// The size of the item as it came; what is seen says what to expect of a request of which only the size is known.
    pub encoded_bytes: u64,
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

    /// Runs a batch; returns as many outputs as inputs, in order.
    ///
    /// # Errors
    /// Where the run fails; the session is then made again.
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

/// The sessions that a scheduler starts with.
#[derive(Debug)]
pub struct Sessions<S> {
    /// One-core sessions; there are as many workers.
    pub narrow: Vec<S>,
    /// The all-core session, where it pays.
    pub wide: Option<S>,
}
