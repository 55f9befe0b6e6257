//! Frames of HTTP/2 that cost the server more than their client: reset at once, without end, far too many, never taken.

use std::net::SocketAddr;
use std::time::Duration;

use repserve::config::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::cgroup::Cgroup;
use crate::support::images::png;
use crate::support::process::Process;
use crate::support::{Server, settings, until};

/// The longest that one step of a test may take.
const STEP: Duration = Duration::from_secs(60);

/// Kinds of frames, and the flags of a head (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Settings and errors (RFC 9113, sections 6.5.2 and 7).
const HEADER_TABLE_SIZE: u16 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The status 431 in the code of RFC 7541, appendix B.
const HUFFMAN_431: [u8; 3] = [0x69, 0x90, 0xff];

/// Requests that one connection of a quiet server may have at a time, and resets beyond which its client is told to go, and is closed.
const STREAMS: usize = 66;
const RESETS: usize = 256;

/// A frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Of GOAWAY or RST_STREAM: why.
    fn reason(&self) -> u32 {
        let end = self.payload.get(if self.kind == GOAWAY { 4..8 } else { 0..4 }).unwrap();
        u32::from_be_bytes(end.try_into().unwrap())
    }

    /// Of SETTINGS: one of them.
    fn setting(&self, wanted: u16) -> Option<u32> {
        let mut all = self.payload.chunks_exact(6);
        let one = all.find(|one| one[..2] == wanted.to_be_bytes())?;
        Some(u32::from_be_bytes(one[2..].try_into().unwrap()))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A head's fields, none of them in the table of the client (RFC 7541, section 6.2.2).
fn head(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x01, 1, b'x', 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block
}

fn get(path: &str) -> Vec<u8> {
    head(0x82, path)
}

fn post(path: &str) -> Vec<u8> {
    head(0x83, path)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(STEP, work).await;
    done.unwrap_or_else(|_| panic!("{what} took more than {STEP:?}"))
}

/// A connection of HTTP/2, frame by frame.
struct Frames(TcpStream);

impl Frames {
    async fn open(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = within("connecting", TcpStream::connect(address)).await.unwrap();
        let begin = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, settings),
        ]
        .concat();
        stream.write_all(&begin).await.unwrap();
        Self(stream)
    }

    /// Sends bytes; a server that has closed takes none.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = within("sending", self.0.write_all(bytes)).await;
    }

    /// The next frame; `None` where the server has closed.
    async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame {
                kind: head[3],
                flags: head[4],
                stream,
                payload,
            })
        })
        .await
    }

    /// The next frame of that stream.
    async fn of_stream(&mut self, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("a frame");
            if frame.stream == stream {
                return frame;
            }
        }
    }

    /// All frames until the server closes.
    async fn rest(&mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.push(frame);
        }
        all
    }

    /// Waits until the server has seen all that was sent. Returns what came before, where it has not closed.
    async fn settled(&mut self) -> Option<Vec<Frame>> {
        self.send(&frame(PING, 0, 0, b"until-it")).await;
        let mut all = Vec::new();
        loop {
            let frame = self.next().await?;
            if frame.kind == PING && frame.flags == ACK && frame.payload == b"until-it" {
                return Some(all);
            }
            all.push(frame);
        }
    }
}

