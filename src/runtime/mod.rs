//! The only room that knows `ort`: the shared library, sessions, the pool that shares weights, the thread plan.

mod error;
mod locate;
mod session;

pub use error::RuntimeError;
pub use locate::Runtime;
pub use session::{Input, ModelSession, SessionOptions};
