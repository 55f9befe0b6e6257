//! The metrics that loading a model sets: how long it took, what is served, how exact it is.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::maker::Maker;

/// The labels of what is known of a version of a model.
const MODEL: &str = "model";
const VERSION: &str = "version";
/// Why a model could not be served.
const LOAD_FAILURES: [&str; 2] = ["verification", "other"];

/// What became of loading, exchanging or unloading a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// It is served for the first time.
    Loaded,
    /// It took the place of what was served.
    Swapped,
    /// It was unloaded on request.
    Unloaded,
    /// It was unloaded while it was loaded.
    Cancelled,
    /// It was refused: the fused graph is not the train-time graph's function.
    Verification,
    /// It was refused: its int8 graph is too far from its fp32 graph.
    Gate,
    /// It was refused: it does not give its golden answers.
    Golden,
    /// It was refused for another reason.
    Other,
}

impl Swap {
    const ALL: [Self; 8] = [
        Self::Loaded,
        Self::Swapped,
        Self::Unloaded,
        Self::Cancelled,
        Self::Verification,
        Self::Gate,
        Self::Golden,
        Self::Other,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Swapped => "swapped",
            Self::Unloaded => "unloaded",
            Self::Cancelled => "cancelled",
            Self::Verification => "verification",
            Self::Gate => "int8_gate",
            Self::Golden => "golden",
            Self::Other => "other",
        }
    }
}

/// The labels of `repserve_model_info`, of a served model.
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

/// The counts of a version of a model.
#[derive(Debug, Clone)]
pub struct ModelCounts {
    images: IntCounter,
}

impl ModelCounts {
    /// Images were classified.
    pub fn images(&self, count: usize) {
        self.images.inc_by(count as u64);
    }
}

/// What is known of models since they were loaded.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    load: GaugeVec,
    load_failures: IntCounterVec,
    swaps: IntCounterVec,
    shadow_requests: IntCounterVec,
    images: IntCounterVec,
    queue_depth: IntGaugeVec,
    backlog: GaugeVec,
    info: IntGaugeVec,
    blocks_fused: IntGaugeVec,
    relative_error: GaugeVec,
    winograd_layers: IntGaugeVec,
    winograd_error: GaugeVec,
    int8_agreement: GaugeVec,
    int8_divergence: GaugeVec,
}

/// With each of its series from the start.
fn load_failures(make: &Maker<'_>) -> Result<IntCounterVec, prometheus::Error> {
    let counters = make.counters(
        "model_load_failures_total",
        &["reason"],
        "Models that could not be served.",
    )?;
    for reason in LOAD_FAILURES {
        counters.with_label_values(&[reason]).reset();
    }
    Ok(counters)
}

/// Ends the series that have these labels, whatever others they have.
fn forget_series<T: MetricVecBuilder>(series: &MetricVec<T>, wanted: &[(&str, &str)]) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label().iter();
            let labels: HashMap<&str, &str> = labels.map(|label| (label.name(), label.value())).collect();
            if wanted.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                // One that somebody else has just removed is not there.
                let _ = series.remove(&labels);
            }
        }
    }
}

