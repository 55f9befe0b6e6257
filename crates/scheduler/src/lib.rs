//! Admission, scheduling and batching, generic over what is computed: no ort, no HTTP, no images.
//!
//! An item goes through two stages, both on the scheduler's own workers (one a core), so that decoding and inference
//! never oversubscribe the machine: [`Engine::prepare`] (bytes to model input) and a session's run (a batch of inputs to outputs).
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use repserve_scheduler::{
//!     BatchSettings, Engine, Memory, Outcome, Payload, Prepared, Request, Session, SessionError, Sessions, Width, pair,
//! };
//!
//! /// Reads numbers and doubles them.
//! struct Doubling;
//! struct Doubler;
//!
//! impl Engine for Doubling {
//!     type Raw = &'static str;
//!     type Input = u32;
//!     type Output = u32;
//!     type Invalid = std::num::ParseIntError;
//!     type Session = Doubler;
//!
//!     fn prepare(&self, raw: &'static str) -> Result<Prepared<u32>, std::num::ParseIntError> {
//!         let (decode, preprocess) = (Duration::ZERO, Duration::ZERO);
//!         Ok(Prepared { input: raw.parse()?, decode, preprocess })
//!     }
//!
//!     fn rebuild(&self, _: Width) -> Result<Doubler, SessionError> {
//!         Ok(Doubler)
//!     }
//! }
//!
//! impl Session for Doubler {
//!     type Input = u32;
//!     type Output = u32;
//!
//!     fn run(&mut self, batch: &[u32]) -> Result<Vec<u32>, SessionError> {
//!         Ok(batch.iter().map(|number| number * 2).collect())
//!     }
//! }
//!
//! let sessions = Sessions { narrow: vec![Doubler], wide: None };
//! let memory = Arc::new(Memory::unlimited());
//! let (batcher, scheduler) = pair(Arc::new(Doubling), sessions, &BatchSettings::default(), memory, Arc::new(()));
//! let workers = scheduler.spawn()?;
//!
//! let pending = batcher.submit(vec![Payload::Raw("21"), Payload::Raw("one")], &Request::default(), None)?;
//! let outcomes = tokio::runtime::Builder::new_current_thread().build()?.block_on(pending);
//! assert!(matches!(outcomes[0], Outcome::Completed { output: 42, .. }));
//! assert!(matches!(outcomes[1], Outcome::Invalid(_)));
//! assert!(workers.drain(Duration::from_secs(10)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod backoff;
mod batch_size;
mod cost;
mod engine;
mod fair_queue;
mod handle;
mod item;
mod jobs;
mod memory;
mod observer;
mod others;
mod policy;
mod pool;
mod recent;
mod reply;
mod request;
mod reservations;
mod settings;
mod shared;
mod shares;
mod standing_queue;
mod starts;
mod state;
mod sum_tree;
mod worker;

pub use engine::{Cost, Engine, Prepared, Session, SessionError, Sessions, Width};
pub use handle::{Batcher, Pending, Reservation, Scheduler, Workers, pair};
pub use item::{End, Outcome, Payload, Refusal, Rejected, Timings};
pub use memory::Memory;
pub use observer::Observer;
pub use policy::{BatchPolicy, Decision, ItemId, Predicted, RequestId, Shape};
pub use pool::{RoomMade, WorkerPool};
pub use request::{ClientId, Deadline, Priority, Request};
pub use settings::{BatchSettings, RunTimes, Tuning};
pub use state::Snapshot;
