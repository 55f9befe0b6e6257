//! Every error body, as it is sent.

use repserve::http::Stop;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::images::png;
use crate::support::{Server, settings, until};

/// Status, the headers that belong to errors, and the body.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    let mut out = format!("{status}\n");
    for name in ["content-type", "retry-after", "allow"] {
        if let Some(value) = response.headers().get(name) {
            out += &format!("{name}: {}\n", value.to_str().unwrap());
        }
    }
    assert!(response.headers().contains_key("x-request-id"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    out + &serde_json::to_string_pretty(&body).unwrap()
}

macro_rules! check {
    ($name:literal, $request:expr) => {
        insta::assert_snapshot!($name, shown($request.send().await.unwrap()).await)
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request() {
    let server = Server::ready(settings()).await;
    let client = &server.client;
    check!("no_such_path", client.get(server.url("/nowhere")));
    check!("wrong_method", client.get(server.url("/classify")));
    check!(
        "wrong_method_on_a_probe",
        client.request(Method::POST, server.url("/livez"))
    );
    check!("empty_body", server.post("/classify", Vec::new()));
    check!("top_k_is_no_number", server.post("/classify?top_k=many", png(1)));
    check!("top_k_is_zero", server.post("/classify?top_k=0", png(1)));
    check!("timeout_is_zero", server.post("/classify?timeout_ms=0", png(1)));
    check!("unknown_parameter", server.post("/classify?topk=3", png(1)));
    check!(
        "content_type_is_no_image",
        client
            .post(server.url("/classify"))
            .header("content-type", "text/plain")
            .body("hello")
    );
    check!(
        "bytes_are_no_image",
        server.post("/classify", b"hello, this is text".to_vec())
    );
    check!("image_is_cut", server.post("/classify", png(1)[..100].to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_form() {
    let server = Server::ready(settings()).await;
    let post = |form| server.client.post(server.url("/classify")).multipart(form);
    check!("form_without_parts", post(Form::new()));
    let cut = Part::bytes(png(1)[..100].to_vec()).file_name("cut.png");
    check!(
        "form_with_a_cut_image",
        post(Form::new().part("a", Part::bytes(png(1))).part("b", cut))
    );
    check!(
        "form_with_an_empty_part",
        post(
            Form::new()
                .part("a", Part::bytes(png(1)))
                .part("b", Part::bytes(Vec::new()).file_name(""))
        )
    );
    let raw = |content_type: &'static str, body: &'static str| {
        let request = server.client.post(server.url("/classify"));
        request.header("content-type", content_type).body(body)
    };
    check!("form_without_boundary", raw("multipart/form-data", "x"));
    check!(
        "form_that_is_none",
        raw("multipart/form-data; boundary=b", "no form at all")
    );
    check!(
        "form_that_is_cut",
        raw(
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nhalf"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_it_waits() {
    let server = Server::ready(settings()).await;
    server.served().batcher().hold();
    check!("deadline", server.post("/classify?timeout_ms=20", png(1)));
    server.served().batcher().release();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hard_limit_ends_is_answered() {
    let mut settings = settings();
    settings.server.drain_limit_ms = 1;
    let server = Server::ready(settings).await;
    server.served().batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", png(1)).send());
    let served = server.served();
    crate::support::until("it is admitted", || served.snapshot().queue_depth == 1).await;
    server.say(Stop::Drain);
    let response = waiting.await.unwrap().unwrap();
    insta::assert_snapshot!("ended_by_the_hard_limit", shown(response).await);
    server.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_model_is_not_ready() {
    let app = repserve::app::App::build(settings()).await.unwrap();
    let router = repserve::http::router(app.shared().clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = crate::support::client();
    let url = |path: &str| format!("http://{address}{path}");
    check!("not_ready", client.get(url("/readyz")));
    check!("not_ready_to_classify", client.post(url("/classify")).body(png(1)));
    app.shared()
        .health
        .set(repserve::http::HealthState::Failed("the reason".into()));
    check!("failed", client.get(url("/readyz")));
    app.shared().health.set(repserve::http::HealthState::Draining);
    check!("draining", client.get(url("/readyz")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_answered_and_counted() {
    let server = Server::ready(settings()).await;
    let long = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (sent, status) in [("what is this\r\n\r\n", "400"), (&long, "431")] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"));
        let line = format!("repserve_http_requests_total{{code=\"{status}\",method=\"other\",route=\"other\"}} 1\n");
        until("it is counted", || {
            String::from_utf8(server.shared.metrics.encode().unwrap())
                .unwrap()
                .contains(&line)
        })
        .await;
    }
}
