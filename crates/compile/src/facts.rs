//! What is known of a compiled model: the one value that the log, `/v2/models/{m}` and tests read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::phase::Phase;
use super::precision::AutoFacts;
use repserve_preprocess::decoder;
use repserve_quantize::{Agreement, Judgement, Precision};
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::report::{GraphStats, Report};
use repserve_runtime::{Int8Kernels, KernelReport, Plan, Pool};

/// What was fused, how exact the result is, and how it runs.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// Arithmetic of the graph that runs.
    pub precision: Precision,
    /// How that was chosen; `None` where it was requested.
    pub auto: Option<AutoFacts>,
    /// How the int8 graph did at the gate; `None` where none was made.
    pub int8: Option<Int8Facts>,
    /// The train-time graph.
    pub source: GraphFacts,
    /// The deploy graph.
    pub deploy: GraphFacts,
    /// Blocks of branches that became one convolution.
    pub blocks_fused: usize,
    /// Blocks that stay as they are.
    pub refusals: usize,
    /// How far deploy and train-time graph agree.
    pub equivalence: Equivalence,
    /// Which convolutions of the fp32 graph the kernels compute, and why; `None` for an int8 graph.
    pub kernels: Option<KernelReport>,
    /// How much faster than the train-time graph it is; `None` where that was not measured: other models were served while this one was loaded, or
    /// the comparison of the graphs was taken from the start-up cache.
    pub speed: Option<Speed>,
    /// How it runs.
    pub plan: PlanFacts,
    /// Whether all of this was taken from the start-up cache.
    pub cached: bool,
    /// What loading took.
    pub load_seconds: LoadTimes,
}

/// How an int8 graph did at the gate before serving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Int8Facts {
    /// Whether it is the graph that runs; else the fp32 graph does.
    pub served: bool,
    /// int8 against fp32, cross-validated on the calibration images.
    pub agreement: Agreement,
    /// What that shows.
    pub judgement: Judgement,
    /// int8 against fp32 in the sessions that will serve, on the pictures in `calibration.json`.
    pub here: Agreement,
    /// How many times as fast as ONNX Runtime's fp32 session an int8 one was over those pictures, on all cores.
    pub times_as_fast: f64,
    /// Layers that compute in int8.
    pub layers: usize,
    /// Layers that were left in fp32, by the values they produce.
    pub layers_fp32: Vec<String>,
}

/// How fast the served graph is beside the train-time graph: one image on one core, in CPU time, which other processes change least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Milliseconds that the train-time graph takes for an image in ONNX Runtime.
    pub train_time_ms: f64,
    /// Milliseconds that a session takes that serves.
    pub served_ms: f64,
    /// The first by the second.
    pub times_as_fast: f64,
}

impl Speed {
    /// From what the train-time graph took and what was measured of the sessions.
    pub(super) fn of(train_time_ms: f64, plan: &Plan) -> Option<Self> {
        let served_ms = plan
            .curve
            .narrow
            .first()
            .filter(|point| point.batch_size == 1)?
            .latency_ms;
        (served_ms > 0.0).then(|| Self {
            train_time_ms,
            served_ms,
            times_as_fast: train_time_ms / served_ms,
        })
    }
}

/// One graph in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GraphFacts {
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// Nodes.
    pub nodes: usize,
    /// Convolutions among them.
    pub convolutions: usize,
    /// Elements of all floating-point constants.
    pub parameters: usize,
    /// Multiplications for one image, where all shapes are known.
    pub macs: Option<u64>,
}

/// The decoder, the sessions and their threads.
#[derive(Debug, Clone, Serialize)]
pub struct PlanFacts {
    /// The library that decodes JPEG.
    pub decoder: &'static str,
    /// Whether all sessions share one copy of the weights.
    pub weights_shared: bool,
    /// What of an int8 graph this program's kernels compute.
    pub int8_kernels: Option<Int8Kernels>,
    /// Nodes of the graph that ONNX Runtime made of the model, by operator, where it was made once for all sessions.
    pub operators: Option<BTreeMap<String, usize>>,
    /// The thread plan.
    pub threads: Plan,
}

/// What each phase of loading took; a map of seconds when it is serialized.
#[derive(Debug, Clone, Default)]
pub struct LoadTimes(pub Vec<(Phase, Duration)>);

impl Serialize for LoadTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(phase, took)| (phase.label(), took.as_secs_f64())))
    }
}

impl PlanFacts {
    pub(super) fn of(pool: &Pool, plan: &Plan) -> Self {
        Self {
            decoder: decoder(),
            weights_shared: pool.shares_weights(),
            int8_kernels: pool.int8_kernels(),
            operators: pool.operators().cloned(),
            threads: plan.clone(),
        }
    }
}

impl GraphFacts {
    fn new(stats: &GraphStats) -> Self {
        Self {
            sha256: stats.sha256.clone(),
            nodes: stats.nodes(),
            convolutions: stats.count("Conv"),
            parameters: stats.parameters,
            macs: stats.macs,
        }
    }

    /// The graph before fusing and after it.
    pub(super) fn of(report: &Report) -> [Self; 2] {
        [Self::new(&report.source), Self::new(&report.deploy)]
    }
}
