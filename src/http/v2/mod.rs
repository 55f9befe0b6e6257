//! The Open Inference Protocol, version 2: JSON and the binary-data extension, as Triton's and KServe's clients speak it.
//!
//! [`request`] and [`answer`] translate, [`tensor`] knows the encodings, [`wire`] the JSON; what is asked of a model is in
//! `crate::classify`.

mod answer;
mod request;
mod tensor;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;

use super::error::{Code, Problem};
use super::observe::{Arrived, Spent};
use super::{Shared, body, classify, health};
use crate::classify::{Served, infer as run};

/// Length of the JSON where raw bytes follow it.
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// A PNG of one pixel, for the example.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// Bodies from this size on are parsed off the threads that serve connections.
const PARSE_INLINE_BYTES_MAX: usize = 256 << 10;

/// The protocol's routes, at the paths it wants.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}", get(model))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer))
}

/// The protocol's own probes, which need no key.
pub(super) fn probes() -> Router<Shared> {
    Router::new()
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
}

/// A problem whose body also has the member `error`, in which the protocol's clients look.
#[derive(Debug)]
pub(super) struct Error(Problem);

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.0.with_error_member().into_response()
    }
}

/// Which model, from the path.
#[derive(Debug, Deserialize)]
pub(super) struct Name {
    model: String,
    version: Option<String>,
}

impl FromRequestParts<Shared> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Error> {
        let Path(name) = Path::from_request_parts(parts, shared)
            .await
            .map_err(|rejection: PathRejection| Problem::new(Code::Malformed, rejection.body_text()))?;
        Ok(name)
    }
}

impl Name {
    fn find(&self, shared: &Shared) -> Result<Arc<Served>, Error> {
        let Some(served) = shared.models.get(&self.model) else {
            if shared.models.all().is_empty() {
                return Err(shared.health.problem().into());
            }
            return Err(Problem::new(Code::ModelNotFound, format!("no model is called {:?}", self.model)).into());
        };
        match &self.version {
            Some(version) if version != served.version() => Err(Problem::new(
                Code::ModelNotFound,
                format!("model {:?} is served in version {:?}", self.model, served.version()),
            )
            .into()),
            _ => Ok(served),
        }
    }
}

#[utoipa::path(
    get,
    path = "/v2",
    operation_id = "server",
    tag = "inference protocol",
    summary = "The server and what it speaks",
    description = "Name, version and extensions.",
    responses((status = 200, description = "The server", body = wire::Server))
)]
pub(super) async fn server() -> Response {
    Json(wire::Server {
        name: "repserve",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "classification", "model_repository"],
    })
    .into_response()
}

#[utoipa::path(
    get,
    path = "/v2/health/live",
    operation_id = "v2_live",
    tag = "inference protocol",
    summary = "Whether the process runs",
    description = "Waits on nothing.",
    responses((status = 200, description = "It runs", body = wire::Live))
)]
pub(super) async fn live() -> Response {
    Json(wire::Live { live: true }).into_response()
}

#[utoipa::path(
    get,
    path = "/v2/health/ready",
    operation_id = "v2_ready",
    tag = "inference protocol",
    summary = "Whether requests are taken",
    description = "The same as /readyz.",
    responses((status = 200, description = "They are", body = wire::Ready))
)]
pub(super) async fn ready(State(shared): State<Shared>) -> Result<Response, Error> {
    ready_or_why(&shared)?;
    Ok(Json(wire::Ready { ready: true }).into_response())
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    operation_id = "model_ready",
    tag = "inference protocol",
    summary = "Whether a model takes requests",
    description = "Answers 200 only when it does.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "It does", body = wire::ModelReady))
)]
pub(super) async fn model_ready(State(shared): State<Shared>, name: Name) -> Result<Response, Error> {
    ready_or_why(&shared)?;
    let served = name.find(&shared)?;
    Ok(Json(wire::ModelReady {
        name: served.name(),
        ready: true,
    })
    .into_response())
}

fn ready_or_why(shared: &Shared) -> Result<(), Error> {
    match shared.health.get() {
        health::State::Ready => Ok(()),
        _ => Err(shared.health.problem().uncounted().into()),
    }
}

