//! One connection, from the moment it is accepted until it is closed.
//!
//! [`Connections`] drives it: TLS, then hyper. [`phase`] says what it is doing and until when it may, [`slots`] how many there
//! may be and which one makes room, [`link`] holds both together with what the parts tell: [`stream`] (the socket), [`requests`]
//! (the router around one connection's requests), [`early`] (answers before the end of a body), [`hang_up`] (clients that go), [`linger`]
//! (the end), [`memory`] (what connections leave).

mod early;
mod hang_up;
mod linger;
mod link;
mod memory;
mod phase;
mod requests;
mod slots;
mod stream;

pub(super) use early::close_after;
pub(super) use memory::give_back;
pub(super) use phase::Timeouts;
pub(super) use requests::Reserved;
pub(super) use slots::{Slot, Slots};

use std::future::poll_fn;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::hang_up::HangUp;
use self::linger::linger;
use self::link::Link;
use self::requests::Requests;
use self::stream::{Shared, Stream};
use super::budget::Peer;
use super::secure::Tls;
use super::settings::ServerSettings;
use super::shed::{self, Refusal};
use crate::telemetry::{Closed, Metrics};

/// Largest request head. A connection that has sent one keeps a buffer of that size until it closes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// What hyper buffers of a request or an answer.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Time for the one request of a connection beyond the limit.
const RESERVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// How the connections of a listener are served.
#[derive(Debug)]
pub(super) struct Connections {
    builder: http1::Builder,
    tls: Option<Arc<Tls>>,
    timeouts: Timeouts,
    metrics: Arc<Metrics>,
    /// No further requests are taken.
    finishing: CancellationToken,
}

impl Connections {
    pub(super) fn new(settings: &ServerSettings, tls: Option<Arc<Tls>>, metrics: Arc<Metrics>) -> Self {
        let mut builder = http1::Builder::new();
        // Whether a client that sends nothing more still wants its answer is found out here (`hang_up`), and what it may take
        // to send a head, too.
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .half_close(true)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX);
        Self {
            builder,
            tls,
            timeouts: settings.connection_timeouts(),
            metrics,
            finishing: CancellationToken::new(),
        }
    }

    /// Lets every connection finish its request and take no other.
    pub(super) fn finish(&self) {
        self.finishing.cancel();
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(&self, tcp: TcpStream, slot: Slot, router: Router) {
        let (close, reserve) = (slot.close(), slot.is_reserve());
        let mut timeouts = self.timeouts;
        if reserve {
            timeouts.idle = timeouts.idle.min(RESERVE_TIMEOUT);
            timeouts.head = timeouts.head.min(RESERVE_TIMEOUT);
        }
        let peer = Peer(tcp.peer_addr().ok());
        let (tcp, link) = (Arc::new(tcp), Arc::new(Link::new(slot, timeouts)));
        let requests = Requests::new(router, Arc::clone(&link), reserve, peer);
        let closed = tokio::select! {
            biased;
            closed = self.to_its_end(&tcp, &link, requests) => closed,
            () = close.notified() => Some(Closed::Evicted),
            reason = link.expired() => Some(reason),
        };
        if let Some(reason) = closed {
            self.metrics.connections.closed(reason);
            tracing::debug!(reason = reason.label(), "a connection was closed");
        }
        // What a client does not read is not kept for it either.
        if closed == Some(Closed::WriteTimeout)
            && let Err(error) = tcp.set_zero_linger()
        {
            tracing::debug!(%error, "cannot discard what was written");
        }
        link.ended();
    }

    /// Everything that is said on a connection, and what nobody wants to hear after that.
    async fn to_its_end(&self, tcp: &Arc<TcpStream>, link: &Arc<Link>, requests: Requests) -> Option<Closed> {
        let closed = self.converse(tcp, link, requests).await;
        if closed.is_none() && link.lingers() {
            linger(tcp, link).await;
        }
        closed
    }

    /// TLS where there is a certificate, then HTTP. Returns why it was closed from here, where it was.
    async fn converse(&self, tcp: &Arc<TcpStream>, link: &Arc<Link>, requests: Requests) -> Option<Closed> {
        let stream = Stream::new(Arc::clone(tcp), Arc::clone(link));
        let Some(tls) = &self.tls else {
            return self.http(stream, tcp, link, requests).await;
        };
        match tls.acceptor().accept(stream).await {
            Ok(stream) => self.http(stream, tcp, link, requests).await,
            Err(error) => {
                tracing::debug!(%error, "no TLS connection");
                None
            }
        }
    }

    async fn http<S>(&self, stream: S, tcp: &Arc<TcpStream>, link: &Link, requests: Requests) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Shared::new(stream);
        let connection = self.builder.serve_connection(TokioIo::new(stream.clone()), requests);
        let mut connection = std::pin::pin!(connection);
        let mut hang_up = HangUp::new(Arc::clone(tcp));
        let mut finishing = false;
        loop {
            tokio::select! {
                biased;
                outcome = connection.as_mut() => {
                    self.ended(outcome);
                    return None;
                }
                () = self.finishing.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = poll_fn(|context| hang_up.poll(context, link, &stream)) => return Some(Closed::HangUp),
            }
        }
    }

    /// Notes how a connection ended. hyper answers a head that it cannot read before there is a request to route.
    fn ended(&self, outcome: hyper::Result<()>) {
        if let Err(error) = outcome {
            let code = match &error {
                error if error.is_parse_too_large() => Some(431),
                error if error.is_parse() => Some(400),
                _ => None,
            };
            if let Some(code) = code {
                self.metrics.request_unreadable(code);
                shed::refused(&Refusal {
                    route: "other",
                    code,
                    id: "",
                    detail: &error.to_string(),
                });
            }
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
