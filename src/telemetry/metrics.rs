//! Every metric: name, help, labels, buckets. The names stand in `docs/metrics.md`; all times are in seconds.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// Half a millisecond to ten seconds, about 2.2 apart: a 1 ms model and an overloaded server both fall inside.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.004, 0.0075, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Stages are shorter than requests.
const STAGE_SECONDS: &[f64] = &[
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Images that share one run of a session.
const BATCH: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0];

/// A part of a request's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Encoded bytes to pixels.
    Decode,
    /// Pixels to tensor.
    Preprocess,
    /// Waiting, in all.
    Queue,
    /// The session's run.
    Inference,
    /// Probabilities and best classes.
    Postprocess,
}

impl Stage {
    /// All stages, in a request's order.
    pub const ALL: [Self; 5] = [
        Self::Decode,
        Self::Preprocess,
        Self::Queue,
        Self::Inference,
        Self::Postprocess,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Queue => "queue",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
        }
    }
}

/// Why a request got no prediction. Each refused request counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The queue was full.
    Overloaded,
    /// Its deadline passed.
    Deadline,
    /// Its client went away.
    Cancelled,
    /// An image could not be read, or there was none.
    InvalidImage,
    /// Too many bytes, pixels or images.
    TooLarge,
    /// The server is going down.
    Draining,
    /// The model is not loaded yet.
    NotReady,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Overloaded,
        Self::Deadline,
        Self::Cancelled,
        Self::InvalidImage,
        Self::TooLarge,
        Self::Draining,
        Self::NotReady,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::InvalidImage => "invalid_image",
            Self::TooLarge => "too_large",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
        }
    }
}

/// What `repserve_model_info` says of a served model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// `fp32`, `int8`.
    pub precision: String,
    /// SHA-256 of the file that was read, hexadecimal.
    pub source_sha256: String,
    /// SHA-256 of the deploy graph, hexadecimal.
    pub deploy_sha256: String,
}

