//! All metrics of a server, and those of requests and the scheduler. Their names stand in `docs/metrics.md`; all times are in seconds.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use super::admission::AdmissionMetrics;
use super::connections::ConnectionMetrics;
use super::labels::{Reason, Stage, code_label, outcome};
use super::log::lines_dropped;
use super::maker::Maker;
use super::model_metrics::ModelMetrics;

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

/// All metrics of one server.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What is admitted, and what is done in time.
    pub admission: AdmissionMetrics,
    /// What loading a model sets.
    pub model: ModelMetrics,
    /// Connections of all listeners.
    pub connections: ConnectionMetrics,
    registry: Registry,
    http_requests: IntCounterVec,
    request_duration: HistogramVec,
    stages: [Histogram; Stage::ALL.len()],
    batch_size: Histogram,
    queue_depth: IntGauge,
    queue_capacity: IntGauge,
    ready: IntGauge,
    requests_in_flight: IntGauge,
    bodies_bytes: IntGauge,
    sessions: IntGaugeVec,
    rejected: [IntCounter; Reason::ALL.len()],
    images: IntCounter,
}

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    /// Where two metrics share a name: a programming error that the tests catch.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        build_info(&make)?;
        make.mirror(
            "log_lines_dropped_total",
            "Lines of the log that were dropped because it was not read fast enough.",
            lines_dropped,
        )?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            http_requests: make.counters(
                "http_requests_total",
                &["route", "method", "code"],
                "HTTP requests. Code 499: the client went away.",
            )?,
            request_duration: make.histograms(
                "request_duration_seconds",
                &["route", "outcome"],
                SECONDS,
                "Time from a request's head to its response. Outcome `failed`: a status of 400 or more.",
            )?,
            stages: stages(&make)?,
            batch_size: make.histogram("batch_size", BATCH, "Images that shared a session's run.")?,
            queue_depth: make.number("queue_depth", "Images that wait.")?,
            queue_capacity: make.number("queue_capacity", "Images that may wait.")?,
            ready: make.number(
                "ready",
                "1 where requests are taken: fused, verified, warm, not draining.",
            )?,
            requests_in_flight: make.number("requests_in_flight", "HTTP requests that are being handled.")?,
            bodies_bytes: make.number("bodies_bytes", "Memory charged for request bodies, in bytes.")?,
            sessions: make.numbers("sessions", &["state"], "ONNX Runtime sessions by what they do.")?,
            rejected: rejected(&make)?,
            images: make.counter("images_total", "Images that were classified.")?,
            admission: AdmissionMetrics::new(&make)?,
            model: ModelMetrics::new(&make)?,
            connections: ConnectionMetrics::new(&make)?,
            registry,
        })
    }

    /// A request arrived.
    pub fn request_began(&self) {
        self.requests_in_flight.inc();
    }

    /// A request got its response, or (code 499) its client went away.
    pub fn request_ended(&self, route: &str, method: &str, code: u16, took: Duration) {
        self.requests_in_flight.dec();
        self.http_requests
            .with_label_values(&[route, method, code_label(code)])
            .inc();
        self.request_duration
            .with_label_values(&[route, outcome(code)])
            .observe(took.as_secs_f64());
    }

    /// Something came that is no HTTP request; the response had the status `code` and the connection was closed.
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

    /// The memory that is charged for bodies went from `before` to `after` bytes for one request.
    pub fn body_charged(&self, before: usize, after: usize) {
        self.bodies_bytes.add(after as i64 - before as i64);
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

    /// How many sessions are in a state.
    pub fn sessions(&self, state: &str, count: usize) {
        self.sessions.with_label_values(&[state]).set(count as i64);
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

fn build_info(make: &Maker<'_>) -> Result<(), prometheus::Error> {
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let info = make.numbers(
        "build_info",
        &["version", "target"],
        "Always 1; the labels say what runs.",
    )?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), &target]).set(1);
    Ok(())
}

fn stages(make: &Maker<'_>) -> Result<[Histogram; Stage::ALL.len()], prometheus::Error> {
    let name = "stage_duration_seconds";
    let all = make.histograms(name, &["stage"], STAGE_SECONDS, "Time an image spends in a stage.")?;
    Ok(Stage::ALL.map(|stage| all.with_label_values(&[stage.label()])))
}

fn rejected(make: &Maker<'_>) -> Result<[IntCounter; Reason::ALL.len()], prometheus::Error> {
    let all = make.counters("rejected_total", &["reason"], "Requests that got no prediction.")?;
    Ok(Reason::ALL.map(|reason| all.with_label_values(&[reason.label()])))
}

#[cfg(test)]
mod tests {
    use super::super::connections::{Closed, ConnectionActivity};
    use super::super::model_metrics::ModelInfo;
    use super::*;

    #[test]
    fn everything_registers_and_encodes() {
        let metrics = Metrics::new().unwrap();
        metrics.request_began();
        metrics.request_ended("/classify", "POST", 200, Duration::from_millis(3));
        metrics.rejected(Reason::NotReady);
        metrics.model.served(&[ModelInfo::default()]);
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
        metrics.model.phase(["m", "1"], "read", Duration::ZERO);
        metrics.model.served(&[ModelInfo::default()]);
        metrics.model.reparam(["m", "1"], 1, 0.0);
        metrics.model.winograd(["m", "1"], 1, 0.0);
        metrics.model.int8(["m", "1"], 1.0, 0.0);
        for family in metrics.registry.gather() {
            let name = family.name().trim_start_matches("repserve_").to_owned();
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
        for label in Reason::ALL
            .map(Reason::label)
            .iter()
            .chain(&Stage::ALL.map(Stage::label))
            .chain(&Closed::ALL.map(Closed::label))
            .chain(&ConnectionActivity::ALL.map(ConnectionActivity::label))
        {
            assert!(documented.contains(&format!("`{label}`")), "{label}");
        }
    }
}
