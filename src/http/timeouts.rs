//! How long a connection may take for what it is doing.

use std::time::Duration;

/// The time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Without a request.
    pub(super) idle: Duration,
    /// For a request's head.
    pub(super) head: Duration,
    /// For writing, while the peer takes nothing.
    pub(super) write: Duration,
    /// Bytes a second that the peer must take after that time.
    pub(super) write_bytes_per_second_min: u64,
}
