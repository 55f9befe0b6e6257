//! What systemd, or another service manager that has set `NOTIFY_SOCKET`, is told: datagrams of `NAME=value` lines (sd_notify(3)).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::http::HealthState;

/// How long a manager may take to make room for a message.
const SEND_MAX: Duration = Duration::from_secs(1);
/// Longest text of a state; managers show one line.
const STATUS_CHARS_MAX: usize = 500;

/// The service manager, if there is one.
#[derive(Debug, Clone)]
pub(super) struct ServiceManager(Option<Arc<Channel>>);

#[derive(Debug)]
struct Channel {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// None: what it is told goes nowhere.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The one that `NOTIFY_SOCKET` names.
    pub(super) fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::none();
        };
        match Channel::to(name.as_bytes()) {
            Ok(channel) => Self(Some(Arc::new(channel))),
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "NOTIFY_SOCKET cannot be used: the service manager is told nothing");
                Self::none()
            }
        }
    }

    /// Tells it how the server is, as that changes; ends with the server.
    pub(super) async fn follow(self, mut health: watch::Receiver<HealthState>) {
        let mut started = false;
        loop {
            let state = health.borrow_and_update().clone();
            self.send(message(&state, started)).await;
            started |= is_started(&state);
            let last = matches!(state, HealthState::Draining | HealthState::Failed(_));
            if last || health.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells it that the models are read again.
    pub(super) async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        let text = format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=reading the models again\n");
        self.send(text).await;
    }

    /// Tells it that they were.
    pub(super) async fn reloaded(&self, state: &HealthState) {
        self.send(format!("READY=1\nSTATUS={}\n", status(state))).await;
    }

    /// Tells it that the server works.
    pub(super) async fn alive(&self) {
        self.send("WATCHDOG=1\n".to_owned()).await;
    }

    async fn send(&self, text: String) {
        let Some(channel) = self.0.clone() else {
            return;
        };
        let sent = tokio::task::spawn_blocking(move || channel.socket.send_to_addr(text.as_bytes(), &channel.address));
        if let Ok(Err(error)) = sent.await {
            tracing::warn!(%error, "the service manager takes no message");
        }
    }
}

impl Channel {
    /// The address is a path, or behind an `@` a name without a file.
    fn to(name: &[u8]) -> io::Result<Self> {
        let address = match name {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)?
            }
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        Ok(Self { socket, address })
    }
}

/// Whether starting is over: the server serves what can be served. Where a model of several is missing it does too, and starting
/// again would not mend that.
fn is_started(state: &HealthState) -> bool {
    matches!(state, HealthState::Ready | HealthState::Incomplete(_))
}

/// What the manager is told of a state; `started` is whether it knows that starting is over.
fn message(state: &HealthState, started: bool) -> String {
    let change = match state {
        HealthState::Draining => "STOPPING=1\n",
        state if is_started(state) && !started => "READY=1\n",
        _ => "",
    };
    format!("{change}STATUS={}\n", status(state))
}

/// The state in one line.
fn status(state: &HealthState) -> String {
    let text = match state {
        HealthState::Loading(phase) => format!("loading (phase: {phase})"),
        HealthState::Ready => "ready".to_owned(),
        HealthState::Draining => "draining".to_owned(),
        HealthState::Incomplete(reason) => format!("not ready: {reason}"),
        HealthState::Failed(reason) => format!("the model cannot be served: {reason}"),
    };
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(STATUS_CHARS_MAX).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: HealthState, started: bool, expected: &str) {
        assert_eq!(message(&state, started), expected, "{state:?}");
    }

    #[test]
    fn a_state_is_told_with_what_changes() {
        check(HealthState::Loading("fuse"), false, "STATUS=loading (phase: fuse)\n");
        check(HealthState::Ready, false, "READY=1\nSTATUS=ready\n");
        check(HealthState::Ready, true, "STATUS=ready\n");
        check(HealthState::Draining, true, "STOPPING=1\nSTATUS=draining\n");
        let missing = HealthState::Incomplete("model \"a\" is required".to_owned());
        check(missing, false, "READY=1\nSTATUS=not ready: model \"a\" is required\n");
    }

    #[test]
    fn a_reason_cannot_become_a_line_of_its_own() {
        let reason = format!("bad\nREADY=1{}", "x".repeat(10_000));
        let told = message(&HealthState::Failed(reason), false);
        assert!(
            told.starts_with("STATUS=the model cannot be served: bad READY=1xxx"),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1);
        assert!(told.len() < 600);
    }

    #[test]
    fn an_address_is_a_path_or_a_name() {
        assert!(Channel::to(b"/run/systemd/notify").is_ok());
        assert!(Channel::to(b"notify").is_err());
        assert!(Channel::to(&[b"/".as_slice(), &[b'a'; 200]].concat()).is_err());
        #[cfg(target_os = "linux")]
        assert!(Channel::to(b"@/org/manager").is_ok());
    }
}
