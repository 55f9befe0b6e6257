//! The real binary under a seeded mix of good, bad, huge, slow, half-sent and abandoned requests: every response is checked, memory
//! stays bounded, and nothing is left over at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream;
use image::ImageFormat;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Client, Response};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::client;
use crate::support::images::{encode, pattern, png};
use crate::support::process::Process;

/// Clients at one time; the queue is shorter, so that some are turned away.
const CLIENTS: usize = 32;
const REQUESTS: usize = 1500;
/// The mix that is sent twice: what memory the first time leaves, the second must not add to by more than this.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Good,
    Form,
    Slow,
    Hurried,
    NoImage,
    Cut,
    ManyBytes,
    ManyPixels,
    Metrics,
    HalfSent,
    Abandoned,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Good,
        Self::Form,
        Self::Slow,
        Self::Hurried,
        Self::NoImage,
        Self::Cut,
        Self::ManyBytes,
        Self::ManyPixels,
        Self::Metrics,
        Self::HalfSent,
        Self::Abandoned,
    ];

    /// Statuses that are right for it while the queue may be full.
    fn statuses(self) -> &'static [u16] {
        match self {
            Self::Good | Self::Form | Self::Slow => &[200, 429],
            Self::Hurried => &[200, 429, 504],
            Self::NoImage => &[415, 429],
            Self::Cut => &[422, 429],
            Self::ManyBytes => &[413, 429],
            Self::ManyPixels => &[413, 429],
            Self::Metrics => &[200],
            Self::HalfSent | Self::Abandoned => &[],
        }
    }
}

/// What is sent, and the right response to it.
struct Mix {
    address: SocketAddr,
    client: Client,
    good: Vec<(Bytes, String)>,
    cut: Bytes,
    many_bytes: Bytes,
    many_pixels: Bytes,
}

impl Mix {
    async fn new(address: SocketAddr) -> Self {
        let client = client();
        let pictures = [
            png(1),
            png(2),
            encode(pattern(640, 480, 3), ImageFormat::Jpeg),
            encode(pattern(120, 200, 4), ImageFormat::WebP),
            encode(pattern(64, 48, 5), ImageFormat::Bmp),
        ];
        let mut mix = Self {
            address,
            client,
            good: Vec::new(),
            cut: png(6)[..200].to_vec().into(),
            many_bytes: vec![0; 400_000].into(),
            many_pixels: header_of(60_000, 60_000),
        };
        for picture in pictures.map(Bytes::from) {
            let response = mix.post("", picture.clone()).await;
            assert_eq!(response.status(), 200);
            mix.good.push((picture, labels(response).await.remove(0)));
        }
        mix
    }

    fn url(&self, query: &str) -> String {
        format!("http://{}/classify{query}", self.address)
    }

    async fn post(&self, query: &str, body: impl Into<Body>) -> Response {
        let request = self.client.post(self.url(query)).header("content-type", "image/*");
        request.body(body).send().await.unwrap()
    }

    /// Sends a request of `kind` and checks the response; returns its status, 0 where the client does not wait for one.
    async fn play(&self, kind: Kind, mut rng: Rng) -> u16 {
        let pick = |rng: &mut Rng| &self.good[rng.usize(..self.good.len())];
        let (image, label) = pick(&mut rng);
        let (mut expected, mut form) = (vec![label.clone()], Form::new());
        let response = match kind {
            Kind::Good => self.post("", image.clone()).await,
            Kind::Form => {
                expected.clear();
                for _ in 0..rng.usize(1..4) {
                    let (image, label) = pick(&mut rng);
                    form = form.part("image", Part::stream(image.clone()));
                    expected.push(label.clone());
                }
                self.client.post(self.url("")).multipart(form).send().await.unwrap()
            }
            Kind::Slow => self.post("", in_pieces(image, rng.usize(100..2000))).await,
            Kind::Hurried => {
                self.post(&format!("?timeout_ms={}", rng.u8(1..20)), image.clone())
                    .await
            }
            Kind::NoImage => self.post("", vec![rng.u8(..); 500]).await,
            Kind::Cut => self.post("", self.cut.clone()).await,
            Kind::ManyBytes => self.post("", self.many_bytes.clone()).await,
            Kind::ManyPixels => self.post("", self.many_pixels.clone()).await,
            Kind::Metrics => {
                let url = format!("http://{}/metrics", self.address);
                self.client.get(url).send().await.unwrap()
            }
            Kind::HalfSent => return self.hang_up(image, rng.usize(..image.len())).await,
            Kind::Abandoned => return self.hang_up(image, image.len()).await,
        };
        let status = response.status().as_u16();
        assert!(kind.statuses().contains(&status), "{kind:?}: {status}");
        check(response, kind, &expected).await;
        status
    }

