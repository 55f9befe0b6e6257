//! Batches, a full queue, clients that go away, a model that is swapped.

use std::sync::Arc;

use repserve::app;
use repserve::telemetry::Metrics;
use serde_json::Value;

use crate::support::images::png;
use crate::support::{Server, probabilities, settings, until};

#[tokio::test(flavor = "multi_thread")]
async fn batched_equals_single() {
    let mut settings = settings();
    settings.batch.batch_max = 8;
    let server = Server::ready(settings).await;
    let mut alone = Vec::new();
    for seed in 0..8 {
        alone.push(probabilities(&server.classify(png(seed)).await["predictions"][0]));
    }
    let served = server.served();
    served.batcher().hold();
    let together: Vec<_> = (0..8)
        .map(|seed| tokio::spawn(server.post("/classify?top_k=10", png(seed)).send()))
        .collect();
    until("all wait", || served.snapshot().queue_depth == 8).await;
    served.batcher().release();
    for (waiting, alone) in together.into_iter().zip(alone) {
        let body: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
        for (a, b) in probabilities(&body["predictions"][0]).iter().zip(alone) {
            assert!((a - b).abs() <= 1e-5, "{a} is not {b}");
        }
    }
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let runs: f64 = text
        .lines()
        .find_map(|l| l.strip_prefix("repserve_batch_size_count "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(runs < 16.0, "{runs} runs for 16 images: nothing was batched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_before_it_decodes() {
    let mut settings = settings();
    settings.batch.queue_capacity = 1;
    let server = Server::ready(settings).await;
    let served = server.served();
    served.batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", png(1)).send());
    until("it waits", || served.snapshot().queue_depth == 1).await;
    let refused = server
        .post("/classify", b"no image at all".to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 429, "415 would mean that it was decoded");
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(after >= 1);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "overloaded");
    served.batcher().release();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_gone_costs_no_inference() {
    let server = Server::ready(settings()).await;
    let served = server.served();
    served.batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", png(1)).send());
    until("it waits", || served.snapshot().queue_depth == 1).await;
    waiting.abort();
    until("it is abandoned", || served.snapshot().queue_depth == 0).await;
    served.batcher().release();
    until("it is counted", || {
        metric(&server, "repserve_rejected_total{reason=\"cancelled\"}") == 1.0
    })
    .await;
    assert_eq!(metric(&server, "repserve_images_total"), 0.0);
    assert_eq!(metric(&server, "repserve_batch_size_count"), 0.0);
    server.classify(png(1)).await;
    assert_eq!(metric(&server, "repserve_batch_size_count"), 1.0);
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_swapped_without_a_lost_request() {
    let settings = settings();
    let server = Server::ready(settings.clone()).await;
    let before = server.served();
    before.batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", png(1)).send());
    until("it waits", || before.snapshot().queue_depth == 1).await;

    let metrics = Metrics::new().unwrap();
    let next = tokio::task::spawn_blocking(move || app::load(&settings, &metrics, &|_| ()));
    let next = Arc::new(next.await.unwrap().unwrap());
    let replaced = server.shared.models.put(Arc::clone(&next)).unwrap();
    assert!(Arc::ptr_eq(&replaced, &before));
    assert!(Arc::ptr_eq(
        &server.shared.models.get("repvgg-cifar10", None).unwrap(),
        &next
    ));

    let by_next = server.classify(png(1)).await;
    before.batcher().release();
    let by_before: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    let label = |body: &Value| body["predictions"][0]["classes"][0]["label"].clone();
    assert_eq!(label(&by_before), label(&by_next));
}
