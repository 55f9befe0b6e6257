//! Clients that come back before the time that they were told: held, let in when there is room, forgotten when they go.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use repserve::classify::Served;
use repserve::config::Settings;

use crate::support::images::png;
use crate::support::{Server, settings, until};

/// A connection of which tests say when it is used again.
struct Connection(TcpStream);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn send(&mut self, target: &str, headers: &str) {
        let body = png(1);
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    }

    /// The head and the body of the next response that is not an interim one.
    fn response(&mut self) -> (String, String) {
        let mut bytes = Vec::new();
        let end = |bytes: &[u8]| bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        let head = loop {
            if let Some(end) = end(&bytes) {
                let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
                if !head.starts_with("HTTP/1.1 1") {
                    break head;
                }
                continue;
            }
            self.more(&mut bytes);
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        while bytes.len() < length.parse().unwrap() {
            self.more(&mut bytes);
        }
        (head, String::from_utf8(bytes).unwrap())
    }

    fn more(&mut self, bytes: &mut Vec<u8>) {
        let mut part = [0; 4096];
        let count = self.0.read(&mut part).unwrap();
        assert!(count > 0, "the connection was closed");
        bytes.extend_from_slice(&part[..count]);
    }

    fn status(&mut self) -> u16 {
        self.response().0[9..12].parse().unwrap()
    }
}

/// A server whose one place is taken, and nothing is started. The task holds the place.
async fn full(mut settings: Settings) -> (Server, Arc<Served>, tokio::task::JoinHandle<u16>) {
    settings.batch.queue_capacity = 1;
    let server = Server::ready(settings).await;
    let served = server.served();
    served.batcher().hold();
    served.back_pressure().assume_storm(Duration::from_secs(3600));
    let waiting = server.post("/classify", png(1)).send();
    let waiting = tokio::spawn(async move { waiting.await.unwrap().status().as_u16() });
    until("it waits", || served.snapshot().queue_depth == 1).await;
    (server, served, waiting)
}

/// Runs what blocks beside the server.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Sends on a connection that was refused before, until the request is held: where this takes too long, its time is over and it is refused
/// at once once more.
async fn held(served: &Served, mut connection: Connection, target: &'static str) -> Connection {
    let before = served.back_pressure().held();
    loop {
        connection.send(target, "");
        let mut ready = [0];
        connection.0.set_nonblocking(true).unwrap();
        until("it is held or refused", || {
            served.back_pressure().held() > before || connection.0.peek(&mut ready).is_ok()
        })
        .await;
        connection.0.set_nonblocking(false).unwrap();
        if served.back_pressure().held() > before {
            return connection;
        }
        connection = beside(move || {
            assert_eq!(connection.status(), 429);
            connection
        })
        .await;
    }
}

async fn refused(address: SocketAddr, target: &'static str) -> Connection {
    beside(move || {
        let mut connection = Connection::open(address);
        connection.send(target, "");
        let (head, body) = connection.response();
        assert!(
            head.starts_with("HTTP/1.1 429") && head.contains("retry-after: "),
            "{head}{body}"
        );
        connection
    })
    .await
}

