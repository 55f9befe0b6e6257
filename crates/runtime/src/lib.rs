//! The only room that knows `ort`: the shared library, sessions, the pool that shares weights, the thread plan.

mod cgroup;
mod cores;
mod curve;
mod error;
mod heap;
mod int8;
mod locate;
mod memory;
mod operators;
mod plan;
mod pool;
mod probe;
mod session;
mod settings;
mod shared;
mod winograd;

pub use cores::Cores;
pub use curve::{Curve, Point};
pub use error::RuntimeError;
pub use heap::{return_freed_memory, return_large_blocks};
pub use locate::Runtime;
pub use memory::MemoryPlan;
pub use operators::{Int8Kernels, Layers};
pub use plan::Plan;
pub use pool::Pool;
pub use probe::{GraphProbe, ProbeOutput};
pub use session::{Input, ModelSession, SessionOptions};
pub use settings::{PlanMode, RuntimeSettings};
pub use winograd::{ChosenLayer, Lowered, WinogradMode, WinogradReport, lower_for_session};
