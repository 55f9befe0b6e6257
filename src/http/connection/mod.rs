//! One connection, from the moment it is accepted until it is closed.
//!
//! [`Connections`] drives it: TLS, then hyper. [`phase`] is the state machine: what a connection is doing and until when it may.
//! [`slots`] bounds how many there are. [`handle`] holds the state that the parts share: [`stream`] (the socket), [`service`] (the
//! router, called for each request), [`http2`], [`streams`] and [`allotment`] (the same for HTTP/2, which a client's first bytes tell), [`early_response`] (responses before the end of a body), [`hang_up`] (clients that go away),
//! [`linger`] (the end). [`memory`] returns what closed connections leave.

mod allotment;
mod early_response;
mod handle;
mod hang_up;
mod http2;
mod linger;
mod memory;
mod phase;
mod service;
mod slots;
mod stream;
mod streams;

pub(super) use memory::return_memory;
pub(super) use service::Reserved;
pub(super) use slots::{Slot, Slots};

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::allotment::StreamPool;
use self::handle::ConnectionHandle;
use self::hang_up::HangUp;
use self::linger::linger;
use self::service::RequestService;
use self::stream::{SharedStream, Stream};
use self::streams::StreamService;
use super::client::Peer;
use super::refusal_log::{self, Refusal};
use super::secure::{Speaks, Tls};
use super::settings::ServerSettings;
use super::timeouts::Timeouts;
use crate::telemetry::{Closed, Metrics};

/// Largest request head. A connection that has sent one keeps a buffer of that size until it closes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// What hyper buffers of a request or a response.
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
    /// Requests of HTTP/2 that may be open at a time, besides those of every connection.
    streams: Arc<StreamPool>,
    /// The number of the next one.
    next: AtomicU64,
    /// No further requests are taken.
    finishing: CancellationToken,
}

/// Where the requests of a connection go, and what is known of all of them.
struct Requests {
    router: Router,
    speaks: Speaks,
    /// The connection is one beyond the limit.
    reserve: bool,
    peer: Peer,
}

impl Connections {
    pub(super) fn new(settings: &ServerSettings, tls: Option<Arc<Tls>>, metrics: Arc<Metrics>) -> Self {
        let mut builder = http1::Builder::new();
        // Whether a client that sends nothing more still waits for its response is found out in `hang_up`; the time limit of a
        // head is in `phase`.
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
            streams: StreamPool::new(settings.connections_max),
            next: AtomicU64::new(1),
            finishing: CancellationToken::new(),
        }
    }

    /// Lets every connection finish its request and take no other.
    pub(super) fn finish(&self) {
        self.finishing.cancel();
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(&self, tcp: TcpStream, slot: Slot, router: Router, speaks: Speaks) {
        let (close, reserve) = (slot.close(), slot.is_reserve());
        let mut timeouts = self.timeouts;
        if reserve {
            timeouts.idle = timeouts.idle.min(RESERVE_TIMEOUT);
            timeouts.head = timeouts.head.min(RESERVE_TIMEOUT);
        }
        let peer = Peer {
            address: tcp.peer_addr().ok(),
            connection: self.next.fetch_add(1, Ordering::Relaxed),
        };
        let (tcp, handle) = (Arc::new(tcp), Arc::new(ConnectionHandle::new(slot, timeouts)));
        let requests = Requests {
            router,
            speaks,
            reserve,
            peer,
        };
        let closed = tokio::select! {
            biased;
            closed = self.drive(&tcp, &handle, requests) => closed,
            () = close.notified() => Some(Closed::Evicted),
            reason = handle.expired() => Some(reason),
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
        handle.ended();
    }

    /// Serves the connection, then lingers where the peer may still send.
    async fn drive(&self, tcp: &Arc<TcpStream>, handle: &Arc<ConnectionHandle>, requests: Requests) -> Option<Closed> {
        let closed = self.serve_stream(tcp, handle, requests).await;
        if closed.is_none() && handle.lingers() {
            linger(tcp, handle).await;
        }
        closed
    }

    /// TLS where there is a certificate, then HTTP. Returns why it was closed from here, where it was.
    async fn serve_stream(
        &self,
        tcp: &Arc<TcpStream>,
        handle: &Arc<ConnectionHandle>,
        requests: Requests,
    ) -> Option<Closed> {
        let stream = Stream::new(Arc::clone(tcp), Arc::clone(handle));
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, tcp, handle, requests).await;
        };
        match tls.acceptor(requests.speaks).accept(stream).await {
            Ok(stream) => self.serve_http(stream, tcp, handle, requests).await,
            Err(error) => {
                tracing::debug!(%error, "no TLS connection");
                None
            }
        }
    }

    async fn serve_http<S>(
        &self,
        stream: S,
        tcp: &Arc<TcpStream>,
        handle: &Arc<ConnectionHandle>,
        requests: Requests,
    ) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = SharedStream::new(stream);
        let begins = poll_fn(|context| stream.poll_begins_with(http2::PREFACE, context));
        let is_http2 = tokio::select! {
            biased;
            is_http2 = begins => is_http2,
            () = self.finishing.cancelled() => {
                if !stream.has_ahead() {
                    return None;
                }
                false
            }
        };
        if is_http2 {
            self.serve_http2(stream, handle, requests).await
        } else {
            self.serve_http1(stream, tcp, handle, requests).await
        }
    }

    async fn serve_http2<S>(
        &self,
        stream: SharedStream<S>,
        handle: &Arc<ConnectionHandle>,
        Requests {
            router, reserve, peer, ..
        }: Requests,
    ) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let allotment = self.streams.allot(reserve);
        let requests = StreamService::new(router, Arc::clone(handle), reserve, peer);
        match http2::serve(stream, requests, handle, &allotment, &self.finishing).await {
            http2::Ended::Done(outcome) => {
                self.ended(outcome);
                None
            }
            http2::Ended::Idle => Some(Closed::Idle),
            http2::Ended::Resets => Some(Closed::Resets),
        }
    }

    async fn serve_http1<S>(
        &self,
        stream: SharedStream<S>,
        tcp: &Arc<TcpStream>,
        handle: &Arc<ConnectionHandle>,
        Requests {
            router, reserve, peer, ..
        }: Requests,
    ) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = RequestService::new(router, Arc::clone(handle), reserve, peer);
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
                () = poll_fn(|context| hang_up.poll(context, handle, &stream)) => return Some(Closed::HangUp),
            }
        }
    }

    /// Records how a connection ended. hyper itself responds to a head that it cannot read: there is no request to route.
    fn ended(&self, outcome: hyper::Result<()>) {
        if let Err(error) = outcome {
            let code = match &error {
                error if error.is_parse_too_large() => Some(431),
                error if error.is_parse() => Some(400),
                _ => None,
            };
            if let Some(code) = code {
                self.metrics.request_unreadable(code);
                refusal_log::refused(&Refusal {
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
