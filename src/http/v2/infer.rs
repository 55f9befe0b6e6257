//! Running a model: body to tensors or images, and their rows to a response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::super::body_budget::BodyCharge;
use super::super::client::Identity;
use super::super::error::{Code, Problem};
use super::super::inference::{InferLimits, InferRequest, ModelOutput, OutputOptions, Ran, RunContext};
use super::super::observe::Arrived;
use super::super::offload::offload;
use super::super::timing::StageTimes;
use super::super::{Shared, body};
use super::{ModelName, request, response, wire};
use crate::classify::Served;
use repserve_runtime::Row;

/// Length of the JSON where raw bytes follow it.
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// Bytes that a value takes in a response, about.
const VALUE_BYTES: usize = 12;
/// A PNG of one pixel, for the example.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    operation_id = "infer",
    tag = "inference protocol",
    summary = "Run a model",
    description = "An output is FP32, one row for each image; inner values that the model allows (`output.embeddings`) are returned where they are requested by name. With the parameter `classification` it is BYTES, `value:index:label` for the best classes.",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("inference-header-content-length" = Option<usize>, Header, description = "Length of the JSON where raw bytes follow it")
    ),
    request_body(
        content = wire::Infer,
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
    Extension(charge): Extension<BodyCharge>,
    Extension(identity): Extension<Identity>,
    name: ModelName,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let served = name.find(&shared)?;
    let head_len = head_len(&headers)?;
    let bytes_max = shared.limits.request_bytes_max;
    body::length(&headers, bytes_max)?;
    let context = RunContext {
        shared,
        identity,
        arrived,
        timeout: None,
        packed: body::is_packed(&headers)?,
    };
    let admitted = context.admit(&served).await?;
    let shared = &context.shared;
    let body = body::read(
        &headers,
        body,
        bytes_max,
        &charge,
        body::BodyTimeouts::new(&shared.server),
    )
    .await?;
    let mut request = read(body, head_len, &charge, &served, shared).await?;
    let Ran { rows, timings } = context.run(&served, &mut request, admitted).await?;

    let values = rows
        .iter()
        .flat_map(|row| request.values(row))
        .map(<[f32]>::len)
        .sum::<usize>();
    let mut response = offload(identity.client, values * VALUE_BYTES, move || {
        encode(&served, &rows, &request)
    })
    .await??;
    let times = StageTimes {
        timings,
        postprocess: Duration::ZERO,
    };
    times.attach(&mut response);
    Ok(response)
}

/// The response, encoded.
fn encode(served: &Served, rows: &[Row], request: &InferRequest) -> Result<Response, Problem> {
    let model_output = ModelOutput {
        signature: served.signature(),
        rows,
        scores: served.scores(),
    };
    let tensor = |wanted: &OutputOptions| model_output.tensor(*wanted, |index| served.label(index));
    let began = Instant::now();
    let (outputs, raw) = response::outputs(request.outputs.iter().map(tensor).collect());
    let head = wire::Inferred {
        id: request.id.as_deref(),
        model_name: served.name(),
        model_version: served.version(),
        outputs,
    };
    let head = serde_json::to_vec(&head).map_err(|error| {
        tracing::error!(%error, "cannot encode a response");
        Problem::internal()
    })?;
    let response = respond(head, &raw);
    served.statistics().output(rows.len(), began.elapsed());
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

/// The request in a body. It is charged for what is made of the body, then for what is left of it.
async fn read(
    body: Bytes,
    head_len: Option<usize>,
    charge: &BodyCharge,
    served: &Arc<Served>,
    shared: &Shared,
) -> Result<InferRequest, Problem> {
    let limits = InferLimits::of(&shared.limits);
    let bytes = body.len();
    let beside = limits.read_bytes_max(bytes, head_len.unwrap_or(bytes).min(bytes), served.signature());
    charge.hold(bytes.saturating_add(beside))?;
    let served = Arc::clone(served);
    let read = offload(charge.client(), bytes, move || {
        request::read(body, head_len, served.signature(), limits)
    })
    .await?;
    let request = read?;
    charge.hold(request.bytes)?;
    Ok(request)
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
