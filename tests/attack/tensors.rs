//! Bodies of the Open Inference Protocol that cost more than they weigh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use repserve::model::PrecisionChoice;
use tokio::task::JoinSet;

use crate::raw::{RawResponse, post};
use crate::support::process::Process;
use crate::support::{Server, client, settings};

const INFER: &str = "/v2/models/repvgg-cifar10/infer";
/// Bytes of an attacker's body, about.
const BODY_BYTES: usize = 32 << 20;
/// What a request may take beside twice its body.
const SLACK_BYTES: u64 = 16 << 20;
/// An error says what is wrong, not what was sent.
const RESPONSE_BYTES_MAX: usize = 4096;

/// A body and the header that belongs to it.
struct Body {
    name: &'static str,
    header: String,
    bytes: Vec<u8>,
}

fn json(name: &'static str, before: &str, repeated: &str, after: &str) -> Body {
    let bytes = [before, &repeated.repeat(BODY_BYTES / repeated.len()), after].concat();
    Body {
        name,
        header: String::new(),
        bytes: bytes.into_bytes(),
    }
}

/// The bytes of one unit, over and over, raw behind a head that announces them.
fn raw(name: &'static str, datatype: &str, shape: &str, unit: &[u8]) -> Body {
    let raw = unit.repeat(BODY_BYTES / unit.len());
    let input = if datatype == "FP32" { "input" } else { "images" };
    let head = format!(
        r#"{{"inputs":[{{"name":"{input}","shape":{shape},"datatype":"{datatype}","parameters":{{"binary_data_size":{}}}}}]}}"#,
        raw.len()
    );
    Body {
        name,
        header: format!("inference-header-content-length: {}\r\n", head.len()),
        bytes: [head.as_bytes(), &raw].concat(),
    }
}

