//! What the Open Inference Protocol sends as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::classify::{Served, Total};
use crate::http::LimitSettings;
use crate::http::inference::{Configuration, PLATFORM};
use repserve_compile::Facts;

/// `GET /v2`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// The models that are served.
    pub(super) models: Vec<String>,
    pub(super) extensions: [&'static str; 5],
}

/// `GET /v2/health/live`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerLive)]
pub(super) struct Live {
    pub(super) live: bool,
}

/// `GET /v2/health/ready`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerReady)]
pub(super) struct Ready {
    pub(super) ready: bool,
}

/// `GET /v2/models/{model}/ready`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelReady<'a> {
    pub(super) name: &'a str,
    pub(super) ready: bool,
}

/// A line of `POST /v2/repository/index`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepositoryModel)]
pub(super) struct Indexed {
    pub(super) name: String,
    pub(super) version: String,
    /// READY, LOADING, UNLOADING or UNAVAILABLE.
    pub(super) state: &'static str,
    /// Why it is not served, or newer files of it are not; absent where there is nothing to say.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// The body of `POST /v2/repository/index`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RepositoryIndexRequest)]
#[serde(default)]
pub(super) struct IndexRequest {
    /// Only those that are served.
    pub(super) ready: bool,
}

/// The body of a request that loads or unloads a model.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RepositoryControlRequest)]
#[serde(default)]
pub(super) struct ControlRequest {
    /// Of these only `unload_dependents` is known, and changes nothing: no model depends on another.
    #[schema(value_type = Object)]
    pub(super) parameters: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

/// `GET /v2/models/{model}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelMetadata)]
pub(super) struct Model<'a> {
    pub(super) name: &'a str,
    pub(super) versions: Vec<String>,
    pub(super) platform: &'static str,
    pub(super) inputs: [TensorMetadata<'a>; 1],
    /// The classes, and inner values for those who request them.
    pub(super) outputs: Vec<TensorMetadata<'a>>,
    #[schema(value_type = Object)]
    pub(super) parameters: &'a Facts,
}

/// A tensor of a model; an extent of -1 is free.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TensorMetadata<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
}

/// `GET /v2/models/{model}/stats`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelStatisticsList)]
pub(super) struct StatisticsList<'a> {
    pub(super) model_stats: Vec<Statistics<'a>>,
}

/// What a model has done so far.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelStatistics)]
pub(super) struct Statistics<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// When a request last succeeded, in milliseconds since 1970; 0: none has.
    pub(super) last_inference: u64,
    /// Images.
    pub(super) inference_count: u64,
    /// Batches.
    pub(super) execution_count: u64,
    pub(super) inference_stats: InferenceStatistics,
    pub(super) batch_stats: Vec<BatchStatistics>,
}

/// What requests (`success`, `fail`) and images (the others) took.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InferenceStatistics {
    pub(super) success: StatisticDuration,
    pub(super) fail: StatisticDuration,
    pub(super) queue: StatisticDuration,
    pub(super) compute_input: StatisticDuration,
    pub(super) compute_infer: StatisticDuration,
    pub(super) compute_output: StatisticDuration,
    pub(super) cache_hit: StatisticDuration,
    pub(super) cache_miss: StatisticDuration,
}

/// What batches of one size took.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchStatistics {
    pub(super) batch_size: usize,
    pub(super) compute_input: StatisticDuration,
    pub(super) compute_infer: StatisticDuration,
    pub(super) compute_output: StatisticDuration,
}

/// How often, and how many nanoseconds altogether.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct StatisticDuration {
    pub(super) count: u64,
    pub(super) ns: u64,
}

impl From<Total> for StatisticDuration {
    fn from(total: Total) -> Self {
        Self {
            count: total.count,
            ns: total.nanoseconds(),
        }
    }
}

impl<'a> Statistics<'a> {
    pub(super) fn of(served: &'a Served) -> Self {
        let totals = served.statistics().totals();
        let batch = |(batch_size, total): (&usize, &Total)| BatchStatistics {
            batch_size: *batch_size,
            compute_input: StatisticDuration::default(),
            compute_infer: (*total).into(),
            compute_output: StatisticDuration::default(),
        };
        Self {
            name: served.name(),
            version: served.version(),
            last_inference: totals.last_success_ms(),
            inference_count: totals.inference.count,
            execution_count: totals.executions(),
            inference_stats: InferenceStatistics {
                success: totals.success.into(),
                fail: totals.fail.into(),
                queue: totals.queue.into(),
                compute_input: totals.prepare.into(),
                compute_infer: totals.inference.into(),
                compute_output: totals.output.into(),
                cache_hit: StatisticDuration::default(),
                cache_miss: StatisticDuration::default(),
            },
            batch_stats: totals.batches.iter().map(batch).collect(),
        }
    }
}