/// All metrics of one server.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    request_duration: HistogramVec,
    stages: [Histogram; 5],
    batch_size: Histogram,
    queue_depth: IntGauge,
    queue_capacity: IntGauge,
    ready: IntGauge,
    load_failures: IntCounterVec,
    requests_in_flight: IntGauge,
    sessions: IntGaugeVec,
    rejected: [IntCounter; 7],
    images: IntCounter,
    model_load: GaugeVec,
    model_info: IntGaugeVec,
    blocks_fused: IntGauge,
    relative_error: Gauge,
    winograd_layers: IntGauge,
    winograd_error: Gauge,
    int8: [GaugeVec; 2],
}

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    /// Where two metrics share a name: a programming error that the tests catch.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let stage = add(
            r,
            HistogramVec::new(
                histogram(
                    "stage_duration_seconds",
                    "Time an image spends in a stage.",
                    STAGE_SECONDS,
                ),
                &["stage"],
            )?,
        )?;
        let rejected = add(
            r,
            IntCounterVec::new(opts("rejected_total", "Requests that got no prediction."), &["reason"])?,
        )?;
        let build = add(
            r,
            IntGaugeVec::new(
                opts("build_info", "Always 1; the labels say what runs."),
                &["version", "target"],
            )?,
        )?;
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), &target]).set(1);
        #[cfg(target_os = "linux")]
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            http_requests: add(
                r,
                IntCounterVec::new(
                    opts("http_requests_total", "HTTP requests. Code 499: the client went away."),
                    &["route", "method", "code"],
                )?,
            )?,
            request_duration: add(
                r,
                HistogramVec::new(
                    histogram("request_duration_seconds", "Time from head to answer.", SECONDS),
                    &["route"],
                )?,
            )?,
            stages: Stage::ALL.map(|s| stage.with_label_values(&[s.label()])),
            batch_size: add(
                r,
                Histogram::with_opts(histogram("batch_size", "Images that shared a session's run.", BATCH))?,
            )?,
            queue_capacity: add(r, IntGauge::with_opts(opts("queue_capacity", "Images that may wait."))?)?,
            ready: add(
                r,
                IntGauge::with_opts(opts(
                    "ready",
                    "1 where requests are taken: fused, verified, warm, not draining.",
                ))?,
            )?,
            load_failures: load_failures(r)?,
            queue_depth: add(r, IntGauge::with_opts(opts("queue_depth", "Images that wait."))?)?,
            requests_in_flight: add(
                r,
                IntGauge::with_opts(opts("requests_in_flight", "HTTP requests that are being answered."))?,
            )?,
            sessions: add(
                r,
                IntGaugeVec::new(opts("sessions", "ONNX Runtime sessions by what they do."), &["state"])?,
            )?,
            rejected: Reason::ALL.map(|reason| rejected.with_label_values(&[reason.label()])),
            images: add(
                r,
                IntCounter::with_opts(opts("images_total", "Images that were classified."))?,
            )?,
            model_load: add(
                r,
                GaugeVec::new(opts("model_load_seconds", "Time a phase of loading took."), &["phase"])?,
            )?,
            model_info: add(
                r,
                IntGaugeVec::new(
                    opts("model_info", "Always 1; the labels say what is served."),
                    &["model", "version", "precision", "source_sha256", "deploy_sha256"],
                )?,
            )?,
            blocks_fused: add(
                r,
                IntGauge::with_opts(opts(
                    "reparam_blocks_fused",
                    "Blocks of branches that became one convolution.",
                ))?,
            )?,
            relative_error: add(
                r,
                Gauge::with_opts(opts(
                    "reparam_max_relative_error",
                    "Largest difference between train-time and deploy outputs on probes, relative to the largest output.",
                ))?,
            )?,
            winograd_layers: add(
                r,
                IntGauge::with_opts(opts(
                    "winograd_layers",
                    "Convolutions that the kernels compute in place of ONNX Runtime.",
                ))?,
            )?,
            winograd_error: add(
                r,
                Gauge::with_opts(opts(
                    "winograd_max_relative_error",
                    "Largest difference between lowered and deploy outputs on probes, relative to the largest output.",
                ))?,
            )?,
            int8: int8(r)?,
            registry,
        })
    }

    /// A request arrived.
    pub fn request_began(&self) {
        self.requests_in_flight.inc();
    }

    /// A request was answered, or (code 499) its client went away.
    pub fn request_ended(&self, route: &str, method: &str, code: u16, took: Duration) {
        self.requests_in_flight.dec();
        self.http_requests
            .with_label_values(&[route, method, code_label(code)])
            .inc();
        self.request_duration
            .with_label_values(&[route])
            .observe(took.as_secs_f64());
    }

    /// Something came that is no HTTP request; it was answered `code` and its connection closed.
    pub fn request_unreadable(&self, code: u16) {
        self.http_requests
            .with_label_values(&["other", "other", code_label(code)])
            .inc();
    }

    /// A request got no prediction.
    pub fn rejected(&self, reason: Reason) {
        self.rejected[reason as usize].inc();
    }

    /// An image left a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].observe(took.as_secs_f64());
    }

    /// A session ran a batch.
    pub fn batch(&self, size: usize) {
        self.batch_size.observe(size as f64);
    }

    /// Images were classified.
    pub fn images(&self, count: usize) {
        self.images.inc_by(count as u64);
    }

    /// How many images wait, over all models.
    pub fn queue_depth(&self, images: usize) {
        self.queue_depth.set(images as i64);
    }

    /// How many images may wait, over all models.
    pub fn queue_capacity(&self, images: usize) {
        self.queue_capacity.set(images as i64);
    }

    /// Whether requests are taken.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// A model could not be served; `verification`: its fused graph is not the train-time graph's function.
    pub fn load_failed(&self, verification: bool) {
        let reason = LOAD_FAILURES[usize::from(!verification)];
        self.load_failures.with_label_values(&[reason]).inc();
    }

    /// How many sessions are in a state.
    pub fn sessions(&self, state: &str, count: usize) {
        self.sessions.with_label_values(&[state]).set(count as i64);
    }

    /// A phase of loading ended.
    pub fn model_load(&self, phase: &str, took: Duration) {
        self.model_load.with_label_values(&[phase]).set(took.as_secs_f64());
    }

    /// What is served now, in place of what was served before.
    pub fn models(&self, infos: &[ModelInfo]) {
        self.model_info.reset();
        for info in infos {
            self.model_info
                .with_label_values(&[
                    &info.model,
                    &info.version,
                    &info.precision,
                    &info.source_sha256,
                    &info.deploy_sha256,
                ])
                .set(1);
        }
    }

    /// How many convolutions were lowered to the kernels and how exact that is.
    pub fn winograd(&self, layers: usize, max_relative_error: f64) {
        self.winograd_layers.set(layers as i64);
        self.winograd_error.set(max_relative_error);
    }

    /// What the re-parameterizer did and how exact it was.
    pub fn reparam(&self, blocks_fused: usize, max_relative_error: f64) {
        self.blocks_fused.set(blocks_fused as i64);
        self.relative_error.set(max_relative_error);
    }

    /// How far a model's int8 graph is from its fp32 graph, on images that were kept back from calibration.
    pub fn int8(&self, model: &str, top1_agreement: f64, kl_divergence: f64) {
        for (gauge, value) in self.int8.iter().zip([top1_agreement, kl_divergence]) {
            gauge.with_label_values(&[model]).set(value);
        }
    }

    /// Prometheus' text format.
    ///
    /// # Errors
    /// Where a metric cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut out = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}

