//! The accept loop, and the two ways of stopping.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection::{Connections, Slots, return_memory};
use super::secure::{Speaks, Tls};
use super::settings::ServerSettings;
use crate::telemetry::{Metrics, Throttle};

/// How long the loop rests after an error of `accept` that is not one connection's (such as no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Between two lines of the log about connections that cannot be accepted.
const FAILURE_PERIOD: Duration = Duration::from_secs(10);

/// How long connections may still send a request after the listener has closed.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// What the kernel keeps of a response that its client does not read, besides what the client's own buffer takes.
const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// How far stopping has come. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Serve.
    #[default]
    Run,
    /// Drain, then stop.
    Drain,
    /// Stop at once.
    Now,
}

/// A bound listener and how its connections are treated.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    connections: Arc<Connections>,
    slots: Arc<Slots>,
    speaks: Speaks,
    failures: Throttle,
}

impl Server {
    /// Serves what comes to `listener`, encrypted where there is a certificate. What is no HTTP is counted in `metrics`; every
    /// request that is one, where it is routed.
    pub fn new(listener: TcpListener, settings: &ServerSettings, tls: Option<Arc<Tls>>, metrics: Arc<Metrics>) -> Self {
        Self {
            listener,
            connections: Arc::new(Connections::new(settings, tls, Arc::clone(&metrics))),
            slots: Slots::new(settings.connections_max, metrics),
            speaks: Speaks::Http,
            failures: Throttle::new(FAILURE_PERIOD),
        }
    }

    /// A second listener, for gRPC. Its connections are treated alike and count among the same.
    #[must_use]
    pub fn grpc(&self, listener: TcpListener) -> Self {
        Self {
            listener,
            connections: Arc::clone(&self.connections),
            slots: Arc::clone(&self.slots),
            speaks: Speaks::Grpc,
            failures: Throttle::new(FAILURE_PERIOD),
        }
    }

    /// Accepts until `closing` holds, then takes what had connected already and closes the listener. Returns what waits for
    /// the connections.
    pub async fn accept_until(self, router: Router, mut closing: watch::Receiver<bool>) -> Draining {
        if self.speaks == Speaks::Http {
            tokio::spawn(return_memory(self.slots.live()));
        }
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.serve(stream, &router),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.slots.close_one();
                    if let Some(failures) = self.failures.count(std::time::Instant::now()) {
                        tracing::warn!(%error, failures, "cannot accept connections");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        for stream in waiting(&self.listener) {
            self.serve(stream, &router);
        }
        Draining {
            connections: self.connections,
            live: self.slots.live(),
        }
    }

    /// Serves a connection in a task of its own. Where there is no slot, it is closed.
    fn serve(&self, stream: TcpStream, router: &Router) {
        let Some(slot) = self.slots.take() else {
            return;
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "cannot set a connection's options");
        }
        let (connections, router, speaks) = (Arc::clone(&self.connections), router.clone(), self.speaks);
        tokio::spawn(async move { connections.serve(stream, slot, router, speaks).await });
    }
}

/// The connections that the kernel holds ready. It is asked itself: the runtime may not have heard of them yet, and those that are left when the
/// listener closes are reset.
fn waiting(listener: &TcpListener) -> impl Iterator<Item = TcpStream> {
    let socket = socket2::SockRef::from(listener);
    std::iter::from_fn(move || {
        loop {
            match socket.accept() {
                Ok((accepted, _)) => {
                    let usable = accepted.set_nonblocking(true);
                    if let Ok(stream) = usable.and_then(|()| TcpStream::from_std(accepted.into())) {
                        return Some(stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    })
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

/// Connections whose requests are being finished.
#[derive(Debug)]
pub struct Draining {
    connections: Arc<Connections>,
    live: watch::Receiver<usize>,
}

impl Draining {
    /// Finishes what was begun and closes what is idle. A connection that was accepted at the last moment has some time to
    /// send its request: closed at once, it would look like a lost one.
    pub async fn finish(mut self) {
        let none = |live: &usize| *live == 0;
        let _ = tokio::time::timeout(LAST_REQUESTS, self.live.wait_for(none)).await;
        self.connections.finish();
        let _ = self.live.wait_for(none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_of_which_the_runtime_has_not_heard_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        assert_eq!(waiting(&listener).count(), 3);
    }
}
