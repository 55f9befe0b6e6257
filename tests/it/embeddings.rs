//! Inner values of a model that are returned on request: the same over every protocol, and what ONNX Runtime makes of the original file.

use bytes::Bytes;
use prost::Message;
use repserve::config::Settings;
use repserve_compile::{Embedding, Fused, Source};
use repserve_graph::onnx::{self, ExternalData};
use repserve_preprocess::{JpegDecode, Limits, Preprocess};
use repserve_reparam::equivalence::observed;
use repserve_runtime::{MultiOutputSession, Runtime};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::http2::{Http2, InferOutput, InferResponse, framed, images};
use crate::support::images::png;
use crate::support::{Server, checkout, settings};

const MODEL: &str = "models/repvgg-cifar10";

/// The features before the last layer of the default model.
fn features() -> Embedding {
    let source = Source {
        onnx: std::fs::read(checkout(MODEL).join("model.onnx")).unwrap().into(),
        ..Source::default()
    };
    Embedding::possible(Fused::new(source).unwrap().model()).remove(0)
}

/// A folder with the default model that may return its features.
fn folder(embeddings: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["labels.txt", "model.onnx", "calibration.json"] {
        std::fs::copy(checkout(MODEL).join(name), folder.path().join(name)).unwrap();
    }
    let manifest = std::fs::read_to_string(checkout(MODEL).join("model.toml")).unwrap();
    let manifest = manifest.replace("[output]", &format!("[output]\nembeddings = {embeddings:?}"));
    std::fs::write(folder.path().join("model.toml"), manifest).unwrap();
    folder
}

fn serving(folder: &tempfile::TempDir) -> Settings {
    let mut settings = settings();
    settings.model.path = folder.path().to_owned();
    settings.server.grpc_listen = Some(([127, 0, 0, 1], 0).into());
    settings
}

/// What ONNX Runtime makes of the train-time file for an image, as PNG.
fn expected(name: &str, image: &[u8], preprocess: &Preprocess) -> Vec<f32> {
    let bytes: Bytes = std::fs::read(checkout(MODEL).join("model.onnx")).unwrap().into();
    let model = observed(onnx::read(bytes, &ExternalData::None).unwrap(), &[name]);
    let runtime = Runtime::load(None).unwrap();
    let mut session = MultiOutputSession::from_memory(&runtime, &onnx::write(model).unwrap(), 1).unwrap();
    let tensor = preprocess
        .apply(image, &Limits::default(), JpegDecode::Exact)
        .unwrap()
        .tensor;
    session.run(&tensor, [3, 32, 32]).unwrap().remove(0).1
}

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|x| x.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], relative: f32) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= relative * largest, "{a} is not {b}");
    }
}

