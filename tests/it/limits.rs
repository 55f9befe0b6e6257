//! What a request may cost is enforced, however it is sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::stream;
use image::ImageFormat;
use repserve::config::Settings;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder};
use serde_json::Value;

use crate::support::images::{encode, pattern, png};
use crate::support::{Server, settings, until};

fn small() -> Settings {
    let mut settings = settings();
    settings.limits.image_bytes_max = 10_000;
    settings.limits.request_bytes_max = 20_000;
    settings.limits.request_images_max = 3;
    settings.limits.image_pixels_max = 2_000;
    settings
}

async fn check(request: RequestBuilder, status: u16, code: &str, detail: &str) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], code);
    assert_eq!(body["detail"], detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_limited_announced_or_not() {
    let server = Server::ready(small()).await;
    const DETAIL: &str = "the body has more than 10000 bytes";
    check(server.post("/classify", vec![0; 10_001]), 413, "too_large", DETAIL).await;
    check(server.post("/classify", vec![0; 9_000_000]), 413, "too_large", DETAIL).await;
    let chunks = stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(vec![0u8; 1000])));
    let chunked = server
        .client
        .post(server.url("/classify"))
        .body(Body::wrap_stream(chunks));
    check(chunked, 413, "too_large", DETAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_limited_in_whole_and_by_part_and_by_count() {
    let server = Server::ready(small()).await;
    let post = |parts: Vec<Vec<u8>>| {
        let form = parts
            .into_iter()
            .fold(Form::new(), |f, p| f.part("image", Part::bytes(p)));
        server.client.post(server.url("/classify")).multipart(form)
    };
    let whole = "the body has more than 20000 bytes";
    check(post(vec![vec![1; 9_000]; 3]), 413, "too_large", whole).await;
    let part = "image 2 has more than 10000 bytes";
    check(post(vec![png(1), vec![1; 10_001]]), 413, "too_large", part).await;
    let count = "the request has more than 3 images";
    check(post(vec![png(1); 4]), 413, "too_large", count).await;
    assert_eq!(post(vec![png(1); 3]).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_are_limited() {
    let server = Server::ready(small()).await;
    let wide = encode(pattern(100, 21, 1), ImageFormat::Png);
    let detail = "the image: the image is 100x21 pixels; the limit is 2000 pixels, and 65535 a side";
    check(server.post("/classify", wide), 413, "too_large", detail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_images_than_the_queue_has_places() {
    let mut settings = settings();
    settings.batch.queue_capacity = 2;
    let server = Server::ready(settings).await;
    let form = (0..3).fold(Form::new(), |f, i| f.part("image", Part::bytes(png(i))));
    let request = server.client.post(server.url("/classify")).multipart(form);
    let detail = "the request has more images than the queue has places (2)";
    check(request, 413, "too_large", detail).await;
}

/// Sends `bytes` and returns what comes back until the server closes.
fn exchange(server: &Server, bytes: &'static [u8]) -> tokio::task::JoinHandle<String> {
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8(response).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_answered_and_a_slow_head_is_closed() {
    let mut settings = settings();
    settings.server.header_timeout_ms = 100;
    settings.server.idle_timeout_ms = 100;
    settings.server.body_timeout_ms = 100;
    let server = Server::ready(settings).await;
    let body = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: 10\r\n\r\nhalf";
    let response = exchange(&server, body).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(response.contains("\"code\":\"body_timeout\""), "{response}");
    assert_eq!(exchange(&server, b"GET /livez HTTP/1.1\r\nhos").await.unwrap(), "");
    assert_eq!(exchange(&server, b"").await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_beyond_the_limit_takes_the_place_of_an_idle_one() {
    let mut settings = settings();
    settings.server.connections_max = 1;
    let server = Server::ready(settings).await;
    let mut first = TcpStream::connect(server.address).unwrap();
    first.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let close = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let second = exchange(&server, close);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "the first is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_at_hand_are_limited_together() {
    let mut settings = settings();
    settings.limits.image_bytes_max = 10_240;
    settings.limits.request_bytes_max = 10_240;
    settings.limits.bodies_bytes_max = 10_240;
    let server = Server::ready(settings).await;
    let served = server.served();
    let padded = |seed| {
        let mut image = png(seed);
        image.resize(10_000, 0);
        image
    };
    served.batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", padded(1)).send());
    until("it waits", || served.snapshot().queue_depth == 1).await;
    let detail = "the bodies of the requests at hand fill the memory that is set aside for them";
    check(server.post("/classify", padded(2)), 429, "overloaded", detail).await;
    served.batcher().release();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(server.post("/classify", padded(2)).send().await.unwrap().status(), 200);
}