    /// Sends a request's head and `sent` bytes of its body, and closes the connection.
    async fn hang_up(&self, image: &[u8], sent: usize) -> u16 {
        let head = format!(
            "POST /classify HTTP/1.1\r\nhost: test\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n",
            image.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // Turned away already, the server may have closed its end.
        let _ = stream.write_all(&image[..sent]).await;
        0
    }
}

async fn check(response: Response, kind: Kind, expected: &[String]) {
    match response.status().as_u16() {
        200 if kind == Kind::Metrics => assert!(response.text().await.unwrap().contains("repserve_queue_depth ")),
        200 => assert_eq!(labels(response).await, expected, "{kind:?}"),
        status => {
            if status == 429 {
                let after = response.headers()["retry-after"].to_str().unwrap();
                assert!(after.parse::<u64>().unwrap() >= 1);
            }
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["status"], status);
            assert!(
                problem["code"].is_string() && problem["detail"].is_string(),
                "{problem}"
            );
        }
    }
}

/// The best label of each image.
async fn labels(response: Response) -> Vec<String> {
    let body: Value = response.json().await.unwrap();
    let best = |prediction: &Value| prediction["classes"][0]["label"].as_str().unwrap().to_owned();
    body["predictions"].as_array().unwrap().iter().map(best).collect()
}

fn in_pieces(image: &Bytes, size: usize) -> Body {
    let pieces: Vec<_> = image
        .chunks(size)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect();
    Body::wrap_stream(stream::iter(pieces))
}

/// A PNG that announces so many pixels and has none.
fn header_of(width: u32, height: u32) -> Bytes {
    let mut file = png(1);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&sum.to_be_bytes());
    file.into()
}

/// The checksum of a PNG's chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes
        .iter()
        .fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// Sends the whole mix, [`CLIENTS`] requests at a time; returns how often each kind got each status.
async fn send(mix: &Arc<Mix>, seed: u64) -> BTreeMap<(Kind, u16), usize> {
    let mut rng = Rng::with_seed(seed);
    let kinds: Arc<Vec<_>> = Arc::new(
        (0..REQUESTS)
            .map(|_| (Kind::ALL[rng.usize(..Kind::ALL.len())], rng.fork()))
            .collect(),
    );
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mix, kinds, next) = (mix.clone(), kinds.clone(), next.clone());
        clients.spawn(async move {
            let mut statuses = Vec::new();
            while let Some((kind, rng)) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                statuses.push((*kind, mix.play(*kind, rng.clone()).await));
            }
            statuses
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(statuses) = clients.join_next().await {
        for outcome in statuses.unwrap() {
            *counts.entry(outcome).or_default() += 1;
        }
    }
    counts
}

/// Everything that was begun has ended.
async fn quiet(server: &Process) {
    let gauges = ["repserve_queue_depth", "repserve_requests_in_flight"];
    loop {
        let mut left = 0.0;
        for gauge in gauges {
            left += server.metric(gauge).await;
        }
        // The request that asks is one itself.
        if left <= 1.0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_of_everything_is_answered_and_leaves_nothing() {
    let sets = [
        "batch.queue_capacity=12",
        "limits.image_bytes_max=300000",
        "server.drain_delay_ms=0",
        "runtime.measure_ms_max=50",
    ];
    let mut server = Process::start(&sets).await;
    let mix = Arc::new(Mix::new(server.address).await);
    send(&mix, 1).await;
    quiet(&server).await;
    let before = server.resident_bytes();
    let counts = send(&mix, 2).await;
    quiet(&server).await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more after the second round");

    assert_eq!(counts.values().sum::<usize>(), REQUESTS);
    for kind in Kind::ALL {
        assert!(counts.keys().any(|(k, _)| *k == kind), "{kind:?} was not sent");
    }
    for (kind, statuses) in [
        (Kind::Good, 200),
        (Kind::Form, 200),
        (Kind::NoImage, 415),
        (Kind::Cut, 422),
    ] {
        assert!(
            counts.contains_key(&(kind, statuses)),
            "{kind:?} never got {statuses}: {counts:?}"
        );
    }
    assert_eq!(
        server
            .metric("repserve_http_requests_total{code=\"500\",method=\"POST\",route=\"/classify\"}")
            .await,
        0.0
    );
    server.terminate();
    assert!(server.ended_well());
}
