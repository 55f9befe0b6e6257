//! What a request says of itself: until when, how urgent, and whose it is.

use std::time::Instant;

/// When a request must be answered; `None` never.
pub type Deadline = Option<Instant>;

/// Who sent a request: clients share the workers fairly. The caller makes the number, for example the hash of an API key or of an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// How urgent a request is beside others of the same client: 1 before 2 before 3 and so on. Between clients it changes nothing, so that
/// none gets more than its share by naming a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Default for Priority {
    /// In the middle.
    fn default() -> Self {
        Self(128)
    }
}

/// What a request says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When it must be answered.
    pub deadline: Deadline,
    /// Whether its sender chose that deadline, or chose to have none. Where not, how long it waits is bounded by
    /// [`BatchSettings::wait_ms_max`](crate::BatchSettings::wait_ms_max).
    pub own_deadline: bool,
    /// How urgent it is beside others of its client.
    pub priority: Priority,
    /// Whose it is.
    pub client: ClientId,
    /// Its client's share of the workers relative to other clients'; 0 counts as 1.
    pub weight: u32,
}

impl Default for Request {
    /// No deadline, one client for all.
    fn default() -> Self {
        Self {
            deadline: None,
            own_deadline: false,
            priority: Priority::default(),
            client: ClientId::default(),
            weight: 1,
        }
    }
}

impl Request {
    /// A request whose sender waits as long as it takes.
    #[must_use]
    pub fn patient() -> Self {
        Self {
            own_deadline: true,
            ..Self::default()
        }
    }

    /// A request whose sender wants it answered by `deadline`.
    #[must_use]
    pub fn by(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            own_deadline: true,
            ..Self::default()
        }
    }
}
