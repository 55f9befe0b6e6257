//! What is sent, and where.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::connection::{Connection, ExchangeError};

/// The request that is sent again and again: a `POST`.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
    /// The media type of `body`.
    pub content_type: String,
    /// An encoded image, or a form that holds one.
    pub body: Bytes,
}

impl Target {
    /// An image for `/classify`.
    pub fn classify(address: SocketAddr, image: Bytes) -> Self {
        Self {
            address,
            path: "/classify".to_owned(),
            content_type: "application/octet-stream".to_owned(),
            body: image,
        }
    }

    /// The same with `?timeout_ms=` where there is a deadline, in whole milliseconds.
    pub fn with_deadline(&self, deadline: Option<Duration>) -> Self {
        let query = deadline.map_or(String::new(), |d| format!("?timeout_ms={}", d.as_millis()));
        Self {
            path: format!("{}{query}", self.path),
            ..self.clone()
        }
    }

    /// The request as it is written to a connection.
    pub(super) fn request(&self) -> Bytes {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.path,
            self.address,
            self.content_type,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat().into()
    }
}

/// The status of the response to a `GET` of `path`.
///
/// # Errors
/// Where there is no response.
pub async fn get(address: SocketAddr, path: &str) -> Result<u16, ExchangeError> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let response = Connection::open(address).await?.exchange(request.as_bytes()).await?;
    Ok(response.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_head_and_a_body() {
        let target = Target::classify(([127, 0, 0, 1], 80).into(), Bytes::from_static(b"image"));
        let request = target.with_deadline(Some(Duration::from_millis(250))).request();
        let text = String::from_utf8(request.to_vec()).unwrap();
        assert!(text.starts_with("POST /classify?timeout_ms=250 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("content-length: 5\r\n\r\nimage"), "{text}");
        assert_eq!(target.with_deadline(None).path, "/classify");
    }
}
