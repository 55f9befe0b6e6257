//! What the server is, whether it is ready, and what it serves.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::super::body_budget::BodyCharge;
use super::super::error::Problem;
use super::super::{Shared, inference};
use super::{ModelName, control, wire};
use crate::repository::{Entry, READY, Repository};

#[utoipa::path(
    get,
    path = "/v2",
    operation_id = "server",
    tag = "inference protocol",
    summary = "The server and its extensions",
    description = "ModelName, version and extensions.",
    responses((status = 200, description = "The server", body = wire::Server))
)]
pub(super) async fn server(State(shared): State<Shared>) -> Response {
    let mut models: Vec<String> = shared
        .models
        .all()
        .iter()
        .map(|served| served.name().to_owned())
        .collect();
    models.dedup();
    Json(wire::Server {
        name: "repserve",
        version: env!("CARGO_PKG_VERSION"),
        models,
        extensions: inference::EXTENSIONS,
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
pub(super) async fn ready(State(shared): State<Shared>) -> Result<Response, Problem> {
    inference::ready(&shared)?;
    Ok(Json(wire::Ready { ready: true }).into_response())
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    operation_id = "model_ready",
    tag = "inference protocol",
    summary = "Whether a model takes requests",
    description = "The status is 200 only when it does.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "It does", body = wire::ModelReady))
)]
pub(super) async fn model_ready(State(shared): State<Shared>, name: ModelName) -> Result<Response, Problem> {
    if shared.health.draining() {
        return Err(shared.health.problem().uncounted());
    }
    let served = name.find(&shared).map_err(Problem::uncounted)?;
    Ok(Json(wire::ModelReady {
        name: served.name(),
        ready: true,
    })
    .into_response())
}

#[utoipa::path(
    post,
    path = "/v2/repository/index",
    operation_id = "index",
    tag = "inference protocol",
    summary = "Which models there are",
    description = "Every version of every model, its state, and why it is not served where it is not: Triton's extension model_repository.",
    request_body(content = Option<wire::IndexRequest>, description = "Which of them; all if there is no body"),
    responses((status = 200, description = "The models", body = Vec<wire::Indexed>))
)]
pub(super) async fn index(
    State(shared): State<Shared>,
    Extension(charge): Extension<BodyCharge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wire::IndexRequest { ready } = control::read(&shared, &charge, &headers, body).await?;
    let entries = shared.repository.as_ref().map(Repository::index).unwrap_or_default();
    let entries = entries.into_iter().filter(|entry| !ready || entry.state == READY);
    let indexed = |entry: Entry| wire::Indexed {
        name: entry.name,
        version: entry.version,
        state: entry.state,
        reason: entry.reason,
    };
    Ok(Json(entries.map(indexed).collect::<Vec<_>>()).into_response())
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    operation_id = "model",
    tag = "inference protocol",
    summary = "A model's inputs and outputs",
    description = "With what the re-parameterizer did and how the model runs in `parameters`.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The model", body = wire::Model))
)]
pub(super) async fn model(State(shared): State<Shared>, name: ModelName) -> Result<Response, Problem> {
    let served = name.find(&shared)?;
    let signature = served.signature();
    let outputs = inference::outputs(signature);
    let mut shape = vec![-1];
    shape.extend(signature.image.map(extent));
    Ok(Json(wire::Model {
        name: served.name(),
        versions: shared.models.versions(served.name()),
        platform: inference::PLATFORM,
        inputs: [wire::TensorMetadata {
            name: &signature.input,
            datatype: "FP32",
            shape,
        }],
        outputs: outputs
            .iter()
            .map(|output| wire::TensorMetadata {
                name: output.name,
                datatype: "FP32",
                shape: output.of_batch(),
            })
            .collect(),
        parameters: served.facts(),
    })
    .into_response())
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}/stats",
    operation_id = "model_stats",
    tag = "inference protocol",
    summary = "What a model has done so far",
    description = "Triton's extension statistics.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The sums since it was loaded", body = wire::StatisticsList))
)]
pub(super) async fn model_stats(State(shared): State<Shared>, name: ModelName) -> Result<Response, Problem> {
    let served = name.find(&shared)?;
    Ok(Json(wire::StatisticsList {
        model_stats: vec![wire::Statistics::of(&served)],
    })
    .into_response())
}

#[utoipa::path(
    get,
    path = "/v2/models/stats",
    operation_id = "all_stats",
    tag = "inference protocol",
    summary = "What all models have done so far",
    description = "Triton's extension statistics.",
    responses((status = 200, description = "The sums since each was loaded", body = wire::StatisticsList))
)]
pub(super) async fn all_stats(State(shared): State<Shared>) -> Response {
    let all = shared.models.all();
    Json(wire::StatisticsList {
        model_stats: all.iter().map(|served| wire::Statistics::of(served)).collect(),
    })
    .into_response()
}

#[utoipa::path(
    get,
    path = "/v2/models/{model}/config",
    operation_id = "model_config",
    tag = "inference protocol",
    summary = "A model's configuration",
    description = "Triton's extension model configuration.",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The configuration", body = wire::Config))
)]
pub(super) async fn model_config(State(shared): State<Shared>, name: ModelName) -> Result<Response, Problem> {
    let served = name.find(&shared)?;
    Ok(Json(wire::Config::of(&served, &shared.limits)).into_response())
}

fn extent(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
