//! Running a model: body to tensors or images, and their rows to an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::super::error::{Code, Problem};
use super::super::observe::{Arrived, Spent};
use super::super::{Shared, body, classify};
use super::{Error, Name, answer, request, wire};
use crate::classify::{Served, infer as run};

/// Length of the JSON where raw bytes follow it.
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// A PNG of one pixel, for the example.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
/// Bodies from this size on are parsed off the threads that serve connections.
const PARSE_INLINE_BYTES_MAX: usize = 256 << 10;

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
