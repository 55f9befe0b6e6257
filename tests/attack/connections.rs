//! Connections that are held, half closed, not read, or not HTTP by the letter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use repserve::config::Settings;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::images::png;
use crate::support::process::Process;
use crate::support::{Server, settings, until};

/// The longest that one step of a test may take.
const STEP: Duration = Duration::from_secs(30);
/// A probe that takes longer than this has been starved, on however slow a machine.
const PROBE: Duration = Duration::from_secs(2);
const DOCUMENT: &[u8] = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
const PROBING: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

/// A response as it came.
#[derive(Debug)]
struct RawResponse {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl RawResponse {
    fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["code"].as_str().unwrap().to_owned()
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(STEP, work).await;
    done.unwrap_or_else(|_| panic!("{what} took more than {STEP:?}"))
}

async fn connect(address: SocketAddr) -> TcpStream {
    within("connecting", TcpStream::connect(address)).await.unwrap()
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    within("sending", stream.write_all(bytes)).await.unwrap();
}

/// Reads one response; interim responses before it are skipped.
async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> RawResponse {
    within("a response", async {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a response"));
            }
            let head = String::from_utf8(head).unwrap();
            let status: u16 = head[9..12].parse().unwrap();
            if status < 200 {
                continue;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            return RawResponse { status, head, body };
        }
    })
    .await
}

async fn ask(address: SocketAddr, request: &[u8]) -> RawResponse {
    let mut stream = connect(address).await;
    send(&mut stream, request).await;
    read_response(&mut stream).await
}

/// Reads until the server has closed; whatever comes.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = within("closing", stream.read_to_end(&mut rest)).await;
}

