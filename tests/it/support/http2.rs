//! A client of HTTP/2 without TLS, and what gRPC sends with it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
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

/// A call of which messages are sent while it runs, on a connection of its own.
pub struct Stream {
    sender: mpsc::Sender<Bytes>,
    body: Incoming,
    rest: BytesMut,
    trailers: hyper::HeaderMap,
    _connection: JoinHandle<hyper::Result<()>>,
}

impl Stream {
    pub fn sender(&self) -> mpsc::Sender<Bytes> {
        self.sender.clone()
    }

    pub async fn send(&self, bytes: Bytes) {
        self.sender.send(bytes).await.unwrap();
    }

    /// The next message; none at the end.
    pub async fn next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some((prefix, rest)) = self.rest.split_first_chunk::<5>() {
                let [_, length @ ..] = *prefix;
                let length = u32::from_be_bytes(length) as usize;
                if rest.len() >= length {
                    self.rest.advance(5);
                    return Some(M::decode(self.rest.split_to(length)).unwrap());
                }
            }
            match self.body.frame().await?.unwrap().into_data() {
                Ok(data) => self.rest.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap(),
            }
        }
    }

    pub fn trailer(&self, name: &str) -> &str {
        self.trailers[name].to_str().unwrap()
    }
}

impl Http2 {
    /// Calls a method, to send it messages while it runs.
    pub async fn stream(&self, method: &str) -> Stream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let (sender, mut sent) = mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::poll_fn(move |context| {
            let next = sent.poll_recv(context);
            next.map(|bytes| bytes.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))))
        });
        let request = Request::post(format!(
            "http://{}/inference.GRPCInferenceService/{method}",
            self.address
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(frames))
        .unwrap();
        Stream {
            sender,
            body: send.send_request(request).await.unwrap().into_body(),
            rest: BytesMut::new(),
            trailers: hyper::HeaderMap::new(),
            _connection: connection,
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
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<InferOutput>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub raw_input_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InferOutput {
    #[prost(string, tag = "1")]
    pub name: String,
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

/// The response to one request of a stream.
#[derive(Clone, PartialEq, Message)]
pub struct StreamResponse {
    #[prost(string, tag = "1")]
    pub error_message: String,
    #[prost(message, tag = "2")]
    pub infer_response: Option<InferResponse>,
}

/// The messages in a body.
pub fn messages<M: Message + Default>(mut body: Bytes) -> Vec<M> {
    let mut all = Vec::new();
    while !body.is_empty() {
        assert_eq!(body.get_u8(), 0);
        let length = body.get_u32() as usize;
        all.push(M::decode(body.split_to(length)).unwrap());
    }
    all
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
        outputs: Vec::new(),
        raw_input_contents: vec![raw.collect()],
    }
}