impl ModelMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            swaps: make.counters(
                "model_swaps_total",
                &[MODEL, "outcome"],
                "Models that were loaded, exchanged, unloaded or refused, by how that ended.",
            )?,
            shadow_requests: make.counters(
                "model_shadow_requests_total",
                &[MODEL, "outcome"],
                "Live requests that a version computed as well before it took over: whether it found the same best classes.",
            )?,
            images: make.counters(
                "model_images_total",
                &[MODEL, VERSION],
                "Images that a version of a model classified.",
            )?,
            queue_depth: make.numbers(
                "model_queue_depth",
                &[MODEL, VERSION],
                "Images that wait for a version of a model.",
            )?,
            backlog: make.gauges(
                "model_backlog_seconds",
                &[MODEL, VERSION],
                "Time that all workers together would take for what was admitted to a version of a model.",
            )?,
            load: make.gauges(
                "model_load_seconds",
                &[MODEL, VERSION, "phase"],
                "Time a phase of loading took, of what is served.",
            )?,
            load_failures: load_failures(make)?,
            info: make.numbers(
                "model_info",
                &["model", "version", "precision", "source_sha256", "deploy_sha256"],
                "Always 1; the labels say what is served.",
            )?,
            blocks_fused: make.numbers(
                "reparam_blocks_fused",
                &[MODEL, VERSION],
                "Blocks of branches that became one convolution.",
            )?,
            relative_error: make.gauges(
                "reparam_max_relative_error",
                &[MODEL, VERSION],
                "Largest difference between train-time and deploy outputs on probes, relative to the largest output.",
            )?,
            winograd_layers: make.numbers(
                "winograd_layers",
                &[MODEL, VERSION],
                "Convolutions that the kernels compute in place of ONNX Runtime.",
            )?,
            winograd_error: make.gauges(
                "winograd_max_relative_error",
                &[MODEL, VERSION],
                "Largest difference between lowered and deploy outputs on probes, relative to the largest output.",
            )?,
            int8_agreement: make.gauges(
                "int8_top1_agreement",
                &[MODEL, VERSION],
                "Share of held-out images whose best class is the same in int8 and fp32.",
            )?,
            int8_divergence: make.gauges(
                "int8_kl_divergence",
                &[MODEL, VERSION],
                "Mean divergence of the int8 from the fp32 probabilities on held-out images, nats.",
            )?,
        })
    }

    /// What a phase of loading a version of a model took.
    pub fn phase(&self, [model, version]: [&str; 2], phase: &str, took: Duration) {
        let labels = &[model, version, phase];
        self.load.with_label_values(labels).set(took.as_secs_f64());
    }

    /// A model could not be served; `verification`: its fused graph is not the train-time graph's function.
    pub fn load_failed(&self, verification: bool) {
        let reason = LOAD_FAILURES[usize::from(!verification)];
        self.load_failures.with_label_values(&[reason]).inc();
    }

    /// There is a model of this name: it has all of its series from the start. Must not be called with names that only requests bring.
    pub fn known(&self, model: &str) {
        for swap in Swap::ALL {
            self.swaps.with_label_values(&[model, swap.label()]);
        }
    }

    /// There is no model of this name any more: its series end.
    pub fn unknown(&self, model: &str) {
        forget_series(&self.swaps, &[(MODEL, model)]);
        forget_series(&self.shadow_requests, &[(MODEL, model)]);
    }

    /// Loading, exchanging or unloading a model ended so. Without a name it was the folder of all models.
    pub fn swapped(&self, model: Option<&str>, swap: Swap) {
        let labels = &[model.unwrap_or_default(), swap.label()];
        self.swaps.with_label_values(labels).inc();
    }

    /// A version of a model that does not serve yet computed a live request as well; `agreed`: whether it found the same best classes,
    /// `None` where it failed.
    pub fn shadowed(&self, model: &str, agreed: Option<bool>) {
        let outcome = match agreed {
            Some(true) => "agreed",
            Some(false) => "disagreed",
            None => "failed",
        };
        self.shadow_requests.with_label_values(&[model, outcome]).inc();
    }

    /// The counts of a version of a model.
    pub fn counts(&self, model: &str, version: &str) -> ModelCounts {
        ModelCounts {
            images: self.images.with_label_values(&[model, version]),
        }
    }

    /// What waits for a version of a model, and how long all workers together would take for what it has admitted.
    pub fn waiting(&self, model: &str, version: &str, images: usize, backlog: Duration) {
        let labels = &[model, version];
        self.queue_depth.with_label_values(labels).set(images as i64);
        self.backlog.with_label_values(labels).set(backlog.as_secs_f64());
    }

    /// A version of a model is not served any more: its series end, so that their number stays that of what is served.
    pub fn forget(&self, model: &str, version: &str) {
        let labels = &[(MODEL, model), (VERSION, version)];
        forget_series(&self.images, labels);
        for numbers in [&self.queue_depth, &self.blocks_fused, &self.winograd_layers] {
            forget_series(numbers, labels);
        }
        for gauges in [
            &self.load,
            &self.backlog,
            &self.relative_error,
            &self.winograd_error,
            &self.int8_agreement,
            &self.int8_divergence,
        ] {
            forget_series(gauges, labels);
        }
    }

    /// What is served now, in place of what was served before.
    pub fn served(&self, infos: &[ModelInfo]) {
        self.info.reset();
        for info in infos {
            self.info
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

    /// What the re-parameterizer did to a version of a model, and how exact it was.
    pub fn reparam(&self, labels: [&str; 2], blocks_fused: usize, max_relative_error: f64) {
        self.blocks_fused.with_label_values(&labels).set(blocks_fused as i64);
        self.relative_error.with_label_values(&labels).set(max_relative_error);
    }

    /// How many convolutions of a version of a model were lowered to the kernels, and how exact that is.
    pub fn winograd(&self, labels: [&str; 2], layers: usize, max_relative_error: f64) {
        self.winograd_layers.with_label_values(&labels).set(layers as i64);
        self.winograd_error.with_label_values(&labels).set(max_relative_error);
    }

    /// How far the int8 graph of a version of a model is from its fp32 graph, on images held out from calibration.
    pub fn int8(&self, labels: [&str; 2], top1_agreement: f64, kl_divergence: f64) {
        self.int8_agreement.with_label_values(&labels).set(top1_agreement);
        self.int8_divergence.with_label_values(&labels).set(kl_divergence);
    }
}