/// Why the server says that it goes.
fn goaway(frames: &[Frame]) -> Option<u32> {
    frames.iter().find(|frame| frame.kind == GOAWAY).map(Frame::reason)
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn closed_for(server: &Server, reason: &str) -> f64 {
    let name = format!("repserve_connections_closed_total{{reason=\"{reason}\"}}");
    metric(server, &name)
}

/// Nothing is left of what was asked, and others are served.
async fn serves_on(server: &Server) {
    until("nothing is left", || {
        metric(server, "repserve_requests_in_flight") == 0.0 && server.served().snapshot().queue_depth == 0
    })
    .await;
    assert_eq!(server.post("/classify", png(1)).send().await.unwrap().status(), 200);
}

/// Settings with which no request ends for its time.
fn patient() -> Settings {
    let mut settings = settings();
    settings.server.body_grace_ms = 3_600_000;
    settings.server.body_timeout_ms = 3_600_000;
    settings.server.request_timeout_ms = 3_600_000;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_reset_before_they_begin_end_the_connection() {
    let server = Server::loading(settings()).await;
    let mut client = Frames::open(server.address, &[]).await;
    let rapid = (0..1000).flat_map(|n| {
        let stream = 2 * n + 1;
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/livez")),
            reset(stream),
        ]
        .concat()
    });
    client.send(&rapid.collect::<Vec<u8>>()).await;
    assert_eq!(goaway(&client.rest().await), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_resets_what_has_begun_is_told_to_go_and_then_closed() {
    let server = Server::ready(patient()).await;
    let mut client = Frames::open(server.address, &[]).await;
    let (mut resets, mut told) = (0, None);
    for stream in (1..).step_by(2) {
        // Its body does not come, so that it has begun and not ended when it is reset.
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &post("/classify")))
            .await;
        let Some(seen) = client.settled().await else { break };
        assert!(seen.iter().all(|frame| frame.stream == 0), "{seen:?}");
        if told.is_none() && goaway(&seen) == Some(NO_ERROR) {
            told = Some(resets);
        }
        client.send(&reset(stream)).await;
        resets += 1;
        assert!(resets < 10 * RESETS, "it goes on and on");
    }
    let told = told.expect("GOAWAY before the end");
    assert!((RESETS..2 * RESETS).contains(&told), "{told}");
    assert!((2 * RESETS..=2 * RESETS + 2).contains(&resets), "{resets}");
    assert_eq!(closed_for(&server, "resets"), 1.0);
    serves_on(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_ends_the_connection() {
    let server = Server::loading(settings()).await;
    for part in [&[][..], &[0; 16 << 10]] {
        let client = Frames::open(server.address, &[]).await;
        let mut flood = frame(HEADERS, END_STREAM, 1, &get("/livez"));
        for _ in 0..2000 {
            flood.extend(frame(CONTINUATION, 0, 1, part));
        }
        let (mut read, mut write) = client.0.into_split();
        let writing = tokio::spawn(async move { write.write_all(&flood).await });
        let mut all = Vec::new();
        let _ = within("the end", read.read_to_end(&mut all)).await;
        assert!(within("writing", writing).await.is_ok());
        assert_eq!(metric(&server, "repserve_requests_in_flight"), 0.0);
    }
    let mut client = Frames::open(server.address, &[]).await;
    client
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/livez")))
        .await;
    client.settled().await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_and_reads_no_reply_is_not_read_and_closed() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 300;
    let server = Server::loading(settings).await;
    let floods = [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, &[])];
    for (times, flood) in (1..).zip(floods) {
        let mut client = Frames::open(server.address, &[]).await;
        let flood = flood.repeat(10_000);
        // No more than the buffers of both kernels hold is taken: it ends because the server closes.
        let ended = async { while client.0.write_all(&flood).await.is_ok() {} };
        within("the server goes on taking frames", ended).await;
        until("it is closed for that", || {
            closed_for(&server, "write_timeout") == f64::from(times)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ping_gets_one_reply_in_order() {
    let server = Server::loading(settings()).await;
    let client = Frames::open(server.address, &[]).await;
    let (read, mut write) = client.0.into_split();
    let pings: Vec<u8> = (0..20_000u64)
        .flat_map(|n| frame(PING, 0, 0, &n.to_be_bytes()))
        .collect();
    let writing = tokio::spawn(async move {
        write.write_all(&pings).await.unwrap();
        write
    });
    let mut read = tokio::io::BufReader::new(read);
    let mut next = 0u64;
    while next < 20_000 {
        let mut head = [0; 9];
        within("a frame", read.read_exact(&mut head)).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        within("its payload", read.read_exact(&mut payload)).await.unwrap();
        if head[3] == PING && head[4] == ACK {
            assert_eq!(payload, next.to_be_bytes());
            next += 1;
        }
    }
    drop(writing.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_have_the_server_keep_a_large_table_of_fields() {
    let server = Server::loading(settings()).await;
    let mut client = Frames::open(server.address, &setting(HEADER_TABLE_SIZE, u32::MAX)).await;
    for stream in [1, 3, 5] {
        client
            .send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/livez")))
            .await;
        let head = client.of_stream(stream).await;
        assert_eq!(head.kind, HEADERS);
        // Three bits, 001, would begin a change of the table's size (RFC 7541, section 6.3): it stays what it is at the beginning, 4 KiB.
        assert_ne!(head.payload[0] >> 5, 1, "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_enlarge_the_table_of_its_own_fields() {
    let server = Server::loading(settings()).await;
    let mut client = Frames::open(server.address, &[]).await;
    // A size of 2^20 (RFC 7541, sections 5.1 and 6.3).
    let block = [vec![0x3f, 0xe1, 0xff, 0x3f], get("/livez")].concat();
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    assert_eq!(goaway(&client.rest().await), Some(PROTOCOL_ERROR));
}

/// A head with a field of 3,000 bytes that is kept in the table, and then named so many times by one byte each.
fn bomb(times: usize) -> Vec<u8> {
    let mut block = get("/livez");
    block.extend([0x40, 1, b'a', 0x7f, 0xb9, 0x16]);
    block.extend([b'y'; 3000]);
    block.extend(vec![0xbe; times]);
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bytes_that_stand_for_a_large_head_are_refused() {
    let server = Server::loading(settings()).await;
    let mut client = Frames::open(server.address, &[]).await;
    client.send(&bomb(7)).await;
    let response = client.of_stream(1).await;
    // Literal, with the name `:status` of the static table: 431 is not in it.
    let status = |three: &[u8]| three == b"431" || three == HUFFMAN_431;
    assert!(
        response.kind == HEADERS && response.payload.windows(3).any(status),
        "{response:?}"
    );
    client.settled().await.expect("the connection goes on");
    let mut client = Frames::open(server.address, &[]).await;
    client.send(&bomb(1000)).await;
    assert!(goaway(&client.rest().await).is_some_and(|why| why != NO_ERROR));
    assert_eq!(metric(&server, "repserve_requests_in_flight"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_nobody_takes_are_dropped_with_their_connection() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 300;
    let server = Server::ready(settings).await;
    let mut client = Frames::open(server.address, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    let many =
        (0..STREAMS as u32).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &get("/openapi.json")));
    client.send(&many.collect::<Vec<u8>>()).await;
    let seen = client.rest().await;
    assert!(seen.iter().all(|frame| frame.kind != DATA || frame.payload.is_empty()));
    until("it is closed for that", || closed_for(&server, "write_timeout") == 1.0).await;
    serves_on(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_those_of_the_connection_are_refused_unread() {
    let server = Server::ready(patient()).await;
    server.served().batcher().hold();
    let mut client = Frames::open(server.address, &[]).await;
    let many = (0..STREAMS as u32 + 34).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &post("/classify")));
    client.send(&many.collect::<Vec<u8>>()).await;
    let seen = client.settled().await.unwrap();
    let said = seen.iter().find(|frame| frame.kind == SETTINGS && frame.flags == 0);
    assert_eq!(said.unwrap().setting(MAX_CONCURRENT_STREAMS), Some(STREAMS as u32));
    let refused: Vec<u32> = seen
        .iter()
        .filter(|frame| frame.kind == RST_STREAM)
        .inspect(|frame| assert_eq!(frame.reason(), REFUSED_STREAM))
        .map(|frame| frame.stream)
        .collect();
    let expected: Vec<u32> = (STREAMS as u32..STREAMS as u32 + 34).map(|n| 2 * n + 1).collect();
    assert_eq!(refused, expected);
    until("the others are in flight", || {
        metric(&server, "repserve_requests_in_flight") == STREAMS as f64
    })
    .await;
    drop(client);
    server.served().batcher().release();
    serves_on(&server).await;
}

/// As many connections as there may be, each with as many requests as it may have, which never end, and as much of their bodies as is taken.
async fn fill(address: SocketAddr) -> Vec<Frames> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        let mut client = Frames::open(address, &[]).await;
        let seen = client.settled().await.expect("a connection");
        let said = seen.iter().find(|frame| frame.kind == SETTINGS && frame.flags == 0);
        let said = |name| said.unwrap().setting(name).unwrap();
        let (streams, window) = (said(MAX_CONCURRENT_STREAMS), said(INITIAL_WINDOW_SIZE));
        let mut sent = Vec::new();
        for n in 0..streams {
            let mut block = post("/classify");
            block.extend([0x00, 1, b'a', 0x7f, 0xe9, 0x65]);
            block.extend([b'y'; 13_160]);
            sent.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &block));
            sent.extend(frame(DATA, 0, 2 * n + 1, &vec![0; (window as usize).min(16 << 10)]));
            sent.extend(frame(
                DATA,
                0,
                2 * n + 1,
                &vec![0; (window as usize - (16 << 10)).min(16 << 10)],
            ));
        }
        client.send(&sent).await;
        all.push(client);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_as_may_be_open_fit_into_512_mb() {
    let limit = 512 << 20;
    let group = Cgroup::new(limit);
    let process = match &group {
        Some(group) => Process::start_within(group, &["runtime.measure_ms_max=50"]).await,
        None => Process::start(&["runtime.measure_ms_max=50", "limits.bodies_bytes_max=89000000"]).await,
    };
    let before = process.resident_bytes();
    let clients = fill(process.address).await;
    let mut probe = Frames::open(process.address, &[]).await;
    probe
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/livez")))
        .await;
    probe.settled().await.expect("others are served");
    eprintln!("{before} bytes at rest, {} at the peak", process.peak_bytes());
    assert!(process.peak_bytes() < limit, "{} bytes", process.peak_bytes());
    assert_eq!(group.as_ref().map_or(0, Cgroup::killed), 0);
    drop(clients);
}
