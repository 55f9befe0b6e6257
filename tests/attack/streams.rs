//! Calls of `ModelStreamInfer` that send and do not read, are half closed, have deadlines that cannot be met, or hold what is as large as it may be: in
//! 512 MB, beside an HTTP client of another address.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::raw::{connect, exchange, head};
use crate::support::cgroup::Cgroup;
use crate::support::checkout;
use crate::support::http2::{Http2, InferInput, InferOutput, InferRequest, StreamResponse, framed, images};
use crate::support::images::png;
use crate::support::models::replace;
use crate::support::process::Process;

const STREAM: &str = "ModelStreamInfer";
const LIMIT: u64 = 512 << 20;
/// An inner value of 32 channels of 32x32.
const EMBEDDING: &str = "/stage1/stage1.0/Relu_output_0";
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Calls of one attacker.
const CALLS: usize = 100;
/// Bytes of a message that is as large as it may be, about.
const LARGE: usize = 60 << 20;

/// A request with typed contents.
#[derive(Clone, PartialEq, Message)]
struct Typed {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<TypedInput>,
}

#[derive(Clone, PartialEq, Message)]
struct TypedInput {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(float, repeated, tag = "6")]
    fp32_contents: Vec<f32>,
}

/// Far more numbers than the shape has.
fn large() -> Bytes {
    framed(&Typed {
        model_name: "repvgg-cifar10".to_owned(),
        inputs: vec![TypedInput {
            name: "input".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![64, 3, 32, 32],
            contents: Some(Contents {
                fp32_contents: vec![0.5; LARGE / 4],
            }),
        }],
    })
}

/// Fields without end that nobody knows, of two bytes each.
fn fields(bytes: usize) -> Bytes {
    let mut message = vec![0];
    message.extend((bytes as u32).to_be_bytes());
    message.extend([0x78, 0x01].repeat(bytes / 2));
    message.into()
}

/// As many images as a request may have, and for each of them an inner value of 128 KiB.
fn embeddings() -> Bytes {
    let names = ["logits", EMBEDDING].map(str::to_owned);
    framed(&InferRequest {
        outputs: names.map(|name| InferOutput { name }).to_vec(),
        ..images(&(0..64).map(png).collect::<Vec<_>>())
    })
}

/// The default model, which may return an inner value.
fn model() -> TempDir {
    let (folder, from) = (tempfile::tempdir().unwrap(), checkout("models/repvgg-cifar10"));
    for name in ["model.onnx", "labels.txt", "model.toml"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let allowed = format!("name = \"logits\"\nembeddings = [\"{EMBEDDING}\"]");
    replace(&folder.path().join("model.toml"), "name = \"logits\"", &allowed);
    folder
}

struct Attacked {
    _model: TempDir,
    process: Process,
    group: Option<Cgroup>,
}

impl Attacked {
    async fn start() -> Self {
        let group = Cgroup::new(LIMIT);
        let model = model();
        let path = format!("model.path={}", model.path().display());
        let sets = [
            &*path,
            "runtime.measure_ms_max=50",
            "server.grpc_listen=127.0.0.1:0",
            "cache.path=",
        ];
        let process = match &group {
            Some(group) => Process::start_within(group, &sets).await,
            None => Process::start(&[&sets[..], &["limits.bodies_bytes_max=89000000"]].concat()).await,
        };
        Self {
            _model: model,
            process,
            group,
        }
    }

    fn grpc(&self) -> SocketAddr {
        self.process.grpc.unwrap()
    }

    /// An HTTP client of another address is served.
    async fn serves_others(&self, what: &str) {
        for seed in 0..5 {
            let image = png(seed);
            let stream = connect(OTHER, self.process.address).await;
            let sent = [head("/classify", "", image.len()).as_bytes(), &image].concat();
            let response = exchange(stream, sent).await;
            assert_eq!(response.status, 200, "{what}: {response:?}");
        }
    }

    async fn end(self, what: &str) {
        let peak = self.process.peak_bytes();
        assert!(peak < LIMIT, "{what}: {peak} bytes");
        assert_eq!(self.group.as_ref().map_or(0, Cgroup::killed), 0, "{what}");
        self.process.terminate();
        let Self { _model, process, group } = self;
        assert!(process.ended().0.success(), "{what}");
        drop(group);
    }
}

/// So many calls that each send a message again and again and read nothing, while others are served.
async fn send_without_reading(what: &str, calls: usize, message: Bytes) {
    let attacked = Attacked::start().await;
    let connection = Http2::connect(attacked.grpc()).await;
    let (mut streams, mut senders) = (Vec::new(), JoinSet::new());
    for _ in 0..calls {
        let stream = connection.stream(STREAM).await;
        let (sender, message) = (stream.sender(), message.clone());
        streams.push(stream);
        senders.spawn(async move { while sender.send(message.clone()).await.is_ok() {} });
    }
    attacked.serves_others(what).await;
    senders.abort_all();
    drop((streams, connection));
    attacked.serves_others(what).await;
    attacked.end(what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_send_and_do_not_read() {
    let message = framed(&images(&[png(1)]));
    send_without_reading("one image", CALLS, message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_ask_for_much_and_do_not_read() {
    send_without_reading("inner values of 64 images", CALLS, embeddings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_with_messages_as_large_as_they_may_be() {
    send_without_reading("typed contents", 20, large()).await;
    send_without_reading("unknown fields", 20, fields(LARGE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_half_closed_or_have_little_time() {
    let attacked = Attacked::start().await;
    let mut calls = JoinSet::new();
    for client in 0..50 {
        let grpc = attacked.grpc();
        calls.spawn(async move {
            let mut connection = Http2::connect(grpc).await;
            // The body is whole when the call begins: the client's half is closed.
            let body: Bytes = framed(&images(&[png(client)])).repeat(20).into();
            for timeout in ["1m", "50m", "10S"] {
                let answer = connection
                    .call(STREAM, &[("grpc-timeout", timeout)], body.clone())
                    .await;
                assert!(matches!(&*answer.status, "0" | "4" | "8"), "{answer:?}");
            }
        });
    }
    attacked.serves_others("many calls with little time").await;
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    attacked.end("many calls with little time").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_of_many_fields_holds_nobody_up() {
    let attacked = Attacked::start().await;
    let mut stream = Http2::connect(attacked.grpc()).await.stream(STREAM).await;
    let named = |input: &str| InferRequest {
        inputs: vec![InferInput {
            name: input.to_owned(),
            ..InferInput::default()
        }],
        ..images(&[])
    };
    stream.send(fields(LARGE / 4)).await;
    stream.send(framed(&named("nowhere"))).await;
    for id in ["", "seven"] {
        let next = tokio::time::timeout(Duration::from_secs(120), stream.next::<StreamResponse>());
        let response = next.await.unwrap().unwrap();
        assert!(!response.error_message.is_empty());
        assert_eq!(response.infer_response.unwrap().id, id);
    }
    drop(stream);
    attacked.end("many fields").await;
}