/// `GET /v2/models/{model}/config`, in the terms of Triton's model configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfiguration)]
pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    pub(super) platform: &'static str,
    pub(super) backend: &'static str,
    /// Images that one request may have.
    pub(super) max_batch_size: i32,
    pub(super) input: [ConfigTensor<'a>; 1],
    pub(super) output: Vec<ConfigTensor<'a>>,
    pub(super) dynamic_batching: DynamicBatching,
}

/// A tensor of a model, for one image.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigurationTensor)]
pub(super) struct ConfigTensor<'a> {
    pub(super) name: &'a str,
    pub(super) data_type: &'static str,
    pub(super) dims: Vec<i64>,
}

/// How requests are batched.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DynamicBatching {
    pub(super) max_queue_delay_microseconds: u64,
}

impl<'a> Config<'a> {
    pub(super) fn of(served: &'a Served, limits: &LimitSettings) -> Self {
        let configuration = Configuration::of(served, limits);
        let tensor = |name, dims: &[i64]| ConfigTensor {
            name,
            data_type: "TYPE_FP32",
            dims: dims.to_vec(),
        };
        Self {
            name: served.name(),
            platform: PLATFORM,
            backend: configuration.backend,
            max_batch_size: configuration.max_batch_size,
            input: [tensor(&served.signature().input, &configuration.input_dims)],
            output: configuration
                .outputs
                .iter()
                .map(|output| tensor(output.name, &output.dims))
                .collect(),
            dynamic_batching: DynamicBatching {
                max_queue_delay_microseconds: 0,
            },
        }
    }
}

/// An inference request. It is not made of these types: `request` reads it member by member.
#[derive(Debug, ToSchema)]
#[schema(as = InferenceRequest)]
#[allow(dead_code)]
pub(super) struct Infer {
    #[schema(max_length = 1024)]
    id: Option<String>,
    #[schema(required = false)]
    parameters: InferParameters,
    #[schema(min_items = 1, max_items = 1)]
    inputs: Vec<Input>,
    #[schema(required = false, max_items = 9)]
    outputs: Vec<RequestedOutput>,
}

#[derive(Debug, ToSchema)]
#[schema(as = InferenceParameters)]
#[allow(dead_code)]
struct InferParameters {
    /// Whether outputs come as raw bytes where an output does not set it itself.
    binary_data_output: Option<bool>,
    /// Microseconds, as Triton's clients send it.
    #[schema(value_type = Option<usize>)]
    timeout: Option<u64>,
}

#[derive(Debug, ToSchema)]
#[schema(as = InferenceInput)]
#[allow(dead_code)]
struct Input {
    #[schema(max_length = 1024)]
    name: String,
    #[schema(max_items = 8)]
    shape: Vec<u64>,
    /// FP32: tensors. BYTES: encoded images, in JSON as base64.
    #[schema(max_length = 1024)]
    datatype: String,
    #[schema(required = false)]
    parameters: InputParameters,
    /// Elements in row-major order, flat or nested up to eight arrays deep.
    data: Option<Vec<Element>>,
}

/// An element; nested, an array of them in its place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceElement)]
#[serde(untagged)]
#[allow(dead_code)]
enum Element {
    /// Of FP32.
    Number(f32),
    /// Of BYTES, as base64.
    Text(String),
}

#[derive(Debug, ToSchema)]
#[schema(as = InferenceInputParameters)]
#[allow(dead_code)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Debug, ToSchema)]
#[schema(as = RequestedOutput)]
#[allow(dead_code)]
struct RequestedOutput {
    #[schema(max_length = 1024)]
    name: String,
    #[schema(required = false)]
    parameters: OutputParameters,
}

#[derive(Debug, ToSchema)]
#[schema(as = RequestedOutputParameters)]
#[allow(dead_code)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: Option<usize>,
}

/// The response to an inference request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceResponse)]
pub(super) struct Inferred<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) model_name: &'a str,
    pub(super) model_version: &'a str,
    pub(super) outputs: Vec<Output<'a>>,
}

/// One output tensor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceOutput)]
pub(super) struct Output<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<usize>,
    #[serde(flatten)]
    pub(super) content: OutputContent,
}

/// Where an output's elements are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferenceOutputContent)]
#[serde(untagged)]
pub(super) enum OutputContent {
    /// Here.
    Numbers { data: Vec<f32> },
    /// Here.
    Strings { data: Vec<String> },
    /// Behind the JSON.
    Raw { parameters: RawParameters },
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BinaryDataSize)]
pub(super) struct RawParameters {
    binary_data_size: usize,
}

impl OutputContent {
    /// So many bytes behind the JSON.
    pub(super) fn raw(binary_data_size: usize) -> Self {
        Self::Raw {
            parameters: RawParameters { binary_data_size },
        }
    }
}