fn preprocess() -> Preprocess {
    let manifest = std::fs::read_to_string(checkout(MODEL).join("model.toml")).unwrap();
    let manifest = repserve_compile::Manifest::parse(&manifest).unwrap();
    Preprocess::try_from(manifest.input).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_those_of_the_original_file_over_every_protocol() {
    let features = features();
    let folder = folder(&[&features.name]);
    let server = Server::ready(serving(&folder)).await;
    let pictures = [png(1), png(2), png(3)];
    let expected: Vec<Vec<f32>> = pictures
        .iter()
        .map(|picture| expected(&features.name, picture, &preprocess()))
        .collect();

    let url = server.url(&format!("/classify?embedding={}", features.name));
    let form = pictures.iter().fold(Form::new(), |form, picture| {
        form.part("image", Part::bytes(picture.clone()).file_name("a.png"))
    });
    let asked = server.client.post(&url).multipart(form);
    let body: Value = asked.send().await.unwrap().json().await.unwrap();
    for (prediction, expected) in body["predictions"].as_array().unwrap().iter().zip(&expected) {
        close(&numbers(&prediction["embedding"]), expected, 1e-4);
        assert!(!prediction["classes"].as_array().unwrap().is_empty());
    }
    let plain = server.classify(png(1)).await;
    assert_eq!(plain["predictions"][0].get("embedding"), None);

    let path = "/v2/models/repvgg-cifar10";
    let metadata: Value = server.get(path).await.json().await.unwrap();
    let shape = [vec![-1], features.shape.iter().map(|n| *n as i64).collect()].concat();
    assert_eq!(
        metadata["outputs"],
        json!([
            {"name": "logits", "datatype": "FP32", "shape": [-1, 10]},
            {"name": features.name, "datatype": "FP32", "shape": shape}
        ])
    );
    let config: Value = server.get(&format!("{path}/config")).await.json().await.unwrap();
    assert_eq!(config["output"][1]["dims"], json!(features.shape));
    let image = preprocess()
        .apply(&png(1), &Limits::default(), JpegDecode::Exact)
        .unwrap();
    let request = json!({
        "inputs": [{"name": "input", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": image.tensor}],
        "outputs": [{"name": features.name}, {"name": "logits", "parameters": {"classification": 1}}]
    });
    let asked = server.client.post(server.url(&format!("{path}/infer"))).json(&request);
    let body: Value = asked.send().await.unwrap().json().await.unwrap();
    close(&numbers(&body["outputs"][0]["data"]), &expected[0], 1e-4);
    assert_eq!(body["outputs"][0]["shape"][1], json!(features.shape[0]));
    assert_eq!(body["outputs"][1]["datatype"], "BYTES");

    let mut connection = Http2::connect(server.grpc.unwrap()).await;
    let mut request = images(&pictures);
    request.outputs = vec![InferOutput {
        name: features.name.clone(),
    }];
    let answer = connection.call("ModelInfer", &[], framed(&request)).await;
    assert_eq!(answer.status, "0", "{}", answer.message);
    let response = InferResponse::decode(answer.body.slice(5..)).unwrap();
    let raw = response.raw_output_contents[0].as_chunks::<4>().0.iter();
    let values: Vec<f32> = raw.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    close(&values, &expected.concat(), 1e-4);
}

#[tokio::test(flavor = "multi_thread")]
async fn features_of_int8_are_near() {
    let features = features();
    let folder = folder(&[&features.name]);
    let mut settings = serving(&folder);
    settings.model.precision = repserve::model::PrecisionChoice::Int8;
    let server = Server::ready(settings).await;
    assert_eq!(server.served().facts().precision, repserve_quantize::Precision::Int8);
    let asked = server.post(&format!("/classify?embedding={}", features.name), png(1));
    let body: Value = asked.send().await.unwrap().json().await.unwrap();
    let expected = expected(&features.name, &png(1), &preprocess());
    close(&numbers(&body["predictions"][0]["embedding"]), &expected, 0.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_and_says_what_is() {
    let features = features();
    let allowed = folder(&[&features.name]);
    let without = Server::ready(settings()).await;
    let with = Server::ready(serving(&allowed)).await;
    for (server, expected) in [
        (&without, "`output.embeddings` in its model.toml"),
        (&with, features.name.as_str()),
    ] {
        let asked = server.post("/classify?embedding=other", png(1));
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), 400);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["code"], "malformed");
        assert!(body["detail"].as_str().unwrap().contains(expected), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_has_an_error_and_the_others_their_features() {
    let features = features();
    let folder = folder(&[&features.name]);
    let server = Server::ready(serving(&folder)).await;
    let part = |bytes: Vec<u8>| Part::bytes(bytes).file_name("a.png");
    let form = Form::new().part("a", part(b"none".to_vec())).part("b", part(png(1)));
    let path = format!("/classify?partial=true&embedding={}", features.name);
    let asked = server.client.post(server.url(&path)).multipart(form);
    let body: Value = asked.send().await.unwrap().json().await.unwrap();
    let predictions = &body["predictions"];
    assert!(
        predictions[0]["error"].is_object() && predictions[0].get("embedding").is_none(),
        "{body}"
    );
    assert_eq!(predictions[1]["embedding"].as_array().unwrap().len(), features.values());
}
