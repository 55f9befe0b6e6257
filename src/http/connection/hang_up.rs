//! Tells a client that has gone from one that has only said that it sends nothing more.
//!
//! `close` and `shutdown(SHUT_WR)` look the same from here, a FIN, until something is sent: a closed socket answers that with a
//! reset, a half-closed one takes it. What is sent is an interim response, `100 Continue`, which clients of HTTP/1.1 must be
//! prepared to skip (RFC 9110, section 15.2) and which is never part of an answer. A client of HTTP/1.0 is sent nothing and
//! gets its answer.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

use super::link::Link;
use super::stream::Shared;

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Watches for the end of a client whose request is in work.
pub(super) struct HangUp {
    tcp: Arc<TcpStream>,
    /// Ends when the connection is reset; there from when nothing more can be learned by reading.
    reset: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl HangUp {
    pub(super) fn new(tcp: Arc<TcpStream>) -> Self {
        Self { tcp, reset: None }
    }

    /// Ready when the client is gone that awaited an answer. It must be polled after the connection.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        link: &Link,
        stream: &Shared<S>,
    ) -> Poll<()> {
        if !link.is_busy() {
            self.reset = None;
            return Poll::Pending;
        }
        if self.reset.is_none() && link.awaits_answer() {
            let ended = match stream.poll_read_ahead(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(bytes)) => bytes == 0,
                // TLS that ends without saying so.
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            };
            if ended && link.takes_interim() && !sent(context, stream) {
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

fn reset(tcp: Arc<TcpStream>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // An error means that the runtime ends, and with it the connection.
        let _ = tcp.ready(Interest::ERROR).await;
    })
}

/// Sends the interim response. Nothing waits to be written, so there is room for it, or else the client does not read.
fn sent<S: AsyncWrite + Unpin>(context: &mut Context<'_>, stream: &Shared<S>) -> bool {
    let mut stream = stream.clone();
    let whole =
        matches!(Pin::new(&mut stream).poll_write(context, INTERIM), Poll::Ready(Ok(bytes)) if bytes == INTERIM.len());
    whole && !matches!(Pin::new(&mut stream).poll_flush(context), Poll::Ready(Err(_)))
}
