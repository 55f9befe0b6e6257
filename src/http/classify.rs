//! `POST /classify`: images in, classes out.

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::admission::{self, Due};
use super::body_budget::BodyCharge;
use super::client::Identity;
use super::error::Problem;
use super::observe::Arrived;
use super::offload::offload;
use super::params::Params;
use super::timing::StageTimes;
use super::{Shared, body, lookup, wire};
use crate::classify::{Broken, Classification, HeadWork, Served, Wanted, classify as run};
use crate::telemetry::Stage;
use repserve_scheduler::Priority;

/// Bytes that a class takes in a response, about.
const CLASS_BYTES: usize = 64;

/// Bytes that a value of an embedding takes in a response, about.
const VALUE_BYTES: usize = 12;

/// The handler.
#[utoipa::path(
    post,
    path = "/classify",
    operation_id = "classify",
    tag = "classify",
    summary = "Classify images",
    description = "The body is one image, a form whose every file is an image, or an image as base64 in JSON. The headers x-decode-time, x-queue-time, x-inference-time and x-total-time hold in milliseconds where the time went.",
    params(Params),
    request_body(
        description = "JPEG, PNG, WebP, GIF, BMP or TIFF",
        content(
            (wire::Octets = "image/jpeg"),
            (wire::Octets = "image/png"),
            (wire::Octets = "application/octet-stream"),
            (wire::Form = "multipart/form-data"),
            (wire::ImageAsText = "application/json")
        )
    ),
    responses((status = 200, description = "The best classes of each image, in order", body = wire::Classified, example = json!({
        "model": "repvgg-cifar10", "version": "1",
        "predictions": [{"name": "cat.jpg", "classes": [{"index": 3, "label": "cat", "probability": 0.97}]}]
    })))
)]
pub(super) async fn classify(
    State(shared): State<Shared>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    Extension(charge): Extension<BodyCharge>,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::read(&query.unwrap_or_default())?;
    let served = lookup::find(&shared, params.model.as_deref(), params.version.as_deref())?;
    let embedding = lookup::embedding(&served, params.embedding.as_deref())?;
    let announced = body::announced(&headers, &shared.limits)?;
    let due = Due {
        deadline: arrived + shared.server.request_timeout(params.timeout_ms),
        own: params.timeout_ms.is_some(),
    };
    let request = admission::request(&identity, due, Priority::default());
    let work = HeadWork {
        items: 1,
        encoded_bytes: announced.bytes.unwrap_or(0),
        packed: body::is_packed(&headers)?,
    };
    let admitted = admission::admit(&served, &shared.metrics, &identity, work, &request).await?;
    let within = body::BodyTimeouts::new(&shared.server);
    let items = body::images(announced, &headers, body, &charge, &shared.limits, within).await?;
    let wanted = Wanted {
        top_k: params.top_k.unwrap_or(shared.server.top_k),
        broken: match params.partial {
            Some(true) => Broken::Reported,
            _ => Broken::Refused,
        },
        embedding,
    };
    let classification = run(&served, items, wanted, &request, Some(admitted)).await;
    let classification = admission::counted(&shared.metrics, due, classification)?;
    shared.metrics.stage(Stage::Postprocess, classification.postprocess);
    let images = classification.predictions.len();
    served.statistics().output(images, classification.postprocess);
    let classes: usize = classification.predictions.iter().map(|p| p.classes.len()).sum();
    let embedded = classification.predictions.iter().filter_map(|p| p.embedding.as_ref());
    let values: usize = embedded.map(Vec::len).sum();
    offload(
        identity.client,
        classes * CLASS_BYTES + values * VALUE_BYTES,
        move || respond(&served, &classification),
    )
    .await
}

fn respond(served: &Served, classification: &Classification) -> Response {
    let predictions = classification
        .predictions
        .iter()
        .map(|prediction| wire::Prediction {
            name: prediction.name.as_deref(),
            classes: prediction
                .classes
                .iter()
                .map(|class| wire::Class {
                    index: class.index,
                    label: served.label(class.index),
                    probability: class.probability,
                })
                .collect(),
            embedding: prediction.embedding.as_deref(),
            error: prediction.error.as_ref().map(|failure| {
                let problem = Problem::from(failure);
                wire::PredictionError {
                    code: problem.code().name(),
                    detail: problem.detail().to_owned(),
                }
            }),
        })
        .collect();
    let body = wire::Classified {
        model: served.name(),
        version: served.version(),
        predictions,
    };
    let body = match serde_json::to_vec(&body) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "cannot encode a response");
            return Problem::internal().into_response();
        }
    };
    let mut response = body.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    let times = StageTimes {
        timings: classification.timings,
        postprocess: classification.postprocess,
    };
    times.attach(&mut response);
    response
}