fn post(path: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n").into_bytes()
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn closed_for(server: &Server, reason: &str) -> f64 {
    metric(
        server,
        &format!("repserve_connections_closed_total{{reason=\"{reason}\"}}"),
    )
}

/// Asks for documents without end and reads none: returns when the server takes no more requests.
async fn do_not_read(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within("connecting", socket.connect(address)).await.unwrap();
    let requests = DOCUMENT.repeat(100);
    let limit = Instant::now() + STEP;
    loop {
        match tokio::time::timeout(Duration::from_millis(200), stream.write(&requests)).await {
            Ok(Ok(_)) if Instant::now() < limit => {}
            Err(_) => return stream,
            Ok(other) => panic!("the server goes on taking requests: {other:?}"),
        }
    }
}

/// The liveness probe gets its response, and soon.
async fn alive(address: SocketAddr) {
    let began = Instant::now();
    let probe = ask(address, PROBING).await;
    assert_eq!(probe.status, 200, "{probe:?}");
    assert!(began.elapsed() < PROBE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_closed_also_with_requests_in_the_pipe() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 500;
    let server = Server::loading(settings).await;
    let stream = do_not_read(server.address).await;
    until("it is closed", || closed_for(&server, "write_timeout") == 1.0).await;
    until("nothing is left", || {
        metric(&server, "repserve_connections{state=\"busy\"}") == 0.0
    })
    .await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_a_trickle_is_closed() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 1000;
    settings.server.write_bytes_per_second_min = 100_000_000;
    let server = Server::loading(settings).await;
    let mut stream = do_not_read(server.address).await;
    let trickle = async {
        let mut some = [0; 16 << 10];
        while stream.read(&mut some).await.is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("closing", trickle).await;
    assert_eq!(closed_for(&server, "write_timeout"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_do_not_silence_probes() {
    const CLIENTS: usize = 40;
    let mut settings = settings();
    settings.server.connections_max = CLIENTS;
    settings.server.write_timeout_ms = 600_000;
    let server = Server::loading(settings).await;
    let held: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(do_not_read(server.address)))
        .collect();
    let held = futures_util::future::join_all(held).await;
    for _ in 0..200 {
        alive(server.address).await;
    }
    let other = ask(server.address, DOCUMENT).await;
    assert_eq!((other.status, other.code()), (503, "no_connection".to_owned()));
    assert!(
        other.closes() && other.head.contains("retry-after: 1"),
        "{}",
        other.head
    );
    assert_eq!(metric(&server, "repserve_connections{state=\"busy\"}"), CLIENTS as f64);
    // Not even when the reserve is held too.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(server.address).await);
    }
    alive(server.address).await;
    drop((held, silent));
    until("slots are free again", || {
        metric(&server, "repserve_connections{state=\"busy\"}") == 0.0
    })
    .await;
    assert_eq!(ask(server.address, DOCUMENT).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_make_room() {
    let mut settings = settings();
    settings.server.connections_max = 20;
    let server = Server::loading(settings).await;
    let mut held = Vec::new();
    for i in 0..400 {
        let mut stream = connect(server.address).await;
        match i % 3 {
            0 => send(&mut stream, b"GET /livez HTTP/1.1\r\nhos").await,
            1 => {
                send(&mut stream, PROBING).await;
                assert_eq!(read_response(&mut stream).await.status, 200);
            }
            _ => {}
        }
        held.push(stream);
    }
    alive(server.address).await;
    assert_eq!(ask(server.address, DOCUMENT).await.status, 200);
    until("the oldest are closed", || closed_for(&server, "evicted") >= 380.0).await;
    assert_eq!(closed_for(&server, "refused"), 0.0);
    closed(&mut held[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_and_a_slow_head_have_each_their_own_time() {
    let mut settings = settings();
    settings.server.idle_timeout_ms = 100;
    settings.server.header_timeout_ms = 600_000;
    let server = Server::loading(settings).await;
    let mut stream = connect(server.address).await;
    send(&mut stream, PROBING).await;
    assert_eq!(read_response(&mut stream).await.status, 200);
    closed(&mut stream).await;
    let mut silent = connect(server.address).await;
    closed(&mut silent).await;
    assert_eq!(closed_for(&server, "idle"), 2.0);
    let mut slow = connect(server.address).await;
    send(&mut slow, &PROBING[..10]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    send(&mut slow, &PROBING[10..]).await;
    assert_eq!(read_response(&mut slow).await.status, 200);
}

/// Clients that write all of a large request before they read see each response, and that it is the last.
async fn check_early(server: &Server, path: &str, headers: &str, status: u16) {
    const CLIENTS: usize = 10;
    let body = vec![b'x'; 9 << 20];
    for _ in 0..CLIENTS {
        let mut stream = connect(server.address).await;
        send(&mut stream, &post(path, headers, body.len())).await;
        send(&mut stream, &body).await;
        let seen = read_response(&mut stream).await;
        assert_eq!(seen.status, status, "{path}: {seen:?}");
        assert!(seen.closes(), "{}", seen.head);
        closed(&mut stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_to_requests_that_are_not_read_arrive() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "a-key-of-this-test").unwrap();
    let mut settings = settings();
    settings.security.api_keys_file = keys.path().to_owned();
    settings.limits.image_bytes_max = 1 << 20;
    let server = Server::ready(settings).await;
    const KEY: &str = "x-api-key: a-key-of-this-test\r\n";
    check_early(&server, "/classify", "", 401).await;
    check_early(&server, "/nowhere", "", 404).await;
    check_early(&server, "/livez", "", 405).await;
    check_early(&server, "/classify", &format!("{KEY}content-type: text/plain\r\n"), 415).await;
    check_early(&server, "/classify", KEY, 413).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refused_uploads_at_once_all_see_their_answer() {
    const CLIENTS: usize = 64;
    let mut settings = settings();
    settings.limits.bodies_bytes_max = settings.limits.request_bytes_max;
    settings.limits.image_bytes_max = 12 << 20;
    settings.limits.request_bytes_max = 12 << 20;
    settings.limits.bodies_bytes_max = 12 << 20;
    let server = Server::loading(settings).await;
    let body = Arc::new(vec![b'x'; 10 << 20]);
    let clients = (0..CLIENTS).map(|_| {
        let (address, body) = (server.address, Arc::clone(&body));
        tokio::spawn(async move {
            let mut stream = connect(address).await;
            send(&mut stream, &post("/classify", "", body.len())).await;
            send(&mut stream, &body).await;
            read_response(&mut stream).await.status
        })
    });
    let seen = futures_util::future::join_all(clients.collect::<Vec<_>>()).await;
    for status in seen {
        let status = status.expect("every client sees its response");
        assert!([429, 503].contains(&status), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_byte_of_a_body_does_not_cost_the_next_request() {
    let server = Server::loading(settings()).await;
    for delay_ms in [0, 3, 10, 400] {
        for _ in 0..if delay_ms < 100 { 60 } else { 3 } {
            let mut stream = connect(server.address).await;
            send(&mut stream, &post("/nowhere", "", 1)).await;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            let next = [b"x", PROBING].concat();
            // A client that has learned that the connection ends need not be able to send any more.
            let sent = stream.write_all(&next).await;
            let first = read_response(&mut stream).await;
            assert_eq!(first.status, 404);
            if !first.closes() {
                sent.unwrap();
                assert_eq!(read_response(&mut stream).await.status, 200, "after {delay_ms} ms");
            } else {
                assert!(delay_ms > 0, "a byte that is there is read");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_leave_to_send_is_answered_without_it() {
    let server = Server::loading(settings()).await;
    let mut stream = connect(server.address).await;
    send(&mut stream, &post("/nowhere", "expect: 100-continue\r\n", 1000)).await;
    let mut first = [0; 12];
    within("the response", stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");
    closed(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_told_so() {
    let server = Server::loading(settings()).await;
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(4 << 20));
    let seen = ask(server.address, large.as_bytes()).await;
    assert_eq!(seen.status, 431);
    let fits = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(30 << 10));
    assert_eq!(ask(server.address, fits.as_bytes()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_not_by_the_letter_are_refused() {
    let server = Server::loading(settings()).await;
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET /v2/health/live HTTP/1.1\r\n\r\n", 400),
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
        (
            "POST /classify HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (
            "POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 9223372036854775808\r\n\r\n",
            400,
        ),
        (
            "POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n\r\n",
            400,
        ),
        ("POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
    ] {
        let mut stream = connect(server.address).await;
        send(&mut stream, head.as_bytes()).await;
        let seen = read_response(&mut stream).await;
        assert_eq!(seen.status, status, "{head}");
        if status != 200 {
            assert!(seen.closes(), "{head}");
        }
        closed(&mut stream).await;
    }
    // A length and chunks: the chunks count, and nothing after them (RFC 9112, section 6.3).
    let both = "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut stream = connect(server.address).await;
    send(&mut stream, both.as_bytes()).await;
    assert!(read_response(&mut stream).await.closes());
    closed(&mut stream).await;
}

/// A request for a prediction.
fn prediction(version: &str, headers: &str) -> Vec<u8> {
    let image = png(1);
    let head = format!(
        "POST /classify HTTP/{version}\r\nhost: x\r\ncontent-type: image/png\r\n{headers}content-length: {}\r\n\r\n",
        image.len()
    );
    [head.into_bytes(), image].concat()
}

/// A server with a certificate, and a way to connect to it.
async fn with_tls(mut settings: Settings, folder: &std::path::Path) -> (Server, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["repserve.test".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    settings.security.tls_certificate_file = folder.join("cert.pem");
    settings.security.tls_key_file = folder.join("key.pem");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Server::ready(settings).await, TlsConnector::from(Arc::new(config)))
}

async fn connect_tls(address: SocketAddr, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("repserve.test").unwrap();
    within("a handshake", connector.connect(name, connect(address).await))
        .await
        .unwrap()
}

/// Sends a request, then that nothing more comes, and waits for the response that `server` gives when it may.
async fn check_half_close(server: &Server, mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) {
    let served = server.served();
    served.batcher().hold();
    send(&mut stream, request).await;
    within("half closing", stream.shutdown()).await.unwrap();
    until("it waits", || served.snapshot().queue_depth == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    served.batcher().release();
    assert_eq!(read_response(&mut stream).await.status, 200);
    closed(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_half_closes_gets_its_answer() {
    let server = Server::ready(settings()).await;
    for request in [
        prediction("1.1", ""),
        prediction("1.1", "connection: close\r\n"),
        prediction("1.0", ""),
    ] {
        check_half_close(&server, connect(server.address).await, &request).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (server, connector) = with_tls(settings(), folder.path()).await;
    let stream = connect_tls(server.address, &connector).await;
    check_half_close(&server, stream, &prediction("1.1", "")).await;
}

/// Sends a request, and before its response another one in two pieces.
async fn check_ahead(server: &Server, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let served = server.served();
    served.batcher().hold();
    send(&mut stream, &prediction("1.1", "")).await;
    until("it waits", || served.snapshot().queue_depth == 1).await;
    send(&mut stream, &PROBING[..20]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    send(&mut stream, &PROBING[20..]).await;
    send(&mut stream, &prediction("1.1", "")).await;
    served.batcher().release();
    for expected in ["predictions", "live", "predictions"] {
        let seen = read_response(&mut stream).await;
        assert_eq!(seen.status, 200);
        assert!(String::from_utf8(seen.body).unwrap().contains(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_ahead_are_answered_in_order() {
    let server = Server::ready(settings()).await;
    check_ahead(&server, connect(server.address).await).await;
    let folder = tempfile::tempdir().unwrap();
    let (server, connector) = with_tls(settings(), folder.path()).await;
    check_ahead(&server, connect_tls(server.address, &connector).await).await;
}

/// Sends a request and goes away as `leave` does: the request is given up before a session takes it.
async fn check_gone<S: AsyncRead + AsyncWrite + Unpin>(server: &Server, mut stream: S, leave: impl AsyncFnOnce(S)) {
    let served = server.served();
    served.batcher().hold();
    send(&mut stream, &prediction("1.1", "")).await;
    until("it waits", || served.snapshot().queue_depth == 1).await;
    leave(stream).await;
    until("it is given up", || served.snapshot().queue_depth == 0).await;
    served.batcher().release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_or_resets_is_given_up() {
    let server = Server::ready(settings()).await;
    check_gone(&server, connect(server.address).await, async |stream| drop(stream)).await;
    check_gone(&server, connect(server.address).await, async |stream| {
        stream.set_zero_linger().unwrap();
    })
    .await;
    assert_eq!(closed_for(&server, "hang_up"), 2.0);
    let folder = tempfile::tempdir().unwrap();
    let (server, connector) = with_tls(settings(), folder.path()).await;
    let stream = connect_tls(server.address, &connector).await;
    check_gone(&server, stream, async |mut stream| {
        stream.shutdown().await.unwrap();
        drop(stream);
    })
    .await;
    let stream = connect_tls(server.address, &connector).await;
    check_gone(&server, stream, async |stream| drop(stream)).await;
    assert_eq!(closed_for(&server, "hang_up"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_over_tls_is_closed() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 500;
    let folder = tempfile::tempdir().unwrap();
    let (server, connector) = with_tls(settings, folder.path()).await;
    let stream = connect_tls(server.address, &connector).await;
    let (_reading, mut writing) = tokio::io::split(stream);
    let requests = DOCUMENT.repeat(100);
    let flood = async {
        while writing.write_all(&requests).await.is_ok() && writing.flush().await.is_ok() {
            assert!(closed_for(&server, "write_timeout") < 2.0);
        }
    };
    within("closing", flood).await;
    until("it is closed", || closed_for(&server, "write_timeout") == 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_not_read_are_bounded_together() {
    let mut settings = settings();
    settings.limits.answers_bytes_max = 1;
    let server = Server::ready(settings.clone()).await;
    // Shared documents cost nothing, nor do small responses.
    assert_eq!(ask(server.address, DOCUMENT).await.status, 200);
    let refused = ask(server.address, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((refused.status, refused.code()), (429, "overloaded".to_owned()));
    assert!(refused.closes(), "{}", refused.head);
    settings.limits.answers_bytes_max = 64 << 10;
    let server = Server::ready(settings).await;
    let mut stream = connect(server.address).await;
    for _ in 0..20 {
        send(&mut stream, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(
            read_response(&mut stream).await.status,
            200,
            "what was read is given back"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_has_connections_of_its_own() {
    let mut settings = settings();
    settings.server.connections_max = 8;
    settings.server.write_timeout_ms = 600_000;
    settings.server.admin_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let app = repserve::app::App::build(settings).await.unwrap();
    let (address, admin) = (app.local_addr(), app.admin_addr().unwrap());
    let (_stop, stopped) = tokio::sync::watch::channel(repserve::http::Stop::Run);
    tokio::spawn(app.run(stopped));
    let held: Vec<_> = (0..8).map(|_| tokio::spawn(do_not_read(address))).collect();
    let _held = futures_util::future::join_all(held).await;
    for _ in 0..50 {
        alive(admin).await;
        alive(address).await;
    }
    let metrics = ask(admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(metrics.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_large_heads_goes_back() {
    const CONNECTIONS: usize = 1000;
    const GROWTH_BYTES_MAX: u64 = 16 << 20;
    let server = Process::start(&["runtime.measure_ms_max=50"]).await;
    let large = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(31 << 10));
    let before = server.resident_bytes();
    for _ in 0..3 {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = connect(server.address).await;
            send(&mut stream, large.as_bytes()).await;
            held.push(stream);
        }
        for stream in &mut held {
            assert_eq!(read_response(stream).await.status, 200);
        }
        drop(held);
        let limit = Instant::now() + STEP;
        let left = loop {
            let left = server.resident_bytes().saturating_sub(before);
            if left <= GROWTH_BYTES_MAX || Instant::now() > limit {
                break left;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(left <= GROWTH_BYTES_MAX, "{left} bytes more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_by_the_files_that_may_be_open() {
    let server = Process::start_after("ulimit -n 400", &["runtime.measure_ms_max=50"]).await;
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(connect(server.address).await);
    }
    for _ in 0..20 {
        alive(server.address).await;
    }
    assert!(server.metric("process_max_fds").await <= 400.0);
    assert!(server.metric("process_open_fds").await < 300.0);
    assert!(
        server
            .metric("repserve_connections_closed_total{reason=\"evicted\"}")
            .await
            >= 500.0
    );
}
