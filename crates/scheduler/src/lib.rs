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
//!     BatchSettings, Engine, Memory, Outcome, Prepared, Session, SessionError, Sessions, Width, Work, pair,
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
//! let pending = batcher.submit(vec![Work::Raw("21"), Work::Raw("one")], None).expect("the queue is empty");
//! let outcomes = tokio::runtime::Builder::new_current_thread().build()?.block_on(pending);
//! assert!(matches!(outcomes[0], Outcome::Answered { output: 42, .. }));
//! assert!(matches!(outcomes[1], Outcome::Invalid(_)));
//! assert!(workers.drain(Duration::from_secs(10)));
//! # Ok::<(), std::io::Error>(())
//! ```

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
