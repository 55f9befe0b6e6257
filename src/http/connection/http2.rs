//! A connection of HTTP/2: many requests at a time, driven in the connection's one task.
//!
//! What bounds it: its [`Allotment`] (requests, and what is buffered of bodies that no handler reads), the size of a head, and
//! [`ConnectionHandle`], which closes it where its client does not take the responses. A connection without requests is told to go (GOAWAY)
//! before it is closed, so that no request is lost; so is one whose client resets more requests than it lets end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::allotment::Allotment;
use super::handle::ConnectionHandle;
use super::phase::Leaving;
use super::stream::SharedStream;
use super::streams::StreamService;

/// What every client of HTTP/2 sends first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest request head, as HTTP/2 counts it.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Streams that a client has reset, and whose handlers have not been told yet (the attack called rapid reset).
const RESETS_PENDING_MAX: usize = 32;
/// What hyper may buffer of each response.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// How often a silent client is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Runs the streams of one connection in its own task: what hyper spawns is kept here until the task takes it.
#[derive(Clone, Default)]
struct StreamExecutor(Arc<Mutex<Vec<Spawned>>>);

type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

impl StreamExecutor {
    fn take(&self) -> Vec<Spawned> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let mut spawned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spawned.push(Box::pin(future));
    }
}

/// How a connection ended.
pub(super) enum Ended {
    /// By its client, by an error, or by a drain.
    Done(hyper::Result<()>),
    /// It had no request for too long.
    Idle,
    /// Its client reset too many requests.
    Resets,
}

/// Serves a connection until it ends. Dropping the future drops its requests.
pub(super) async fn serve<S>(
    stream: SharedStream<S>,
    requests: StreamService,
    handle: &ConnectionHandle,
    allotment: &Allotment,
    finishing: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    handle.multiplexed();
    let executor = StreamExecutor::default();
    let mut connection = pin!(builder(executor.clone(), allotment).serve_connection(TokioIo::new(stream), requests));
    let mut running = FuturesUnordered::new();
    let mut leaving = None;
    loop {
        tokio::select! {
            biased;
            outcome = poll_fn(|context| poll(connection.as_mut(), &executor, &mut running, context)) => {
                return match leaving {
                    Some(Leaving::Idle) => Ended::Idle,
                    Some(Leaving::Resets) => Ended::Resets,
                    Some(Leaving::Drained) | None => Ended::Done(outcome),
                };
            }
            () = finishing.cancelled(), if leaving.is_none() => leaving = Some(Leaving::Drained),
            why = handle.leaving(), if leaving.is_none() => leaving = Some(why),
        }
        if leaving.is_some() {
            handle.closing();
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Drives the connection and its streams.
fn poll(
    mut connection: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    executor: &StreamExecutor,
    running: &mut FuturesUnordered<Spawned>,
    context: &mut Context<'_>,
) -> Poll<hyper::Result<()>> {
    loop {
        if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        running.extend(executor.take());
        if !matches!(running.poll_next_unpin(context), Poll::Ready(Some(()))) {
            return Poll::Pending;
        }
    }
}

fn builder(executor: StreamExecutor, allotment: &Allotment) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(allotment.stream_window_bytes())
        .initial_connection_window_size(allotment.connection_window_bytes())
        .max_concurrent_streams(allotment.streams())
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}
