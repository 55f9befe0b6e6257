//! Distinguishes a client that has gone from one that has only announced that it sends nothing more.
//!
//! `close` and `shutdown(SHUT_WR)` look the same from here, a FIN, until something is sent: a closed socket then sends a reset, a
//! half-closed one accepts it. What is sent is an interim response, `100 Continue`, which clients of HTTP/1.1 must be prepared
//! to skip (RFC 9110, section 15.2) and which is never part of the final response. A client of HTTP/1.0 is sent nothing and
//! gets its response.
//!
//! A request may wait while its body has not been read, which may be long: nothing is read ahead then, and the system tells of the FIN.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::handle::ConnectionHandle;
use super::stream::SharedStream;

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Watches for the end of a client whose request is being handled.
pub(super) struct HangUp {
    tcp: Arc<TcpStream>,
    /// Ends with the FIN; there while a body is not read.
    fin: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Ends when the connection is reset; there from when nothing more can be learned by reading.
    reset: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl HangUp {
    pub(super) fn new(tcp: Arc<TcpStream>) -> Self {
        Self {
            tcp,
            fin: None,
            reset: None,
        }
    }

    /// Ready when the client is gone that awaited a response. It must be polled after the connection.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        handle: &ConnectionHandle,
        stream: &SharedStream<S>,
    ) -> Poll<()> {
        if !handle.is_busy() {
            (self.fin, self.reset) = (None, None);
            return Poll::Pending;
        }
        if self.reset.is_none() && handle.holds_body() {
            let fin = self.fin.get_or_insert_with(|| fin(Arc::clone(&self.tcp)));
            ready!(fin.as_mut().poll(context));
            if handle.accepts_interim() && !sent(context, stream) {
                return Poll::Ready(());
            }
            self.reset = Some(reset(Arc::clone(&self.tcp)));
        }
        if self.reset.is_none() && handle.awaits_response() {
            let ended = match stream.poll_read_ahead(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(bytes)) => bytes == 0,
                // TLS that ends without `close_notify`.
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            };
            if ended && handle.accepts_interim() && !sent(context, stream) {
                return Poll::Ready(());
            }
            // Where the next request is there already, nothing is sent: its client is seen to go when it resets.
            self.reset = Some(reset(Arc::clone(&self.tcp)));
        }
        match &mut self.reset {
            Some(reset) => reset.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

/// tokio counts it as priority data on Linux that the other end has closed its half.
#[cfg(target_os = "linux")]
fn fin(tcp: Arc<TcpStream>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let _ = tcp.ready(Interest::PRIORITY).await;
    })
}

#[cfg(not(target_os = "linux"))]
fn fin(tcp: Arc<TcpStream>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    reset(tcp)
}

fn reset(tcp: Arc<TcpStream>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // An error means that the runtime ends, and with it the connection.
        let _ = tcp.ready(Interest::ERROR).await;
    })
}

/// Sends the interim response. Nothing waits to be written, so the socket takes it, unless the client does not read.
fn sent<S: AsyncWrite + Unpin>(context: &mut Context<'_>, stream: &SharedStream<S>) -> bool {
    let mut stream = stream.clone();
    let whole =
        matches!(Pin::new(&mut stream).poll_write(context, INTERIM), Poll::Ready(Ok(bytes)) if bytes == INTERIM.len());
    whole && !matches!(Pin::new(&mut stream).poll_flush(context), Poll::Ready(Err(_)))
}
