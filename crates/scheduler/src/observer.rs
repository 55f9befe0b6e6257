//! What a scheduler reports, for metrics.

use std::time::Duration;

use super::engine::{SessionError, Width};
use super::item::{End, Timings};

/// Is notified of what happens, for metrics. Called on workers, sometimes under the scheduler's lock: must be quick and must not call back.
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
