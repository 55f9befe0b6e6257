//! gRPC against the real server: what its frames may hold, how it tells errors, how its calls end.

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use repserve::http::Stop;

use crate::support::http2::{Http2, InferRequest, InferResponse, StreamResponse, framed, images, messages};
use crate::support::images::png;
use crate::support::{Server, settings, until};

fn with_grpc() -> repserve::config::Settings {
    let mut settings = settings();
    settings.server.grpc_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings
}

async fn ready(settings: repserve::config::Settings) -> (Server, Http2) {
    let server = Server::ready(settings).await;
    let connection = Http2::connect(server.grpc.unwrap()).await;
    (server, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_is_what_http_computes_and_is_counted_like_it() {
    let (server, mut connection) = ready(with_grpc()).await;
    let answer = connection.call("ModelInfer", &[], framed(&images(&[png(1)]))).await;
    assert_eq!((&*answer.status, &*answer.message), ("0", ""));
    for name in ["x-request-id", "x-inference-time", "traceparent"] {
        assert!(answer.headers.contains_key(name), "{name}");
    }
    assert!(!answer.headers.contains_key("x-frame-options"), "{:?}", answer.headers);
    let response = InferResponse::decode(answer.body.slice(5..)).unwrap();
    assert_eq!((&*response.model_name, &*response.id), ("repvgg-cifar10", "seven"));
    let logits: Vec<f64> = response.raw_output_contents[0]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
        .collect();
    let expected = crate::support::probabilities(&server.classify(png(1)).await["predictions"][0]);
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    for (x, expected) in logits.iter().zip(expected) {
        assert!((x.exp() / sum - expected).abs() < 1e-5);
    }
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let line = "code=\"200\",method=\"POST\",route=\"/inference.GRPCInferenceService/ModelInfer\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_status_of_the_one_table() {
    let mut settings = with_grpc();
    settings.limits.image_bytes_max = 10_000;
    settings.limits.request_bytes_max = 20_000;
    let (_server, mut connection) = ready(settings).await;
    let infer = "ModelInfer";
    let image = || framed(&images(&[png(1)]));
    let large = framed(&images(&[vec![0; 20_000]]));
    let unknown = framed(&crate::support::http2::InferRequest {
        model_name: "none".to_owned(),
        ..images(&[png(1)])
    });
    /// Method, headers, body; the status and the code that are expected.
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Bytes,
        &'static str,
        &'static str,
    );
    let cases: [Case; 10] = [
        (infer, &[], Bytes::new(), "3", "malformed"),
        (infer, &[], Bytes::from_static(b"\0\0\0\0\x09ab"), "3", "malformed"),
        (
            infer,
            &[],
            Bytes::from_static(b"\0\0\0\0\x02\xff\xff"),
            "3",
            "malformed",
        ),
        (infer, &[("grpc-timeout", "soon")], image(), "3", "malformed"),
        (infer, &[("grpc-timeout", "1n")], image(), "4", "deadline"),
        (infer, &[("grpc-encoding", "zstd")], image(), "12", "not_implemented"),
        (infer, &[], large, "8", "too_large"),
        (infer, &[], unknown, "5", "model_not_found"),
        (
            infer,
            &[],
            framed(&images(&[b"no image".to_vec()])),
            "3",
            "unsupported_type",
        ),
        ("ModelTrain", &[], image(), "12", "not_found"),
    ];
    for (method, headers, body, status, code) in cases {
        let answer = connection.call(method, headers, body).await;
        assert_eq!(answer.status, status, "{code}: {}", answer.message);
        assert_eq!(answer.headers["repserve-code"], code);
        assert!(!answer.message.is_empty() && answer.body.is_empty());
    }
    let right = connection.call(infer, &[], image()).await;
    assert_eq!(right.status, "0", "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_is_told_so() {
    let (server, mut connection) = ready(with_grpc()).await;
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let json = connection
        .request("POST", path, &[("content-type", "application/json")], Bytes::new())
        .await;
    assert_eq!(json.status(), 415);
    let url = format!("http://{}/v2", server.grpc.unwrap());
    assert_eq!(server.client.get(url).send().await.unwrap().status(), 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_client_is_gone_is_abandoned() {
    let (server, mut connection) = ready(with_grpc()).await;
    assert_eq!(server.served().snapshot().queue_depth, 0);
    server.served().batcher().hold();
    let many = framed(&images(&(0..4).map(png).collect::<Vec<_>>()));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mut one, many) = (connection.another(), many.clone());
            tokio::spawn(async move { one.call("ModelInfer", &[], many).await })
        })
        .collect();
    until("there is work", || server.served().snapshot().queue_depth > 0).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    let cancelled = || {
        let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
        text.lines()
            .any(|line| line.contains("reason=\"cancelled\"") && !line.ends_with(" 0"))
    };
    until("a call counts as cancelled", cancelled).await;
    server.served().batcher().release();
    until("nothing waits", || server.served().snapshot().queue_depth == 0).await;
    let after = connection.call("ModelInfer", &[], framed(&images(&[png(1)]))).await;
    assert_eq!(after.status, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_calls_and_ends_connections() {
    let (server, mut connection) = ready(with_grpc()).await;
    let call = connection
        .call(
            "ModelInfer",
            &[],
            framed(&images(&(0..32).map(png).collect::<Vec<_>>())),
        )
        .await;
    assert_eq!(call.status, "0");
    server.say(Stop::Drain);
    server.ended().await.unwrap();
    connection.ended.await.unwrap().unwrap();
}

const STREAM: &str = "ModelStreamInfer";

fn request(id: usize, picture: Vec<u8>) -> InferRequest {
    InferRequest {
        id: id.to_string(),
        ..images(&[picture])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_stream_are_answered_in_order_and_a_broken_one_alone_fails() {
    let (_server, mut connection) = ready(with_grpc()).await;
    let picture = |id: usize| match id {
        7 => b"no image".to_vec(),
        id => png(id as u32),
    };
    let sent: Vec<Bytes> = (0..40).map(|id| framed(&request(id, picture(id)))).collect();
    let answer = connection.call(STREAM, &[], sent.concat().into()).await;
    assert_eq!((&*answer.status, &*answer.message), ("0", ""));
    let responses: Vec<StreamResponse> = messages(answer.body);
    assert_eq!(responses.len(), 40);
    for (id, response) in responses.into_iter().enumerate() {
        let infer = response.infer_response.unwrap();
        assert_eq!(infer.id, id.to_string());
        assert_eq!(response.error_message.is_empty(), id != 7, "{}", response.error_message);
        if id % 10 == 0 {
            let alone = connection
                .call("ModelInfer", &[], framed(&request(id, picture(id))))
                .await;
            let [alone] = &messages::<InferResponse>(alone.body)[..] else {
                panic!("one response")
            };
            let values = |response: &InferResponse| -> Vec<f32> {
                let raw = response.raw_output_contents[0].as_chunks::<4>().0.iter();
                raw.map(|bytes| f32::from_le_bytes(*bytes)).collect()
            };
            for (a, b) in values(&infer).iter().zip(values(alone)) {
                assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} is not {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_stream_itself_ends_it_behind_its_responses() {
    let mut settings = with_grpc();
    settings.limits.image_bytes_max = 10_000;
    settings.limits.request_bytes_max = 20_000;
    let (_server, mut connection) = ready(settings).await;
    let good = framed(&request(1, png(1)));
    let cases: [(&[u8], &str, &str); 3] = [
        (b"\0\0\0\0\x09ab", "3", "malformed"),
        (b"\x07\0\0\0\0", "3", "malformed"),
        (b"\0\0\x01\0\0", "8", "too_large"),
    ];
    for (bytes, status, code) in cases {
        let answer = connection.call(STREAM, &[], [&good[..], bytes].concat().into()).await;
        assert_eq!(answer.status, status, "{code}: {}", answer.message);
        let responses: Vec<StreamResponse> = messages(answer.body);
        assert_eq!(responses.len(), 1, "{code}");
        assert_eq!(responses[0].error_message, "");
    }
    let late = connection.call(STREAM, &[("grpc-timeout", "1n")], good.clone()).await;
    assert_eq!(late.status, "4");
    let nothing = connection.call(STREAM, &[], Bytes::new()).await;
    assert_eq!((&*nothing.status, nothing.body.len()), ("0", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_was_sent_on_a_stream_and_ends_it() {
    let (server, connection) = ready(with_grpc()).await;
    let mut stream = connection.stream(STREAM).await;
    stream.send(framed(&request(1, png(1)))).await;
    assert_eq!(stream.next::<StreamResponse>().await.unwrap().error_message, "");
    server.say(Stop::Drain);
    assert_eq!(stream.next::<StreamResponse>().await, None);
    assert_eq!(stream.trailer("grpc-status"), "14");
    assert_eq!(stream.trailer("repserve-code"), "draining");
    drop((stream, connection));
    server.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_holds_a_bounded_number_of_requests() {
    let (server, connection) = ready(with_grpc()).await;
    let mut stream = connection.stream(STREAM).await;
    // Nothing of the responses is read until all requests are on their way.
    let sent = 2_000;
    let writer = stream.sender();
    let writing = tokio::spawn(async move {
        for id in 0..sent {
            writer.send(framed(&request(id, png(1)))).await.unwrap();
        }
    });
    let mut most = 0;
    for id in 0..sent {
        most = most.max(server.served().snapshot().queue_depth);
        let response = stream.next::<StreamResponse>().await.unwrap();
        assert_eq!(
            (response.error_message, response.infer_response.unwrap().id),
            (String::new(), id.to_string())
        );
    }
    assert!(most <= 8, "{most} wait");
    writing.await.unwrap();
}
