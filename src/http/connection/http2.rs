//! A connection of HTTP/2: many requests at a time, driven in the connection's one task.
//!
//! What bounds it: its [`Allotment`] (requests, and what is buffered of bodies that no handler reads), the size of a head, and
//! [`ConnectionHandle`], which closes it where its client does not take the responses. A connection without requests is told to go (GOAWAY)
//! before it is closed, so that no request is lost; so is one whose client resets more requests than it lets end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
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
/// How often hyper's part is driven before other tasks have their turn.
const ROUNDS_MAX: usize = 8;
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
    let connection = pin!(builder(executor.clone(), allotment).serve_connection(TokioIo::new(stream), requests));
    let mut driver = Driver::new(connection, executor);
    let mut leaving = None;
    loop {
        tokio::select! {
            biased;
            outcome = poll_fn(|context| driver.poll(context)) => {
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
            driver.connection.as_mut().graceful_shutdown();
            driver.woken.wake_by_ref();
        }
    }
}

/// Whether hyper's part of a connection has something to do. The streams wake the task without it.
#[derive(Default)]
struct Woken {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// A connection and its streams, in one task. The streams are driven first, so that what several of them have to send is written at once; hyper's
/// part only when it has been woken, since driving it is most of what a small call costs.
struct Driver<C> {
    connection: C,
    woken: Arc<Woken>,
    executor: StreamExecutor,
    running: FuturesUnordered<Spawned>,
}

impl<C> Driver<C> {
    fn new(connection: C, executor: StreamExecutor) -> Self {
        let woken = Arc::<Woken>::default();
        woken.wake_by_ref();
        Self {
            connection,
            woken,
            executor,
            running: FuturesUnordered::new(),
        }
    }
}

impl<C: Future> Driver<Pin<&mut C>> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<C::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        // What wakes hyper's part from here on is seen below, without waking the task.
        drop(self.woken.task.take());
        for _ in 0..ROUNDS_MAX {
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(context) {}
            if !self.woken.is_woken.swap(false, Ordering::Acquire) {
                self.woken.task.register(context.waker());
                if !self.woken.is_woken.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                continue;
            }
            if let Poll::Ready(outcome) = self.connection.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(outcome);
            }
            self.running.extend(self.executor.take());
        }
        context.waker().wake_by_ref();
        Poll::Pending
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_connection_is_driven_when_it_is_woken_and_not_for_its_streams() {
        let (polls, own) = (AtomicUsize::new(0), Mutex::new(None));
        let connection = pin!(poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            *own.lock().unwrap() = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        let executor = StreamExecutor::default();
        let mut driver = Driver::new(connection, executor.clone());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        executor.execute(async move { ended.await.unwrap() });
        let task = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&task));
        let mut poll = |polled: usize, streams: usize| {
            assert!(driver.poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!((polls.load(Ordering::Relaxed), driver.running.len()), (polled, streams));
        };
        poll(1, 1);
        poll(1, 1);
        task.is_woken.store(false, Ordering::Relaxed);
        end.send(()).unwrap();
        assert!(task.is_woken.swap(false, Ordering::Relaxed), "by its stream");
        poll(1, 0);
        own.lock().unwrap().as_ref().unwrap().wake_by_ref();
        assert!(task.is_woken.load(Ordering::Relaxed), "by its connection");
        poll(2, 0);
    }

    #[test]
    fn a_connection_that_always_has_something_to_do_lets_others_have_their_turn() {
        let polls = AtomicUsize::new(0);
        let connection = pin!(poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let mut driver = Driver::new(connection, StreamExecutor::default());
        let task = Arc::<Woken>::default();
        let poll = driver.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
        assert!(poll.is_pending());
        assert_eq!(polls.load(Ordering::Relaxed), ROUNDS_MAX);
        assert!(task.is_woken.load(Ordering::Relaxed));
    }
}
