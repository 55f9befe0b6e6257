//! What a body may be: compressed, JSON, a form with other fields, one of several images broken.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::images::png;
use crate::support::{Server, settings};

const PATH: &str = "/classify?top_k=10";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post(server: &Server, content_type: &str, body: Vec<u8>) -> RequestBuilder {
    let request = server.client.post(server.url(PATH));
    request.header("content-type", content_type).body(body)
}

async fn predictions(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    response.json::<Value>().await.unwrap()["predictions"].clone()
}

async fn refused(request: RequestBuilder, status: u16, code: &str) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), status);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_the_same_however_it_is_sent() {
    let server = Server::ready(settings()).await;
    let expected = server.classify(png(1)).await["predictions"].clone();
    let url = format!("data:image/png;base64,{}", STANDARD.encode(png(1)));
    let text = |image: &str| json!({"image": image}).to_string().into_bytes();
    for request in [
        post(&server, "binary/octet-stream", png(1)),
        post(&server, "image/png", gzip(&png(1))).header("content-encoding", "gzip"),
        post(&server, "image/png", deflate(&png(1))).header("content-encoding", "deflate"),
        post(&server, "application/json", text(&STANDARD.encode(png(1)))),
        post(&server, "application/json", text(&url)),
        post(&server, "application/json", gzip(&text(&url))).header("content-encoding", "gzip"),
    ] {
        assert_eq!(predictions(request.send().await.unwrap()).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_unpacked_bytes() {
    let mut settings = settings();
    settings.limits.image_bytes_max = 20_000;
    settings.limits.request_bytes_max = 40_000;
    let server = Server::ready(settings).await;
    for (packed, coding) in [
        (gzip(&vec![0; 20_001]), "gzip"),
        (deflate(&vec![0; 9 << 20]), "deflate"),
    ] {
        assert!(packed.len() < 20_000);
        refused(
            post(&server, "image/png", packed).header("content-encoding", coding),
            413,
            "too_large",
        )
        .await;
    }
    let cut = gzip(&png(1))[..40].to_vec();
    refused(
        post(&server, "image/png", cut).header("content-encoding", "gzip"),
        400,
        "malformed",
    )
    .await;
    let unknown = post(&server, "image/png", png(1)).header("content-encoding", "br");
    refused(unknown, 415, "unsupported_type").await;
    let infer = server.client.post(server.url("/v2/models/repvgg-cifar10/infer"));
    let bomb = infer
        .header("content-encoding", "gzip")
        .body(gzip(&vec![b' '; 9 << 20]));
    refused(bomb, 413, "too_large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_no_files_are_left_out() {
    let server = Server::ready(settings()).await;
    let expected = server.classify(png(1)).await["predictions"][0]["classes"].clone();
    let form = Form::new()
        .text("token", "abc")
        .part("picture", Part::bytes(png(1)).file_name("a.png"))
        .text("note", "");
    let sent = server
        .client
        .post(server.url(PATH))
        .multipart(form)
        .send()
        .await
        .unwrap();
    let found = predictions(sent).await;
    assert_eq!(found, json!([{"name": "a.png", "classes": expected}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_of_several_has_its_own_error_where_that_is_asked_for() {
    let server = Server::ready(settings()).await;
    let form = || {
        let part = |bytes: Vec<u8>, name: &'static str| Part::bytes(bytes).file_name(name);
        Form::new()
            .part("a", part(png(1), "a.png"))
            .part("b", part(b"no image".to_vec(), "b.txt"))
            .part("c", part(png(2)[..100].to_vec(), "c.png"))
            .part("d", part(png(3), "d.png"))
    };
    let url = server.url("/classify?top_k=10&partial=true");
    let found = predictions(server.client.post(url).multipart(form()).send().await.unwrap()).await;
    for (index, seed) in [(0, 1), (3, 3)] {
        let expected = &server.classify(png(seed)).await["predictions"][0]["classes"];
        assert_eq!(&found[index]["classes"], expected);
        assert!(found[index].get("error").is_none());
    }
    for (index, code) in [(1, "unsupported_type"), (2, "invalid_image")] {
        assert_eq!(found[index]["error"]["code"], code);
        let detail = found[index]["error"]["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("image {}", index + 1)), "{detail}");
        assert_eq!(found[index]["classes"], json!([]));
    }
    refused(
        server.client.post(server.url(PATH)).multipart(form()),
        415,
        "unsupported_type",
    )
    .await;
    let none = Form::new().part("a", Part::bytes(b"no image".to_vec()).file_name("a"));
    let url = server.url("/classify?partial=true");
    let found = predictions(server.client.post(url).multipart(none).send().await.unwrap()).await;
    assert_eq!(found[0]["error"]["code"], "unsupported_type");
}
