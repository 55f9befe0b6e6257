//! Unfinished, slow and greedy request bodies, and what of them is left for other clients.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::{RawResponse, connect, exchange, head, post};
use crate::support::images::png;
use crate::support::{Server, settings, until};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const FORM: &str = "content-type: multipart/form-data; boundary=B\r\n";

/// The value of a metric of a server in this process, 0 where it is not there.
fn metric(server: &Server, name: &str) -> u64 {
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Sends all but the last byte of a large body, and waits until the server has it or has refused it.
async fn unfinished(server: &Server, from: Ipv4Addr, length: usize) -> TcpStream {
    let mut stream = connect(from, server.address).await;
    stream
        .write_all(head("/classify", FORM, length).as_bytes())
        .await
        .unwrap();
    let (mut sent, chunk) = (1, [b'x'; 16 << 10]);
    while sent < length {
        let len = chunk.len().min(length - sent);
        if stream.write_all(&chunk[..len]).await.is_err() {
            break;
        }
        sent += len;
    }
    stream
}

async fn photo(server: &Server, from: Ipv4Addr) -> RawResponse {
    let image = png(1);
    let stream = connect(from, server.address).await;
    let sent = [head("/classify", "", image.len()).as_bytes(), &image].concat();
    exchange(stream, sent).await
}

/// Four bodies of a mebibyte fill the memory for bodies, but for what is kept.
async fn small_budget() -> Server {
    let mut settings = settings();
    settings.limits.bodies_bytes_max = 4 << 20;
    settings.limits.request_bytes_max = 1 << 20;
    settings.limits.image_bytes_max = 1 << 20;
    settings.server.body_grace_ms = 3_600_000;
    Server::ready(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_leave_room_for_photos_and_for_others() {
    let server = small_budget().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(unfinished(&server, ATTACKER, 1 << 20).await);
    }
    until("two of them hold their client's share", || {
        metric(&server, "repserve_bodies_bytes") >= 2 * ((1 << 20) - 1)
            && metric(&server, "repserve_rejected_total{reason=\"overloaded\"}") >= 6
    })
    .await;
    assert!(metric(&server, "repserve_bodies_bytes") <= 3 << 20);
    assert_eq!(
        photo(&server, ATTACKER).await.status,
        200,
        "even theirs, as long as it is small"
    );
    assert_eq!(photo(&server, OTHER).await.status, 200);
    let mut large = png(2);
    large.resize(900_000, 0);
    let stream = connect(OTHER, server.address).await;
    let sent = [head("/classify", "", large.len()).as_bytes(), &large].concat();
    assert_eq!(exchange(stream, sent).await.status, 200, "another client's large one");
    drop(held);
    until("all is given back", || metric(&server, "repserve_bodies_bytes") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_of_many_clients_leave_room_for_photos() {
    let server = small_budget().await;
    let mut held = Vec::new();
    for client in 10..30 {
        held.push(unfinished(&server, Ipv4Addr::new(127, 0, 1, client), 1 << 20).await);
    }
    until("they hold all that is not kept", || {
        metric(&server, "repserve_bodies_bytes") >= 3 * ((1 << 20) - 1)
    })
    .await;
    for client in [ATTACKER, OTHER] {
        assert_eq!(photo(&server, client).await.status, 200);
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_falls_behind_is_ended() {
    let mut settings = settings();
    settings.server.body_grace_ms = 200;
    settings.server.body_rate_bytes_min = 1 << 20;
    let server = Server::ready(settings).await;
    let sent = head("/classify", "", 4 << 20).into_bytes();
    let fast_then_still = [sent, vec![0; 1 << 20]].concat();
    let stream = connect(ATTACKER, server.address).await;
    let response = exchange(stream, fast_then_still).await;
    assert_eq!(response.status, 408, "{response:?}");
    assert!(
        response.body.contains("less than 1048576 bytes a second"),
        "{response:?}"
    );
    assert_eq!(photo(&server, OTHER).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_is_kept_for_what_nobody_knows() {
    let server = Server::ready(settings()).await;
    // Not all of their bodies comes: they have been admitted, and wait.
    for (encoding, kept) in [("content-encoding: gzip\r\n", false), ("", true)] {
        let mut held = Vec::new();
        for count in 1..=20 {
            let mut stream = connect(ATTACKER, server.address).await;
            let half = [head("/classify", encoding, 1_000_000).as_bytes(), &[0; 500]].concat();
            stream.write_all(&half).await.unwrap();
            held.push(stream);
            until("it is admitted and read", || {
                metric(&server, "repserve_bodies_bytes") >= 500 * count
            })
            .await;
        }
        let backlog = server.served().snapshot().backlog;
        assert_eq!(!backlog.is_zero(), kept, "{encoding}: {backlog:?}");
        drop(held);
        until("all is given back", || metric(&server, "repserve_bodies_bytes") == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_counts_as_cancelled() {
    let server = Server::ready(settings()).await;
    let cancelled = "repserve_rejected_total{reason=\"cancelled\"}";
    let gone = |route: &str| format!("repserve_http_requests_total{{code=\"499\",method=\"POST\",route=\"{route}\"}}");
    let infer = "/v2/models/repvgg-cifar10/infer";
    for (count, (path, route)) in (1..).zip([("/classify", "/classify"), (infer, "/v2/models/{model}/infer")]) {
        let mut stream = connect(ATTACKER, server.address).await;
        let half = [head(path, "", 1000).as_bytes(), &[0; 500]].concat();
        stream.write_all(&half).await.unwrap();
        drop(stream);
        until("it is counted", || metric(&server, cancelled) == count).await;
        assert_eq!(metric(&server, &gone(route)), 1);
    }
    assert_eq!(metric(&server, "repserve_rejected_total{reason=\"invalid_image\"}"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_http_is_malformed() {
    let server = Server::ready(settings()).await;
    let sent = "POST /classify HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let response = exchange(connect(ATTACKER, server.address).await, sent.into()).await;
    assert_eq!(response.status, 400, "{response:?}");
    until("it counts as invalid", || {
        metric(&server, "repserve_rejected_total{reason=\"invalid_image\"}") == 1
    })
    .await;
    assert_eq!(metric(&server, "repserve_rejected_total{reason=\"cancelled\"}"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_repeats_much_of_what_was_sent() {
    let server = Server::ready(settings()).await;
    let long = "%7f".repeat(3000);
    let requests = [
        (format!("/{long}"), String::new()),
        (format!("/v2/models/{long}/infer"), String::new()),
        (
            format!("/v2/models/repvgg-cifar10/versions/{long}/infer"),
            String::new(),
        ),
        (format!("/classify?{long}=1"), String::new()),
        (format!("/classify?top_k={long}"), String::new()),
        (
            String::from("/classify"),
            format!("content-type: text/{}\r\n", "x".repeat(8000)),
        ),
        (
            String::from("/classify"),
            format!("content-encoding: {}\r\n", "x".repeat(8000)),
        ),
    ];
    for (path, headers) in requests {
        let response = post(server.address, &path, &headers, b"x").await;
        assert!((400..500).contains(&response.status), "{response:?}");
        assert!(response.len < 4096, "{} bytes: {response:?}", response.len);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_without_end_are_refused_soon() {
    let server = Server::ready(settings()).await;
    let part = |name: &str| format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    let large = 4 << 20;
    for body in [
        "x".repeat(large),
        part(&"n".repeat(large)),
        part("a") + &"\r\n--A".repeat(large / 5),
        format!("--B{}", " ".repeat(large)),
    ] {
        let response = tokio::time::timeout(
            Duration::from_secs(60),
            post(server.address, "/classify", FORM, body.as_bytes()),
        );
        let response = response.await.unwrap();
        assert_eq!(response.status, 400, "{response:?}");
        assert!(response.len < 4096, "{response:?}");
    }
    let name = "\u{1}".repeat(1000);
    let broken = format!("{}x\r\n--B--\r\n", part(&name));
    let response = post(server.address, "/classify", FORM, broken.as_bytes()).await;
    assert!(response.len < 4096, "{response:?}");
}