#[utoipa::path(
    post,
    path = "/v2/repository/index",
    operation_id = "index",
    tag = "inference protocol",
    summary = "Which models are served",
    description = "Triton's extension model_repository, read only.",
    responses((status = 200, description = "All models", body = Vec<wire::Indexed>))
)]
pub(super) async fn index(State(shared): State<Shared>) -> Response {
    let all = shared.models.all();
    let entry = |served: &Arc<Served>| wire::Indexed {
        name: served.name().to_owned(),
        version: served.version().to_owned(),
        state: "READY",
    };
    Json(all.iter().map(entry).collect::<Vec<_>>()).into_response()
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    operation_id = "model",
    tag = "inference protocol",
    summary = "What a model takes and answers",
    description = "With what the re-parameterizer did and how the model runs in `parameters`.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The model", body = wire::Model))
)]
pub(super) async fn model(State(shared): State<Shared>, name: Name) -> Result<Response, Error> {
    let served = name.find(&shared)?;
    let signature = served.signature();
    let mut shape = vec![-1];
    shape.extend(signature.image.map(extent));
    Ok(Json(wire::Model {
        name: served.name(),
        versions: [served.version()],
        platform: "onnxruntime_onnx",
        inputs: [wire::TensorMetadata {
            name: &signature.input,
            datatype: "FP32",
            shape,
        }],
        outputs: [wire::TensorMetadata {
            name: &signature.output,
            datatype: "FP32",
            shape: vec![-1, extent(signature.classes)],
        }],
        parameters: served.card(),
    })
    .into_response())
}

fn extent(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    operation_id = "infer",
    tag = "inference protocol",
    summary = "Run a model",
    description = "An output is FP32, one row for each image; with the parameter `classification` it is BYTES, `value:index:label` for the best classes.",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("inference-header-content-length" = Option<usize>, Header, description = "Length of the JSON where raw bytes follow it")
    ),
    request_body(
        content = request::Head,
        description = "FP32 tensors under the graph's input name, or encoded images (BYTES) under the name `images`; as JSON or as raw bytes behind it",
        example = json!({
            "inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": [PIXEL]}],
            "outputs": [{"name": "logits", "parameters": {"classification": 5}}]
        })
    ),
    responses((status = 200, description = "The outputs", content((wire::Inferred = "application/json"), (crate::http::wire::Octets = "application/octet-stream"))))
)]
pub(super) async fn infer(
    State(shared): State<Shared>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let served = name.find(&shared)?;
    let head_len = head_len(&headers)?;
    let bytes_max = shared.limits.request_bytes_max;
    let body = body::read(&headers, body, bytes_max, shared.server.body_timeout()).await?;
    let request = read(body, head_len, &served, &shared).await?;

    let mut deadline = arrived + shared.server.request_timeout(None);
    if let Some(us) = request.timeout_us {
        deadline = deadline.min(arrived + Duration::from_micros(us));
    }
    let (rows, timings) = run(&served, request.work, Some(deadline))
        .await
        .map_err(Problem::from)?;
    if !rows.iter().flatten().all(|x| x.is_finite()) {
        tracing::error!(model = served.name(), "the model's output is not finite");
        return Err(Problem::internal().into());
    }
    shared.metrics.images(rows.len());

    let said = answer::Said {
        output: &served.signature().output,
        rows: &rows,
        kind: served.output_kind(),
    };
    let (outputs, raw) = answer::outputs(said, &request.outputs, |index| served.label(index));
    let head = wire::Inferred {
        id: request.id.as_deref(),
        model_name: served.name(),
        model_version: served.version(),
        outputs,
    };
    let head = serde_json::to_vec(&head).map_err(|error| {
        tracing::error!(%error, "cannot encode an answer");
        Problem::internal()
    })?;
    let mut response = respond(head, &raw);
    classify::time_headers(response.headers_mut(), &timings);
    response.extensions_mut().insert(Spent {
        timings,
        postprocess: Duration::ZERO,
    });
    Ok(response)
}

fn head_len(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(value) = headers.get(HEAD_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|v| v.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| Problem::new(Code::Malformed, format!("{HEAD_LENGTH} is no number of bytes")))
}

async fn read(
    body: Bytes,
    head_len: Option<usize>,
    served: &Arc<Served>,
    shared: &Shared,
) -> Result<request::Request, Problem> {
    let cost = request::Cost {
        images_max: shared.limits.request_images_max,
        image_bytes_max: shared.limits.image_bytes_max,
    };
    let read = if body.len() < PARSE_INLINE_BYTES_MAX {
        request::read(body, head_len, served.signature(), cost)
    } else {
        let served = Arc::clone(served);
        tokio::task::spawn_blocking(move || request::read(body, head_len, served.signature(), cost))
            .await
            .map_err(|error| {
                tracing::error!(%error, "reading a request panicked");
                Problem::internal()
            })?
    };
    read.map_err(|error| match error {
        request::RequestError::Malformed(detail) => Problem::new(Code::Malformed, detail),
        request::RequestError::TooLarge(detail) => Problem::new(Code::TooLarge, detail),
    })
}

/// JSON alone, or JSON with raw bytes behind it.
fn respond(head: Vec<u8>, raw: &[u8]) -> Response {
    let json = HeaderValue::from_static("application/json");
    if raw.is_empty() {
        return ([(CONTENT_TYPE, json)], head).into_response();
    }
    let length = HeaderValue::from(head.len());
    let body = [&head[..], raw].concat();
    let octets = HeaderValue::from_static("application/octet-stream");
    ([(CONTENT_TYPE, octets), (HEAD_LENGTH, length)], body).into_response()
}
