//! The metrics, read by a Prometheus parser: their names, and that every failure counts once.

use std::collections::BTreeMap;

use prometheus_parse::{Scrape, Value};
use repserve::http::Stop;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::images::png;
use crate::support::{Server, settings, until};

async fn scrape(server: &Server) -> Scrape {
    let response = server.get("/metrics").await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = response.text().await.unwrap();
    Scrape::parse(text.lines().map(|l| Ok(l.to_owned()))).unwrap()
}

/// Counters by name and labels, as a scrape has them.
type Counters = BTreeMap<String, f64>;

/// The counters of requests and images that are not 0. They are read from the server's own registry, as a scrape would count too,
/// and line by line, as the parser takes no `}` in a label.
fn counters(server: &Server) -> Counters {
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let names = ["images_total", "http_requests_total", "rejected_total"];
    let line = |line: &str| {
        let (series, count) = line.strip_prefix("repserve_")?.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        Some((series.to_owned(), count.parse().ok()?)).filter(|(_, count)| names.contains(&name) && *count > 0.0)
    };
    text.lines().filter_map(line).collect()
}

/// What a request should count: its route, method and code, its images, and why it was refused.
struct Counted {
    request: RequestBuilder,
    route: &'static str,
    method: &'static str,
    code: u16,
    images: f64,
    rejected: Option<&'static str>,
}

impl Counted {
    fn new(request: RequestBuilder, method: &'static str, route: &'static str, code: u16) -> Self {
        Self {
            request,
            route,
            method,
            code,
            images: 0.0,
            rejected: None,
        }
    }

    fn images(self, images: f64) -> Self {
        Self { images, ..self }
    }

    fn rejected(self, reason: &'static str) -> Self {
        Self {
            rejected: Some(reason),
            ..self
        }
    }

    /// Sends it; the counters must move by exactly what it should count.
    async fn check(self, server: &Server) {
        let mut expected = counters(server);
        let mut add = |name: String, count: f64| {
            if count > 0.0 {
                *expected.entry(name).or_default() += count;
            }
        };
        let Self {
            request,
            route,
            method,
            code,
            ..
        } = self;
        add(
            format!("http_requests_total{{code=\"{code}\",method=\"{method}\",route=\"{route}\"}}"),
            1.0,
        );
        add("images_total".to_owned(), self.images);
        if let Some(reason) = self.rejected {
            add(format!("rejected_total{{reason=\"{reason}\"}}"), 1.0);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), code, "{method} {route}");
        response.bytes().await.unwrap();
        assert_eq!(counters(server), expected, "{method} {route} {code}");
    }
}

/// Every route that the API's description has, and every one that predicts with one image, with several and with none.
fn every_route(server: &Server) -> Vec<Counted> {
    const INFER: &str = "/v2/models/{model}/infer";
    const VERSION_INFER: &str = "/v2/models/{model}/versions/{version}/infer";
    const LOAD: &str = "/v2/repository/models/{model}/load";
    const UNLOAD: &str = "/v2/repository/models/{model}/unload";
    let get = |route: &'static str| {
        let path = route.replace("{model}", "repvgg-cifar10").replace("{version}", "1");
        Counted::new(server.client.get(server.url(&path)), "GET", route, 200)
    };
    let post = |route: &'static str, body: Vec<u8>, code: u16| {
        let path = route.replace("{model}", "repvgg-cifar10").replace("{version}", "1");
        Counted::new(server.post(&path, body), "POST", route, code)
    };
    let tensors = |images: usize| {
        let data = vec![0.5; images * 3 * 32 * 32];
        let input = json!({"name": "input", "shape": [images, 3, 32, 32], "datatype": "FP32", "data": data});
        json!({"inputs": [input]}).to_string().into_bytes()
    };
    let part = |seed: u32| Part::bytes(png(seed)).file_name("image.png");
    let form = Form::new().part("a", part(1)).part("b", part(2)).part("c", part(3));
    let form = server.client.post(server.url("/classify")).multipart(form);
    let mut requests: Vec<Counted> = [
        "/",
        "/docs",
        "/openapi.json",
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}",
        "/v2/models/{model}/ready",
        "/v2/models/stats",
        "/v2/models/{model}/stats",
        "/v2/models/{model}/config",
        "/v2/models/{model}/versions/{version}",
        "/v2/models/{model}/versions/{version}/stats",
        "/v2/models/{model}/versions/{version}/config",
        "/v2/models/{model}/versions/{version}/ready",
    ]
    .map(get)
    .into();
    requests.extend([
        post("/v2/repository/index", Vec::new(), 200),
        post(LOAD, Vec::new(), 403),
        post(UNLOAD, Vec::new(), 403),
        post("/classify", png(1), 200).images(1.0),
        Counted::new(form, "POST", "/classify", 200).images(3.0),
        post("/classify", Vec::new(), 400).rejected("invalid_image"),
        post(INFER, tensors(1), 200).images(1.0),
        post(INFER, tensors(3), 200).images(3.0),
        post(INFER, b"{}".to_vec(), 400).rejected("invalid_image"),
        post(VERSION_INFER, tensors(2), 200).images(2.0),
        post(VERSION_INFER, tensors(0), 400).rejected("invalid_image"),
        Counted::new(server.client.get(server.url("/nothing")), "GET", "other", 404),
        Counted::new(
            server.client.request(Method::PUT, server.url("/livez")),
            "PUT",
            "/livez",
            405,
        ),
    ]);
    requests
}

fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = scrape.samples.iter().filter(|s| s.metric == name);
    let found = found.filter(|s| labels.iter().all(|(k, v)| s.labels.get(k) == Some(v)));
    found
        .map(|s| match &s.value {
            Value::Counter(v) | Value::Gauge(v) | Value::Untyped(v) => *v,
            Value::Histogram(buckets) => buckets.last().map_or(0.0, |b| b.count),
            Value::Summary(_) => panic!("no summaries here"),
        })
        .sum()
}

fn rejected(scrape: &Scrape) -> BTreeMap<String, f64> {
    let samples = scrape.samples.iter().filter(|s| s.metric == "repserve_rejected_total");
    samples
        .map(|s| {
            let Value::Counter(count) = s.value else {
                panic!("rejected_total is a counter")
            };
            (s.labels.get("reason").unwrap().to_owned(), count)
        })
        .filter(|(_, count)| *count > 0.0)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_there_with_its_help() {
    let server = Server::ready(settings()).await;
    server.classify(png(1)).await;
    let scrape = scrape(&server).await;
    let names = [
        "http_requests_total",
        "request_duration_seconds",
        "stage_duration_seconds",
        "batch_size",
        "queue_depth",
        "requests_in_flight",
        "bodies_bytes",
        "sessions",
        "rejected_total",
        "images_total",
        "model_load_seconds",
        "model_info",
        "reparam_blocks_fused",
        "reparam_max_relative_error",
        "winograd_layers",
        "winograd_max_relative_error",
        "build_info",
    ];
    for name in names {
        let name = format!("repserve_{name}");
        assert!(scrape.samples.iter().any(|s| s.metric == name), "no {name}");
        assert!(scrape.docs.contains_key(&name), "no help for {name}");
    }
    for name in [
        "cpu_seconds_total",
        "resident_memory_bytes",
        "open_fds",
        "start_time_seconds",
    ] {
        assert!(
            scrape.samples.iter().any(|s| s.metric == format!("process_{name}")),
            "no {name}"
        );
    }
    for stage in ["decode", "preprocess", "queue", "inference", "postprocess"] {
        let count = value(&scrape, "repserve_stage_duration_seconds", &[("stage", stage)]);
        assert_eq!(count, 1.0, "{stage}");
    }
    assert_eq!(value(&scrape, "repserve_images_total", &[]), 1.0);
    assert_eq!(value(&scrape, "repserve_batch_size", &[]), 1.0);
    let of_model = [("model", "repvgg-cifar10"), ("version", "1")];
    assert!(value(&scrape, "repserve_reparam_blocks_fused", &of_model) >= 9.0);
    let error = value(&scrape, "repserve_reparam_max_relative_error", &of_model);
    assert!(error > 0.0 && error < 1e-5, "{error}");
    let info = scrape
        .samples
        .iter()
        .find(|s| s.metric == "repserve_model_info")
        .unwrap();
    assert_eq!(info.labels.get("model"), Some("repvgg-cifar10"));
    assert_eq!(info.labels.get("precision"), Some("fp32"));
    assert_eq!(info.labels.get("source_sha256").unwrap().len(), 64);
    assert_eq!(info.labels.get("deploy_sha256").unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_counts_exactly_what_was_asked() {
    let server = Server::ready(settings()).await;
    let requests = every_route(&server);
    let description: serde_json::Value = server.get("/openapi.json").await.json().await.unwrap();
    for path in description["paths"].as_object().unwrap().keys() {
        assert!(requests.iter().any(|r| r.route == path), "{path} is not checked");
    }
    for request in requests {
        request.check(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_counts_once() {
    let mut settings = settings();
    settings.batch.queue_capacity = 2;
    settings.limits.image_bytes_max = 20_000;
    let server = Server::ready(settings).await;
    let status = async |path: &str, body: Vec<u8>| server.post(path, body).send().await.unwrap().status().as_u16();

    assert_eq!(status("/classify", vec![0; 20_001]).await, 413);
    assert_eq!(status("/classify", Vec::new()).await, 400);
    assert_eq!(status("/classify?top_k=x", png(1)).await, 400);
    assert_eq!(status("/classify", b"no image".to_vec()).await, 415);
    assert_eq!(status("/classify", png(1)[..100].to_vec()).await, 422);
    assert_eq!(server.get("/nowhere").await.status(), 404);
    assert_eq!(server.get("/classify").await.status(), 405);
    let served = server.served();
    served.batcher().hold();
    assert_eq!(status("/classify?timeout_ms=5", png(1)).await, 504);
    let waiting: Vec<_> = (0..2)
        .map(|i| tokio::spawn(server.post("/classify", png(i)).send()))
        .collect();
    until("both wait", || served.snapshot().queue_depth == 2).await;
    assert_eq!(status("/classify", png(1)).await, 429);
    waiting[0].abort();
    until("one has gone", || served.snapshot().queue_depth == 1).await;
    served.batcher().release();
    until("nothing is in flight", || served.snapshot().in_flight == 0).await;

    // Requests count when their response is made, which the scheduler's end does not wait for.
    let mut ended = scrape(&server).await;
    for _ in 0..1000 {
        if value(&ended, "repserve_requests_in_flight", &[]) == 1.0 {
            break;
        }
        ended = scrape(&server).await;
    }
    let scrape = ended;
    let expected = [
        ("cancelled", 1.0),
        ("deadline", 1.0),
        ("invalid_image", 4.0),
        ("overloaded", 1.0),
        ("too_large", 1.0),
    ];
    assert_eq!(rejected(&scrape), expected.map(|(k, v)| (k.to_owned(), v)).into());
    let codes = [
        ("200", 1.0),
        ("400", 2.0),
        ("405", 1.0),
        ("413", 1.0),
        ("415", 1.0),
        ("422", 1.0),
        ("429", 1.0),
        ("499", 1.0),
        ("504", 1.0),
    ];
    for (code, count) in codes {
        let labels = [("route", "/classify"), ("code", code)];
        assert_eq!(value(&scrape, "repserve_http_requests_total", &labels), count, "{code}");
    }
    let labels = [("route", "other"), ("code", "404")];
    assert_eq!(value(&scrape, "repserve_http_requests_total", &labels), 1.0);
    assert_eq!(value(&scrape, "repserve_images_total", &[]), 1.0);
    assert_eq!(value(&scrape, "repserve_queue_depth", &[]), 0.0);
    assert_eq!(
        value(&scrape, "repserve_requests_in_flight", &[]),
        1.0,
        "this scrape itself"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_loads_and_while_it_drains() {
    let server = Server::loading(settings()).await;
    let refused = server.post("/classify", png(1)).send().await.unwrap();
    let mut health = server.shared.health.watch();
    if refused.status() == 503 {
        assert_eq!(rejected(&scrape(&server).await), [("not_ready".to_owned(), 1.0)].into());
    }
    health
        .wait_for(|s| *s == repserve::http::HealthState::Ready)
        .await
        .unwrap();
    let metrics = server.shared.metrics.clone();
    let served = server.served();
    served.abort();
    assert_eq!(server.post("/classify", png(1)).send().await.unwrap().status(), 503);
    server.say(Stop::Drain);
    server.ended().await.unwrap();
    let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
    assert!(
        text.contains("repserve_rejected_total{reason=\"draining\"} 1"),
        "{text}"
    );
}
