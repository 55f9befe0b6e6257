//! What the Open Inference Protocol sends as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use repserve_compile::Facts;

/// `GET /v2`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) extensions: [&'static str; 3],
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
    pub(super) state: &'static str,
}

/// `GET /v2/models/{model}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelMetadata)]
pub(super) struct Model<'a> {
    pub(super) name: &'a str,
    pub(super) versions: [&'a str; 1],
    pub(super) platform: &'static str,
    pub(super) inputs: [TensorMetadata<'a>; 1],
    pub(super) outputs: [TensorMetadata<'a>; 1],
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
    #[schema(required = false, max_items = 1)]
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
    pub(super) shape: [usize; 2],
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
