//! The Open Inference Protocol against the real server: encodings, outputs, what is not there.

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::images::png;
use crate::support::{Server, probabilities, settings};

const INFER: &str = "/v2/models/repvgg-cifar10/infer";

/// A request with raw bytes behind its JSON.
async fn binary(server: &Server, head: &Value, raw: &[u8]) -> Response {
    let head = head.to_string();
    let request = server
        .client
        .post(server.url(INFER))
        .header("inference-header-content-length", head.len());
    request.body([head.as_bytes(), raw].concat()).send().await.unwrap()
}

async fn infer(server: &Server, request: &Value) -> Value {
    let response = server
        .client
        .post(server.url(INFER))
        .json(request)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

fn tensor(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count * 3 * 32 * 32).map(|_| next()).collect()
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
}

fn length_prefixed(images: &[Vec<u8>]) -> Vec<u8> {
    images
        .iter()
        .flat_map(|i| [&(i.len() as u32).to_le_bytes()[..], i].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_as_json_and_as_raw_bytes_give_the_same() {
    let server = Server::ready(settings()).await;
    let values = tensor(1, 2);
    let input = json!({"name": "input", "shape": [2, 3, 32, 32], "datatype": "FP32", "data": values});
    let written = infer(&server, &json!({"id": "a", "inputs": [input]})).await;
    assert_eq!(
        (&written["id"], &written["model_name"]),
        (&json!("a"), &json!("repvgg-cifar10"))
    );
    let output = &written["outputs"][0];
    assert_eq!(
        (&output["name"], &output["datatype"], &output["shape"]),
        (&json!("logits"), &json!("FP32"), &json!([2, 10]))
    );

    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let head = json!({
        "parameters": {"binary_data_output": true},
        "inputs": [{"name": "input", "shape": [2, 3, 32, 32], "datatype": "FP32", "parameters": {"binary_data_size": raw.len()}}],
    });
    let response = binary(&server, &head, &raw).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    let length: usize = response.headers()["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let body = response.bytes().await.unwrap();
    let head: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 80);
    let as_json: Vec<f32> = output["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect();
    for (a, b) in floats(&body[length..]).iter().zip(&as_json) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_images_give_what_classify_says() {
    let server = Server::ready(settings()).await;
    let images = [png(1), png(2), png(3)];
    let raw = length_prefixed(&images);
    let head = json!({
        "inputs": [{"name": "images", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": raw.len()}}],
    });
    let response = binary(&server, &head, &raw).await;
    assert!(response.headers().contains_key("x-inference-time") && response.headers().contains_key("x-decode-time"));
    let body: Value = response.json().await.unwrap();
    let logits: Vec<f64> = body["outputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    for (image, row) in images.into_iter().zip(logits.chunks(10)) {
        let expected = probabilities(&server.classify(image).await["predictions"][0]);
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        for (x, expected) in row.iter().zip(expected) {
            assert!((x.exp() / sum - expected).abs() < 1e-5);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_classes_instead_of_values() {
    let server = Server::ready(settings()).await;
    let input = json!({"name": "input", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": tensor(4, 1)});
    let wanted = json!([{"name": "logits", "parameters": {"classification": 2}}]);
    let classes = infer(&server, &json!({"inputs": [&input], "outputs": wanted})).await;
    let values = infer(&server, &json!({"inputs": [input]})).await;
    let output = &classes["outputs"][0];
    assert_eq!(
        (&output["datatype"], &output["shape"]),
        (&json!("BYTES"), &json!([1, 2]))
    );
    let values = values["outputs"][0]["data"].as_array().unwrap();
    let best = (0..10)
        .max_by(|a, b| values[*a].as_f64().unwrap().total_cmp(&values[*b].as_f64().unwrap()))
        .unwrap();
    let first: Vec<&str> = output["data"][0].as_str().unwrap().splitn(3, ':').collect();
    assert_eq!(first[1], best.to_string());
    assert_eq!(first[2], server.served().label(best));
    assert!((first[0].parse::<f64>().unwrap() - values[best].as_f64().unwrap()).abs() < 1e-4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_describes_itself() {
    let server = Server::ready(settings()).await;
    let model: Value = server.get("/v2/models/repvgg-cifar10").await.json().await.unwrap();
    assert_eq!(
        model["inputs"],
        json!([{"name": "input", "datatype": "FP32", "shape": [-1, 3, 32, 32]}])
    );
    assert_eq!(
        model["outputs"],
        json!([{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}])
    );
    assert!(model["parameters"]["blocks_fused"].as_u64().unwrap() > 0);
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/repvgg-cifar10/versions/1",
        "/v2/models/repvgg-cifar10/versions/1/ready",
    ] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_where_clients_look() {
    let server = Server::ready(settings()).await;
    let refusal = async |path: &str, request: Value| {
        let response = server
            .client
            .post(server.url(path))
            .json(&request)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], body["detail"]);
        (status, body["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        refusal("/v2/models/none/infer", json!({})).await,
        (404, "model_not_found".to_owned())
    );
    assert_eq!(
        refusal("/v2/models/repvgg-cifar10/versions/7/infer", json!({})).await,
        (404, "model_not_found".to_owned())
    );
    assert_eq!(
        refusal("/v2/models/%FF/infer", json!({})).await,
        (400, "malformed".to_owned())
    );
    assert_eq!(refusal(INFER, json!({})).await, (400, "malformed".to_owned()));
    let image = |data: &str| json!({"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": [data]}]});
    assert_eq!(
        refusal(INFER, image("bm8gaW1hZ2U=")).await,
        (415, "unsupported_type".to_owned())
    );
    assert_eq!(refusal(INFER, image("?")).await, (400, "malformed".to_owned()));
    let many = json!({"inputs": [{"name": "images", "shape": [9999], "datatype": "BYTES", "data": []}]});
    assert_eq!(refusal(INFER, many).await, (413, "too_large".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there_are_told_there_too() {
    let server = Server::ready(settings()).await;
    let refusal = async |path: &str| {
        let response = server.get(path).await;
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (status, body["error"] == body["detail"])
    };
    assert_eq!(refusal("/v2/nothing").await, (404, true));
    assert_eq!(refusal("/v2/models/repvgg-cifar10/infer").await, (405, true));
    assert_eq!(refusal("/v2x").await, (404, false));
    assert_eq!(refusal("/classify").await, (405, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loads_says_so() {
    let server = Server::loading(settings()).await;
    let response = server.get("/v2/health/ready").await;
    if response.status() == 503 {
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["code"], "not_ready");
    }
    assert_eq!(server.get("/v2/health/live").await.status(), 200);
}
