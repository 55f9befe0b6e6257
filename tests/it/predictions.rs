//! Real predictions of the real model.

use image::ImageFormat;
use repserve::classify::infer;
use repserve_scheduler::{Payload, Request};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::images::{encode, pattern, png};
use crate::support::{Server, beside, checkout, probabilities, settings, tar};

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_gives_the_logits_that_pytorch_gave() {
    let server = Server::ready(settings()).await;
    let accuracy = std::fs::read(checkout("models/repvgg-cifar10/accuracy.json")).unwrap();
    let accuracy: Value = serde_json::from_slice(&accuracy).unwrap();
    let input: Vec<f32> = (0..3 * 32 * 32).map(|k| (0.37 * f64::from(k)).sin() as f32).collect();
    let (rows, _) = infer(&server.served(), vec![Payload::Ready(input)], &Request::default(), None)
        .await
        .unwrap();
    let expected = accuracy["probe_logits"].as_array().unwrap();
    assert_eq!(rows[0].values.len(), expected.len());
    for (got, expected) in rows[0].values.iter().zip(expected) {
        let expected = expected.as_f64().unwrap();
        assert!((f64::from(*got) - expected).abs() < 1e-4, "{got} is not {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_its_shape_and_its_headers() {
    let server = Server::ready(settings()).await;
    let response = server
        .post("/classify?top_k=3", png(1))
        .header("x-request-id", "my-id.1")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["x-request-id"], "my-id.1");
    assert_eq!(headers["content-type"], "application/json");
    for name in ["x-total-time", "x-decode-time", "x-queue-time", "x-inference-time"] {
        let ms: f64 = headers[name].to_str().unwrap().parse().unwrap();
        assert!(ms >= 0.0, "{name}: {ms}");
    }
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["model"], "repvgg-cifar10");
    assert_eq!(body["version"], "1");
    assert_eq!(body["predictions"].as_array().unwrap().len(), 1);
    assert!(body["predictions"][0].get("name").is_none());
    let classes = body["predictions"][0]["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 3);
    let p: Vec<f64> = classes.iter().map(|c| c["probability"].as_f64().unwrap()).collect();
    assert!(p[0] >= p[1] && p[1] >= p[2] && p[0] <= 1.0, "{p:?}");
    let labels: Vec<String> = std::fs::read_to_string(checkout("models/repvgg-cifar10/labels.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    for class in classes {
        assert_eq!(class["label"], labels[class["index"].as_u64().unwrap() as usize]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_k_is_five_at_first_and_never_more_than_there_are() {
    let server = Server::ready(settings()).await;
    for (path, classes) in [("/classify", 5), ("/classify?top_k=1", 1), ("/classify?top_k=1000", 10)] {
        let response = server.post(path, png(1)).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["predictions"][0]["classes"].as_array().unwrap().len(), classes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_gives_the_same_answer() {
    let server = Server::ready(settings()).await;
    let reference = server.classify(png(3)).await;
    for format in [ImageFormat::Bmp, ImageFormat::WebP] {
        let image = encode(pattern(32, 32, 3), format);
        assert_eq!(server.classify(image).await, reference, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_answered_in_order_with_names() {
    let server = Server::ready(settings()).await;
    let part = |seed| Part::bytes(png(seed));
    let form = Form::new()
        .part("a", part(1).file_name("first.png"))
        .part("second", part(2))
        .part("c", part(3).file_name("third.png"));
    let url = server.url("/classify?top_k=10");
    let response = server.client.post(url).multipart(form).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    let predictions = body["predictions"].as_array().unwrap();
    let names: Vec<_> = predictions.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["first.png", "second", "third.png"]);
    for (prediction, seed) in predictions.iter().zip(1..) {
        let alone = server.classify(png(seed)).await;
        for (a, b) in probabilities(prediction)
            .iter()
            .zip(probabilities(&alone["predictions"][0]))
        {
            assert!((a - b).abs() < 1e-5);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top1_on_images_it_was_not_trained_on() {
    let Some(archive) = beside("cifar10/val.tar") else {
        return;
    };
    let server = Server::ready(settings()).await;
    let files = tar::files(&archive);
    let chosen: Vec<_> = files.iter().step_by(files.len() / 500).take(500).collect();
    let mut right = 0;
    for some in chosen.chunks(50) {
        let mut form = Form::new();
        for (path, bytes) in some {
            let class = path
                .trim_start_matches("./")
                .split('/')
                .rev()
                .nth(1)
                .unwrap()
                .to_owned();
            form = form.part("image", Part::bytes(bytes.clone()).file_name(class));
        }
        let url = server.url("/classify?top_k=1");
        let response = server.client.post(url).multipart(form).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        let predictions = body["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), some.len());
        right += predictions
            .iter()
            .filter(|p| p["name"] == p["classes"][0]["label"])
            .count();
    }
    let top1 = right as f64 / chosen.len() as f64;
    assert!(
        (0.87..=0.94).contains(&top1),
        "top-1 is {top1}; PyTorch has 0.9022 on all 5,000"
    );
}