fn metric(server: &Server, name: &str) -> f64 {
    server.shared.models.measure(&server.shared.metrics);
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_refusal_comes_at_once_and_the_second_when_there_is_room() {
    let (server, served, waiting) = full(settings()).await;
    let mut connection = refused(server.address, "/classify").await;
    assert_eq!(served.back_pressure().held(), 0);
    connection = held(&served, connection, "/classify").await;
    assert_eq!(metric(&server, "repserve_requests_held"), 1.0);
    served.batcher().release();
    // Held past its time on a machine that stands still, it comes once more, and finds room.
    let status = beside(move || match connection.status() {
        429 => {
            connection.send("/classify", "");
            connection.status()
        }
        status => status,
    });
    assert_eq!(status.await, 200);
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(served.back_pressure().held(), 0);
    assert_eq!(metric(&server, "repserve_requests_in_time_total"), 2.0);
    assert!(metric(&server, "repserve_requests_refused_total{reason=\"queue_full\"}") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_it_is_refused_again() {
    let (server, served, waiting) = full(settings()).await;
    let mut connection = refused(server.address, "/classify").await;
    connection = held(&served, connection, "/classify").await;
    let (head, body) = beside(move || connection.response()).await;
    assert!(
        head.starts_with("HTTP/1.1 429") && head.contains("retry-after: "),
        "{head}"
    );
    assert!(body.contains("\"code\":\"overloaded\""), "{body}");
    assert_eq!(served.back_pressure().held(), 0);
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_held_is_a_refusal_too() {
    let (server, served, waiting) = full(settings()).await;
    let mut connection = refused(server.address, "/classify").await;
    connection = held(&served, connection, "/classify?timeout_ms=200").await;
    let (head, body) = beside(move || connection.response()).await;
    assert!(
        head.starts_with("HTTP/1.1 429") && head.contains("retry-after: "),
        "{head}{body}"
    );
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_while_held_is_forgotten() {
    let (server, served, waiting) = full(settings()).await;
    let connection = refused(server.address, "/classify").await;
    let refusals = metric(&server, "repserve_requests_refused_total{reason=\"queue_full\"}");
    drop(held(&served, connection, "/classify").await);
    until("it is forgotten", || served.back_pressure().held() == 0).await;
    until("it has ended", || metric(&server, "repserve_requests_in_flight") == 1.0).await;
    let cancelled = metric(&server, "repserve_rejected_total{reason=\"cancelled\"}");
    let refused_since = metric(&server, "repserve_requests_refused_total{reason=\"queue_full\"}") - refusals;
    assert!(cancelled == 1.0 || refused_since > 0.0, "{cancelled} {refused_since}");
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(metric(&server, "repserve_images_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_while_held_gets_its_response() {
    let (server, served, waiting) = full(settings()).await;
    let connection = refused(server.address, "/classify").await;
    let mut connection = held(&served, connection, "/classify").await;
    connection.0.shutdown(Shutdown::Write).unwrap();
    served.batcher().release();
    let status = beside(move || connection.status()).await;
    assert!(matches!(status, 200 | 429), "{status}");
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_never_held() {
    let (server, served, waiting) = full(settings()).await;
    let mut connection = refused(server.address, "/classify").await;
    for path in ["/livez", "/readyz", "/metrics", "/v2", "/v2/models/repvgg-cifar10"] {
        connection = beside(move || {
            write!(connection.0, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            assert_eq!(connection.status(), 200, "{path}");
            connection
        })
        .await;
    }
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_refused_before_its_body_comes() {
    let (server, served, waiting) = full(settings()).await;
    let address = server.address;
    for path in ["/classify", "/v2/models/repvgg-cifar10/infer"] {
        let (head, _) = beside(move || {
            let mut connection = Connection::open(address);
            write!(
                connection.0,
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
            )
            .unwrap();
            connection.response()
        })
        .await;
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
    }
    let (head, _) = beside(move || {
        let mut connection = Connection::open(address);
        write!(
            connection.0,
            "POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
        )
        .unwrap();
        connection.response()
    })
    .await;
    assert!(
        head.starts_with("HTTP/1.1 413"),
        "what is wrong with the head goes first: {head}"
    );
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
}

/// Two clients behind one proxy, over one connection. Whether the second is held as the first would be.
async fn second_is_held(settings: Settings) -> bool {
    let (server, served, waiting) = full(settings).await;
    let connection = refused(server.address, "/classify").await;
    let mut connection = beside(move || {
        let mut connection = connection;
        connection.send("/classify", "x-forwarded-for: 192.0.2.1\r\n");
        connection
    })
    .await;
    let mut ready = [0];
    connection.0.set_nonblocking(true).unwrap();
    until("it is held or refused", || {
        served.back_pressure().held() > 0 || connection.0.peek(&mut ready).is_ok()
    })
    .await;
    connection.0.set_nonblocking(false).unwrap();
    let held = served.back_pressure().held() > 0;
    let status = beside(move || connection.status()).await;
    assert_eq!(status, 429);
    served.batcher().release();
    assert_eq!(waiting.await.unwrap(), 200);
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_names_the_client() {
    let mut trusting = settings();
    trusting.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    trusting.server.client_header = "x-forwarded-for".to_owned();
    assert!(!second_is_held(trusting.clone()).await, "it is another client");
    trusting.server.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    // On a machine that stands still, the time for which the first was told to stay away may be over.
    for _ in 0..5 {
        if second_is_held(trusting.clone()).await {
            return;
        }
    }
    panic!("anybody can write that header");
}
