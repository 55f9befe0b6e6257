//! A connection that carries one request after the other: HTTP/1.1, as little of it as measuring needs, so that the client takes little
//! of the processor that it shares with the server.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Outcome;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    /// The server closed it too early.
    #[error("the server closed the connection before its response was complete")]
    Closed,
    /// Not HTTP/1.
    #[error("the response is no HTTP/1: {0}")]
    Malformed(#[from] httparse::Error),
    /// The head does not fit the buffer.
    #[error("the response has a head of more than {BUFFER_BYTES} bytes")]
    HeadTooLong,
    /// Where it ends is not known.
    #[error("the response has no content-length")]
    NoLength,
    /// There is more than one response.
    #[error("the response is longer than its content-length")]
    Excess,
}

/// What a response's head must fit; bodies are read through it in pieces.
const BUFFER_BYTES: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What is kept of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Whether the connection can carry another request.
    pub(super) reusable: bool,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, ExchangeError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Writes `request`, head and body, and reads the response to its end. A response may come before the request is written.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Response, ExchangeError> {
        let (mut reader, mut writer) = self.stream.split();
        let mut response = pin!(read_response(&mut reader, &mut self.buffer));
        let written = tokio::select! {
            biased;
            written = writer.write_all(request) => written.is_ok(),
            early = &mut response => return Ok(Response { reusable: false, ..early? }),
        };
        // A server that has refused a request may have closed its side for reading: the response is there all the same.
        let response = response.await?;
        Ok(Response {
            reusable: response.reusable && written,
            ..response
        })
    }
}

async fn read_response(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<Response, ExchangeError> {
    buffer.clear();
    let head = loop {
        match Head::parse(buffer)? {
            Some(interim) if interim.status < 200 => drop(buffer.drain(..interim.bytes)),
            Some(head) => break head,
            None if buffer.len() >= BUFFER_BYTES => return Err(ExchangeError::HeadTooLong),
            None => read_some(reader, buffer).await?,
        }
    };
    let mut body_read = (buffer.len() - head.bytes) as u64;
    while body_read < head.content_length {
        buffer.clear();
        read_some(reader, buffer).await?;
        body_read += buffer.len() as u64;
    }
    if body_read > head.content_length {
        return Err(ExchangeError::Excess);
    }
    Ok(Response {
        status: head.status,
        reusable: head.keep_alive,
    })
}

async fn read_some(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<(), ExchangeError> {
    match reader.read_buf(buffer).await? {
        0 => Err(ExchangeError::Closed),
        _ => Ok(()),
    }
}

/// A response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    content_length: u64,
    keep_alive: bool,
    /// The head's own length.
    bytes: usize,
}

impl Head {
    /// The head at the start of `bytes`; `None` where it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ExchangeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let (httparse::Status::Complete(length), Some(status)) = (response.parse(bytes)?, response.code) else {
            return Ok(None);
        };
        let value = |name: &str| {
            let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let content_length = value("content-length").and_then(|text| text.trim().parse().ok());
        let without_body = status < 200 || matches!(status, 204 | 304);
        let keep_alive = match value("connection") {
            Some(text) if text.eq_ignore_ascii_case("close") => false,
            Some(text) if text.eq_ignore_ascii_case("keep-alive") => true,
            _ => response.version == Some(1),
        };
        Ok(Some(Self {
            status,
            content_length: match content_length {
                _ if without_body => 0,
                Some(length) => length,
                None => return Err(ExchangeError::NoLength),
            },
            keep_alive,
            bytes: length,
        }))
    }
}

/// One request over `connection`, or over a new one, which comes back where it can carry another. A connection that was kept and fails
/// may have been closed by the server before it saw the request: the request goes out once more, over a new one.
pub(super) async fn send(
    address: SocketAddr,
    request: &Bytes,
    connection: Option<Connection>,
) -> (Outcome, Option<Connection>) {
    let sent = match connection {
        Some(kept) => match exchange_over(kept, request).await {
            Err(_) => exchange_anew(address, request).await,
            sent => sent,
        },
        None => exchange_anew(address, request).await,
    };
    match sent {
        Ok((response, connection)) => (
            Outcome::Status(response.status),
            response.reusable.then_some(connection),
        ),
        Err(_) => (Outcome::Failed, None),
    }
}

async fn exchange_anew(address: SocketAddr, request: &Bytes) -> Result<(Response, Connection), ExchangeError> {
    exchange_over(Connection::open(address).await?, request).await
}

async fn exchange_over(mut connection: Connection, request: &Bytes) -> Result<(Response, Connection), ExchangeError> {
    let response = connection.exchange(request).await?;
    Ok((response, connection))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Response, ExchangeError> {
        read_response(&mut bytes, &mut Vec::with_capacity(BUFFER_BYTES)).await
    }

    #[tokio::test]
    async fn a_response_is_read_to_its_end() {
        let long = [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"[..],
            &[b'x'; 100_000],
        ]
        .concat();
        let cases: [(&[u8], u16, bool); 5] = [
            (&long, 200, true),
            (
                b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
                429,
                false,
            ),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                200,
                true,
            ),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, false),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, true),
        ];
        for (bytes, status, reusable) in cases {
            assert_eq!(read(bytes).await.unwrap(), Response { status, reusable });
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_response_is_an_error() {
        let cut = read(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
        assert!(matches!(cut, Err(ExchangeError::Closed)), "{cut:?}");
        let open_end = read(b"HTTP/1.1 200 OK\r\n\r\nbody").await;
        assert!(matches!(open_end, Err(ExchangeError::NoLength)), "{open_end:?}");
        let two = read(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP").await;
        assert!(matches!(two, Err(ExchangeError::Excess)), "{two:?}");
        let endless = [&b"HTTP/1.1 200 OK\r\nx: "[..], &[b'y'; 2 * BUFFER_BYTES]].concat();
        let endless = read(&endless).await;
        assert!(matches!(endless, Err(ExchangeError::HeadTooLong)), "{endless:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>, status in "[0-9]{0,4}", rest in "[ -~\r\n]{0,80}") {
            let _ = Head::parse(&bytes);
            let _ = Head::parse(format!("HTTP/1.1 {status} {rest}\r\n\r\n").as_bytes());
        }
    }
}
