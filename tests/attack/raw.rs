//! Requests byte by byte, over sockets of one's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than any response takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A response: its status, 0 where none came, and its body.
#[derive(Debug)]
pub struct RawResponse {
    pub status: u16,
    pub body: String,
    /// Bytes with its head.
    pub len: usize,
}

/// A connection from one of loopback's addresses.
pub async fn connect(from: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(address).await.unwrap()
}

/// The head of a POST that closes its connection; `headers` each end in CRLF.
pub fn head(path: &str, headers: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n")
}

/// Sends bytes and reads at the same time until the server closes.
pub async fn exchange(stream: TcpStream, sent: Vec<u8>) -> RawResponse {
    let (mut read, mut write) = stream.into_split();
    let writing = tokio::spawn(async move {
        // A response before the end of a request ends its writing.
        let _ = write.write_all(&sent).await;
        write
    });
    let mut bytes = Vec::new();
    // A reset after the response takes nothing from it.
    let _ = tokio::time::timeout(PATIENCE, read.read_to_end(&mut bytes))
        .await
        .expect("no response");
    writing.abort();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    RawResponse {
        status: status.unwrap_or(0),
        body: body.to_owned(),
        len: bytes.len(),
    }
}

/// Posts a body and returns the response.
pub async fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> RawResponse {
    let stream = connect(Ipv4Addr::LOCALHOST, address).await;
    let sent = [head(path, headers, body.len()).as_bytes(), body].concat();
    exchange(stream, sent).await
}
