//! Admission, scheduling and batching, generic over what is computed: no ort, no HTTP, no images.
//!
//! An item goes through two stages, both on the scheduler's own workers (one a core), so that decoding and inference
//! never oversubscribe the machine: [`Engine::prepare`] (bytes to model input) and a session's run (a batch of inputs to outputs).

mod backoff;
mod engine;
mod handle;
mod item;
mod memory;
mod observer;
mod pace;
mod policy;
mod settings;
mod shared;
mod state;
mod worker;

pub use engine::{Cost, Engine, Prepared, Session, SessionError, Sessions, Width};
pub use handle::{Batcher, Pending, Scheduler, Workers, pair};
pub use item::{Deadline, End, Outcome, Rejected, Timings, Work};
pub use memory::Memory;
pub use observer::Observer;
pub use policy::{BatchPolicy, Decision, Event, ItemId, Shape};
pub use settings::{BatchSettings, Tuning};
pub use state::Snapshot;
