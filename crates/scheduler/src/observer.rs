//! What a scheduler reports, for metrics.

use std::time::Duration;

use super::engine::{SessionError, Width};
use super::item::{End, Rejected, Timings};
use super::policy::Predicted;

/// Is notified of what happens, for metrics. Called on workers and where requests are submitted, sometimes under the scheduler's lock: must be
/// quick and must not call back.
pub trait Observer: Send + Sync + 'static {
    /// A request was not admitted, or not given a reservation.
    fn rejected(&self, _rejected: &Rejected) {}
    /// An item was prepared.
    fn prepared(&self, _decode: Duration, _preprocess: Duration) {}
    /// A run ended well.
    fn ran(&self, _width: Width, _batch_size: usize, _inference: Duration) {}
    /// A session failed and is made anew.
    fn rebuilding(&self, _width: Width, _reason: &SessionError) {}
    /// An item ended; `in_time` where it has a deadline: whether it was completed by then.
    fn ended(&self, _end: End, _timings: &Timings, _in_time: Option<bool>) {}
    /// All items of a request were run.
    fn predicted(&self, _predicted: Predicted) {}
}

/// Observes nothing.
impl Observer for () {}
