//! Connections: what they are doing, and what the server closed them for.

use prometheus::{IntCounter, IntGauge};

use super::maker::Maker;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionActivity {
    /// It has no complete request.
    Idle,
    /// Its request is being handled.
    Busy,
    /// It is beyond the limit and serves probes alone.
    Reserve,
    /// It has its last response and waits for its client to close.
    Lingering,
}

impl ConnectionActivity {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Busy, Self::Reserve, Self::Lingering];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Reserve => "reserve",
            Self::Lingering => "lingering",
        }
    }
}

/// What the server closed a connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It had no request for too long.
    Idle,
    /// A request's head did not arrive in time.
    HeadTimeout,
    /// Its client did not read its response.
    WriteTimeout,
    /// Its client did not close it after the last response.
    LingerTimeout,
    /// It had no request, and another connection needed its slot.
    Evicted,
    /// Its client went away while its request was being handled.
    HangUp,
    /// Its client, one of HTTP/2, reset more requests than it let end.
    Resets,
    /// No slot was left, not even in the reserve.
    Refused,
}

impl Closed {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::HeadTimeout,
        Self::WriteTimeout,
        Self::LingerTimeout,
        Self::Evicted,
        Self::HangUp,
        Self::Resets,
        Self::Refused,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::HeadTimeout => "head_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::LingerTimeout => "linger_timeout",
            Self::Evicted => "evicted",
            Self::HangUp => "hang_up",
            Self::Resets => "resets",
            Self::Refused => "refused",
        }
    }
}

/// The metrics of all connections of a server.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    states: [IntGauge; ConnectionActivity::ALL.len()],
    closed: [IntCounter; Closed::ALL.len()],
}

impl ConnectionMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let states = make.numbers("connections", &["state"], "Open connections by what they do.")?;
        let closed = make.counters(
            "connections_closed_total",
            &["reason"],
            "Connections that the server closed before their clients did.",
        )?;
        Ok(Self {
            states: ConnectionActivity::ALL.map(|state| states.with_label_values(&[state.label()])),
            closed: Closed::ALL.map(|reason| closed.with_label_values(&[reason.label()])),
        })
    }

    /// A connection does something else now; `None`: it is not there.
    pub fn moved(&self, from: Option<ConnectionActivity>, to: Option<ConnectionActivity>) {
        if let Some(from) = from {
            self.states[from as usize].dec();
        }
        if let Some(to) = to {
            self.states[to as usize].inc();
        }
    }

    /// The server closed a connection.
    pub fn closed(&self, reason: Closed) {
        self.closed[reason as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_index() {
        for (i, state) in ConnectionActivity::ALL.iter().enumerate() {
            assert_eq!(*state as usize, i);
        }
        for (i, reason) in Closed::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
    }
}
