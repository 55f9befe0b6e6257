//! A client of HTTP/2 without TLS, and what gRPC sends with it.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection.
pub struct Http2 {
    pub send: SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    pub ended: JoinHandle<hyper::Result<()>>,
    address: SocketAddr,
}

/// What came of a call.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub message: String,
    pub headers: hyper::HeaderMap,
    pub body: Bytes,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Self {
            send,
            ended: tokio::spawn(connection),
            address,
        }
    }

    /// Another sender of the same connection.
    pub fn another(&self) -> Self {
        Self {
            send: self.send.clone(),
            ended: tokio::spawn(async { Ok(()) }),
            address: self.address,
        }
    }

    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send.ready().await.unwrap();
        self.send
            .send_request(request.body(Full::new(body)).unwrap())
            .await
            .unwrap()
    }

    /// Calls a method of the inference service with a framed message.
    pub async fn call(&mut self, method: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let path = format!("/inference.GRPCInferenceService/{method}");
        let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
        let response = self.request("POST", &path, &headers, body).await;
        assert_eq!(response.status(), 200);
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let told = |name: &str| {
            let trailer = body.trailers().and_then(|trailers| trailers.get(name));
            let value = trailer.or(head.headers.get(name)).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        Answer {
            status: told("grpc-status"),
            message: told("grpc-message"),
            headers: head.headers.clone(),
            body: body.to_bytes(),
        }
    }
}

/// A message in its frame.
pub fn framed(message: &impl Message) -> Bytes {
    let mut framed = Vec::new();
    framed.put_u8(0);
    framed.put_u32(message.encoded_len() as u32);
    message.encode(&mut framed).unwrap();
    framed.into()
}

/// As much of the protocol as the tests send.
#[derive(Clone, PartialEq, Message)]
pub struct InferRequest {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InferInput>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub raw_input_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InferInput {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InferResponse {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub raw_output_contents: Vec<Vec<u8>>,
}

/// A request for encoded images.
pub fn images(all: &[Vec<u8>]) -> InferRequest {
    let raw = all
        .iter()
        .flat_map(|image| [&(image.len() as u32).to_le_bytes()[..], image].concat());
    InferRequest {
        model_name: "repvgg-cifar10".to_owned(),
        id: "seven".to_owned(),
        inputs: vec![InferInput {
            name: "images".to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![all.len() as i64],
        }],
        raw_input_contents: vec![raw.collect()],
    }
}
