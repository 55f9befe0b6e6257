//! What the server says while it loads, and what it says of a model that it cannot serve.

use std::path::Path;

use repserve::config::Settings;
use repserve::http::{HealthState, Stop};
use serde_json::Value;

use crate::support::{Server, checkout, settings};

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_the_model_loads() {
    let server = Server::loading(settings()).await;
    assert_eq!(server.get("/livez").await.status(), 200);
    let early = server.get("/readyz").await;
    if early.status() == 503 {
        let body: Value = early.json().await.unwrap();
        assert_eq!(body["code"], "not_ready");
        assert!(body["detail"].as_str().unwrap().starts_with("the model is loading"));
    }
    let mut health = server.shared.health.watch();
    health.wait_for(|s| *s == HealthState::Ready).await.unwrap();
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_is_live_and_not_ready() {
    let mut settings = settings();
    settings.server.drain_delay_ms = 60_000;
    let server = Server::ready(settings).await;
    server.say(Stop::Drain);
    let mut health = server.shared.health.watch();
    health.wait_for(|s| *s == HealthState::Draining).await.unwrap();
    assert_eq!(server.get("/livez").await.status(), 200);
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.headers()["connection"], "close");
    assert_eq!(ready.json::<Value>().await.unwrap()["code"], "draining");
    server.classify(crate::support::images::png(1)).await;
    server.say(Stop::Now);
    server.ended().await.unwrap();
}

/// A copy of the default model's folder, changed.
fn folder(change: impl Fn(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["model.toml", "labels.txt", "model.onnx"] {
        std::fs::copy(checkout("models/repvgg-cifar10").join(name), dir.path().join(name)).unwrap();
    }
    change(dir.path());
    dir
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

async fn check(change: impl Fn(&Path), expected: &str) {
    let dir = folder(change);
    let mut settings: Settings = settings();
    settings.model.path = dir.path().to_owned();
    let server = Server::loading(settings).await;
    let error = format!("{:#}", server.ended().await.unwrap_err());
    let error = error.replace(&format!("{}/", dir.path().display()), "");
    assert_eq!(error, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_ones_own_is_served() {
    let dir = folder(|dir| edit(&dir.join("model.toml"), "version = \"1\"", "version = \"2.0\""));
    let mut settings = settings();
    settings.model.path = dir.path().to_owned();
    let server = Server::ready(settings).await;
    assert_eq!(server.classify(crate::support::images::png(1)).await["version"], "2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_says_why() {
    check(
        |dir| std::fs::write(dir.join("labels.txt"), "one\ntwo\n").unwrap(),
        "labels.txt holds 2 labels and the model returns 10 classes for an image; write a line for each class, in the order of the outputs, or leave `labels` out of model.toml",
    )
    .await;
    check(
        |dir| edit(&dir.join("model.toml"), "name = \"logits\"", "name = \"features\""),
        "model.onnx: the model has no output \"features\"; its outputs are: logits",
    )
    .await;
    check(
        |dir| edit(&dir.join("model.toml"), "size = [32, 32]", "size = [32, 48]"),
        "the graph takes images of 32x32 pixels (height x width) and model.toml gives 32x48",
    )
    .await;
    check(
        |dir| std::fs::write(dir.join("model.onnx"), b"").unwrap(),
        "model.onnx: the file is empty; expected an ONNX model",
    )
    .await;
    check(
        |dir| std::fs::remove_file(dir.join("model.onnx")).unwrap(),
        "cannot read model.onnx: No such file or directory (os error 2)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_says_so() {
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings();
    settings.server.listen = first.local_addr().unwrap();
    let error = repserve::app::App::build(settings).await.unwrap_err();
    let address = first.local_addr().unwrap();
    assert_eq!(
        format!("{error:#}"),
        format!(
            "cannot listen on {address}: Address already in use (os error 98); another program listens there (`ss -ltnp` says which): end it, or choose another port with --listen"
        )
    );
}
