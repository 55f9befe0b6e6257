//! HTTP/2 without TLS, as service meshes speak it: the same responses, within the same limits.

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http2::Http2;
use crate::support::images::png;
use crate::support::{Server, settings, until};

const IMAGE: [(&str, &str); 1] = [("content-type", "image/png")];

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_of_one_connection_are_served_at_a_time() {
    let server = Server::ready(settings()).await;
    let connection = Http2::connect(server.address).await;
    let expected = server.classify(png(1)).await;
    let requests = (0..20).map(|_| {
        let mut one = connection.another();
        tokio::spawn(async move {
            let response = one.request("POST", "/classify?top_k=10", &IMAGE, png(1).into()).await;
            assert_eq!(response.status(), 200);
            assert!(response.headers().contains_key("x-request-id"));
            response.into_body().collect().await.unwrap().to_bytes()
        })
    });
    for response in requests.collect::<Vec<_>>() {
        let body: serde_json::Value = serde_json::from_slice(&response.await.unwrap()).unwrap();
        assert_eq!(body["predictions"], expected["predictions"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_limits_are_those_of_http_1() {
    let mut settings = settings();
    settings.limits.image_bytes_max = 10_000;
    let server = Server::ready(settings).await;
    let mut connection = Http2::connect(server.address).await;
    let large = connection
        .request("POST", "/classify", &IMAGE, vec![0; 100_000].into())
        .await;
    assert_eq!(large.status(), 413);
    let broken = connection
        .request("POST", "/classify", &IMAGE, Bytes::from_static(b"no image"))
        .await;
    assert_eq!(broken.status(), 415);
    let nowhere = connection.request("GET", "/nowhere", &[], Bytes::new()).await;
    assert_eq!(nowhere.status(), 404);
    assert!(!nowhere.headers().contains_key("connection"));
    let right = connection.request("POST", "/classify", &IMAGE, png(1).into()).await;
    assert_eq!(right.status(), 200, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_closed_in_good_order() {
    let mut settings = settings();
    settings.server.idle_timeout_ms = 200;
    let server = Server::ready(settings).await;
    let mut connection = Http2::connect(server.address).await;
    assert_eq!(
        connection.request("GET", "/livez", &[], Bytes::new()).await.status(),
        200
    );
    let Http2 { send, ended, .. } = connection;
    ended.await.unwrap().unwrap();
    assert!(send.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_response_is_closed() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 200;
    let server = Server::ready(settings).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The preface; settings with windows of no byte; a head: GET / with :scheme, :path and :method of the static table.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream
        .write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])
        .await
        .unwrap();
    stream
        .write_all(&[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86])
        .await
        .unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    let closed = || {
        let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
        text.lines()
            .any(|line| line.contains("write_timeout") && line.ends_with(" 1"))
    };
    until("the connection is closed for it", closed).await;
}