/// Why a model could not be served.
const LOAD_FAILURES: [&str; 2] = ["verification", "other"];

fn load_failures(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let failures = IntCounterVec::new(
        opts("model_load_failures_total", "Models that could not be served."),
        &["reason"],
    )?;
    for reason in LOAD_FAILURES {
        failures.with_label_values(&[reason]).reset();
    }
    add(registry, failures)
}

fn int8(registry: &Registry) -> Result<[GaugeVec; 2], prometheus::Error> {
    let gauge = |name, help| add(registry, GaugeVec::new(opts(name, help), &["model"])?);
    Ok([
        gauge(
            "int8_top1_agreement",
            "Share of kept-back images whose best class is the same in int8 and fp32.",
        )?,
        gauge(
            "int8_kl_divergence",
            "Mean divergence of the int8 from the fp32 probabilities on kept-back images, nats.",
        )?,
    ])
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("repserve")
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .namespace("repserve")
        .buckets(buckets.to_vec())
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Status codes as text, without allocating for those that are common.
fn code_label(code: u16) -> &'static str {
    const CODES: [(u16, &str); 16] = [
        (200, "200"),
        (304, "304"),
        (400, "400"),
        (401, "401"),
        (404, "404"),
        (405, "405"),
        (408, "408"),
        (413, "413"),
        (415, "415"),
        (422, "422"),
        (429, "429"),
        (431, "431"),
        (499, "499"),
        (500, "500"),
        (503, "503"),
        (504, "504"),
    ];
    CODES.iter().find(|(c, _)| *c == code).map_or("other", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_registers_and_encodes() {
        let metrics = Metrics::new().unwrap();
        metrics.request_began();
        metrics.request_ended("/classify", "POST", 200, Duration::from_millis(3));
        metrics.rejected(Reason::NotReady);
        metrics.models(&[ModelInfo::default()]);
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        for line in [
            "repserve_http_requests_total{code=\"200\",method=\"POST\",route=\"/classify\"} 1",
            "repserve_rejected_total{reason=\"not_ready\"} 1",
            "repserve_rejected_total{reason=\"overloaded\"} 0",
            "repserve_stage_duration_seconds_count{stage=\"postprocess\"} 0",
            "repserve_requests_in_flight 0",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn the_documentation_names_every_metric() {
        let documented = include_str!("../../docs/metrics.md");
        let metrics = Metrics::new().unwrap();
        metrics.request_ended("/classify", "POST", 200, Duration::ZERO);
        metrics.sessions("idle", 1);
        metrics.model_load("read", Duration::ZERO);
        metrics.models(&[ModelInfo::default()]);
        metrics.int8("m", 1.0, 0.0);
        for family in metrics.registry.gather() {
            let name = family.name().trim_start_matches("repserve_").to_owned();
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
        for label in Reason::ALL
            .map(Reason::label)
            .iter()
            .chain(&Stage::ALL.map(Stage::label))
        {
            assert!(documented.contains(&format!("`{label}`")), "{label}");
        }
    }

    #[test]
    fn labels_stand_at_their_index() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
        }
        for (i, stage) in Stage::ALL.iter().enumerate() {
            assert_eq!(*stage as usize, i);
        }
    }
}
