//! A TCP stream that reports to its connection's [`ConnectionHandle`] what it reads and writes.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::handle::ConnectionHandle;

/// What is read at once to see whether the client is still there.
const AHEAD_BYTES: usize = 512;

/// The socket. Also below TLS: what counts as progress is what the peer's kernel takes.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: Arc<TcpStream>,
    handle: Arc<ConnectionHandle>,
}

impl Stream {
    pub(super) fn new(tcp: Arc<TcpStream>, handle: Arc<ConnectionHandle>) -> Self {
        Self { tcp, handle }
    }

    /// Writes as soon as the socket takes something.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(writable) = self.tcp.poll_write_ready(context) else {
                self.handle.stalled();
                return Poll::Pending;
            };
            writable?;
            match send(&self.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(bytes) => {
                    self.handle.wrote(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                failed => return Poll::Ready(failed),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.tcp.poll_read_ready(context))?;
            match self.tcp.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Ok(())),
                read => {
                    self.handle.read();
                    return Poll::Ready(read.map(drop));
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |tcp| tcp.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |tcp| tcp.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.flushed();
        Poll::Ready(Ok(()))
    }

    /// Shuts the write side. What drives the connection lingers then.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.write_shut();
        Poll::Ready(SockRef::from(&*self.tcp).shutdown(Shutdown::Write))
    }
}

/// A stream that two may use, one after the other: hyper, and the check whether the client is still there.
#[derive(Debug)]
pub(super) struct SharedStream<S>(Arc<Mutex<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    /// What was read before hyper read it.
    ahead: Vec<u8>,
}

impl<S> Clone for SharedStream<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> SharedStream<S> {
    pub(super) fn new(stream: S) -> Self {
        let ahead = Vec::new();
        Self(Arc::new(Mutex::new(Inner { stream, ahead })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> SharedStream<S> {
    /// Reads a little for hyper to find later. Returns how much there is; 0: nothing more comes.
    pub(super) fn poll_read_ahead(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.ahead.is_empty() {
            let mut bytes = [0; AHEAD_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut inner.stream).poll_read(context, &mut buffer))?;
            inner.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(inner.ahead.len()))
    }

    /// Whether what comes first is `prefix`; as much of it is read as tells. What cannot be read is another beginning.
    pub(super) fn poll_begins_with(&self, prefix: &[u8], context: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.lock();
        loop {
            let ahead = inner.ahead.len().min(prefix.len());
            if inner.ahead[..ahead] != prefix[..ahead] || ahead == prefix.len() {
                return Poll::Ready(ahead == prefix.len() && inner.ahead.starts_with(prefix));
            }
            let mut bytes = [0; AHEAD_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut inner.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(false);
            }
            inner.ahead.extend_from_slice(buffer.filled());
        }
    }

    /// Whether something was read ahead that has not been read again.
    pub(super) fn has_ahead(&self) -> bool {
        !self.lock().ahead.is_empty()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.ahead.is_empty() {
            return Pin::new(&mut inner.stream).poll_read(context, buffer);
        }
        let bytes = inner.ahead.len().min(buffer.remaining());
        buffer.put_slice(&inner.ahead[..bytes]);
        inner.ahead.drain(..bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_is_read_first() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut shared = SharedStream::new(server);
        client.write_all(b"one two").await.unwrap();
        let ahead = shared.clone();
        let first = std::future::poll_fn(|context| ahead.poll_read_ahead(context)).await;
        assert_eq!(first.unwrap(), 7);
        client.write_all(b" three").await.unwrap();
        let again = std::future::poll_fn(|context| ahead.poll_read_ahead(context)).await;
        assert_eq!(again.unwrap(), 7, "no more is read while that waits");
        drop(client);
        let mut text = [0; 3];
        shared.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one");
        let mut rest = String::new();
        shared.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, " two three");
        let end = std::future::poll_fn(|context| ahead.poll_read_ahead(context)).await;
        assert_eq!(end.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_beginning_is_known_as_soon_as_it_differs() {
        let begins = async |sent: &[&[u8]]| {
            let (mut client, server) = tokio::io::duplex(1024);
            let mut shared = SharedStream::new(server);
            let ahead = shared.clone();
            let begins =
                tokio::spawn(
                    async move { std::future::poll_fn(|context| ahead.poll_begins_with(b"PRI *", context)).await },
                );
            for part in sent {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            let begins = begins.await.unwrap();
            drop(client);
            let mut all = Vec::new();
            shared.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent.concat());
            begins
        };
        assert!(begins(&[b"PRI *"]).await);
        assert!(begins(&[b"PR", b"I", b" * HTTP/2.0"]).await);
        assert!(!begins(&[b"G"]).await);
        assert!(!begins(&[b"PRI /"]).await);
    }
}