fn bodies() -> Vec<Body> {
    let fp32 = r#"{"inputs":[{"name":"input","shape":[64,3,32,32],"datatype":"FP32","data":["#;
    let early = r#"{"inputs":[{"data":["#;
    let late = r#"0],"name":"input","shape":[1,3,32,32],"datatype":"FP32"}]}"#;
    let bytes = r#"{"inputs":[{"name":"images","shape":[64],"datatype":"BYTES","data":["#;
    let deep = format!("{fp32}{}", "[".repeat(117));
    vec![
        json("numbers", fp32, "0,", "0]}]}"),
        json("numbers before their shape", early, "0,", late),
        json("empty strings", bytes, "\"\",", "\"\"]}]}"),
        json("empty arrays", fp32, "[],", "[]]}]}"),
        json("numbers in 118 arrays", &deep, "0,", "0]"),
        json("arrays without end", fp32, "[", ""),
        json("an unknown member of arrays", r#"{"x":"#, "[", ""),
        json("an unknown member of numbers", r#"{"x":["#, "0,", "0]}"),
        json("a long string", &format!("{bytes}\""), "AAAA", "\"]}]}"),
        json(
            "a long string with an escape",
            &format!("{bytes}\"\\u0041"),
            "AAAA",
            "\"]}]}",
        ),
        json("a long name", r#"{"inputs":[{"name":""#, "\\u007f", "\"}]}"),
        json("a long id", r#"{"id":""#, "\u{7f}", "\",\"inputs\":[]}"),
        json("a string for an array", r#"{"inputs":""#, "\u{7f}", "\"}"),
        json("a string for an object", "\"", "\u{7f}", "\""),
        json("a long member", "{\"", "x", "\":1}"),
        json("many members", "{", "\"a\":1,", "\"b\":1}"),
        json("many inputs", r#"{"inputs":["#, "{},", "{}]}"),
        json(
            "many outputs",
            r#"{"inputs":[],"outputs":["#,
            "{\"name\":\"logits\"},",
            "{}]}",
        ),
        json("a shape of many extents", r#"{"inputs":[{"shape":["#, "1,", "1]}]}"),
        json("a long number", fp32, "1", "]}]}"),
        raw("raw numbers", "FP32", "[64,3,32,32]", &[0; 4]),
        raw("raw empty strings", "BYTES", "[64]", &[0; 4]),
        raw(
            "raw bytes of a huge shape",
            "FP32",
            "[9223372036854775807,3,32,32]",
            &[0; 4],
        ),
        raw(
            "raw bytes of a shape that overflows",
            "FP32",
            "[4294967296,4294967296,4294967296]",
            &[0; 4],
        ),
    ]
}

#[track_caller]
fn check_refused(body: &str, response: &RawResponse) {
    assert!(matches!(response.status, 400 | 413), "{body}: {response:?}");
    assert!(
        response.len <= RESPONSE_BYTES_MAX,
        "{body}: a response of {} bytes",
        response.len
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_takes_at_most_twice_what_it_weighs() {
    let process = Process::start(&[]).await;
    for body in bodies() {
        let before = process.resident_bytes();
        process.forget_peak();
        let began = Instant::now();
        let response = post(process.address, INFER, &body.header, &body.bytes).await;
        let (took, peak) = (began.elapsed(), process.peak_bytes().saturating_sub(before));
        check_refused(body.name, &response);
        let most = 2 * body.bytes.len() as u64 + SLACK_BYTES;
        assert!(peak <= most, "{}: {peak} bytes, at most {most}", body.name);
        assert!(took < Duration::from_secs(30), "{}: {took:?}", body.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_bodies_at_once_stay_within_the_budget() {
    let process = Process::start(&[]).await;
    let before = process.resident_bytes();
    process.forget_peak();
    let mut posts = JoinSet::new();
    let body = json("empty strings", r#"{"inputs":[{"data":["#, "\"\",", "\"\"]}]}");
    let bytes = Arc::new(body.bytes);
    for _ in 0..4 {
        let (bytes, address) = (Arc::clone(&bytes), process.address);
        posts.spawn(async move { post(address, INFER, "", &bytes).await });
    }
    while let Some(response) = posts.join_next().await {
        let response = response.unwrap();
        // One that got no share gets 429, and its sender may not see it.
        assert!(matches!(response.status, 0 | 413 | 429), "{response:?}");
    }
    let peak = process.peak_bytes().saturating_sub(before);
    assert!(peak <= (256 << 20) + SLACK_BYTES, "{peak}");
    assert_eq!(process.metric("repserve_bodies_bytes").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_overflows_is_its_senders_fault() {
    let server = Server::ready(settings()).await;
    let response = infer_pattern(&server, &["3e38"]).await;
    assert_eq!(response.status, 422, "{response:?}");
    assert!(response.body.contains("\"code\":\"not_finite\""), "{response:?}");
}

/// Runs the model on values that repeat.
async fn infer_pattern(server: &Server, values: &[&str]) -> RawResponse {
    let data: Vec<_> = values.iter().cycle().take(3 * 32 * 32).copied().collect();
    let body = format!(
        r#"{{"inputs":[{{"name":"input","shape":[1,3,32,32],"datatype":"FP32","data":[{}]}}]}}"#,
        data.join(",")
    );
    post(server.address, INFER, "", body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_finite_input_is_the_servers_fault() {
    for precision in [PrecisionChoice::Fp32, PrecisionChoice::Int8] {
        let mut settings = settings();
        settings.model.precision = precision;
        let server = Server::ready(settings).await;
        for values in [
            &["3.4e38"][..],
            &["-3.4e38"],
            &["3e38", "-3e38"],
            &["1e-45"],
            &["1e20", "0", "-1e30"],
        ] {
            let response = infer_pattern(&server, values).await;
            assert!(
                matches!(response.status, 200 | 422),
                "{precision:?} {values:?}: {response:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_while_bodies_are_parsed() {
    let process = Process::start(&[]).await;
    let data = "[[0.0],[0.0]],".repeat(255_000 / 14);
    let body = format!(r#"{{"inputs":[{{"name":"input","shape":[64,3,32,32],"datatype":"FP32","data":[{data}0]}}]}}"#);
    let body = Arc::new(body.into_bytes());
    let stop = Arc::new(AtomicBool::new(false));
    let mut attackers = JoinSet::new();
    for _ in 0..16 {
        let (body, stop, address) = (Arc::clone(&body), Arc::clone(&stop), process.address);
        attackers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                check_refused("nested numbers", &post(address, INFER, "", &body).await);
            }
        });
    }
    let probes = client();
    let mut took = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let response = probes
            .get(format!("http://{}/healthz", process.address))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        took.push(began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    attackers.join_all().await;
    took.sort();
    assert!(
        took[50] < Duration::from_millis(500),
        "half of the probes took over {:?}",
        took[50]
    );
}
