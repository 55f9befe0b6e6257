//! The Open Inference Protocol, version 2: JSON and the binary-data extension, as Triton's and KServe's clients use it.
//!
//! [`about`] describes what is served, [`infer`] runs it, [`control`] loads and unloads models. [`request`] and [`response`] translate:
//! [`input`], [`data`], [`json`] and [`skip`] read a request's JSON; [`wire`] is the JSON that is written. What does not depend on JSON is
//! in [`super::inference`].

mod about;
mod control;
mod data;
mod infer;
mod input;
mod json;
mod request;
mod response;
mod skip;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;

use super::echo::echo;
use super::error::{Code, Problem, ProblemDetail};
use super::inference::InferLimits;
use super::settings::LimitSettings;
use super::{Shared, lookup};
use crate::classify::Served;
use repserve_compile::Signature;

pub(super) use about::*;
pub(super) use control::*;
pub(super) use infer::*;

/// The protocol's routes.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2", get(server))
        .merge(index_route())
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/stats", get(all_stats))
        .route("/v2/models/{model}/stats", get(model_stats))
        .route("/v2/models/{model}/config", get(model_config))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}", get(model))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/stats", get(model_stats))
        .route("/v2/models/{model}/versions/{version}/config", get(model_config))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer))
}

/// The index of the repository.
pub(super) fn index_route() -> Router<Shared> {
    Router::new().route("/v2/repository/index", post(index))
}

/// What changes what is served.
pub(super) fn control() -> Router<Shared> {
    Router::new()
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
}

/// The protocol's own probes, which need no key.
pub(super) fn probes() -> Router<Shared> {
    Router::new()
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
}

/// Gives an error below `/v2` the member `error`, in which the protocol's clients look, whatever refused the request.
pub(super) fn add_error_member(response: &mut Response) {
    if let Some(problem) = response.extensions().get::<ProblemDetail>() {
        *response.body_mut() = Body::from(problem.body(true));
    }
}

/// Whether a path is `/v2` or below it.
pub(super) fn is_protocol(path: &str) -> bool {
    path.strip_prefix("/v2")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads an inference request: how many images it has and how many bytes they hold, or why it is refused.
pub(super) fn images(
    body: Bytes,
    head_len: Option<usize>,
    signature: &Signature,
    limits: &LimitSettings,
) -> Result<(usize, usize), String> {
    let read = request::read(body, head_len, signature, InferLimits::of(limits));
    read.map(|request| (request.work.len(), request.bytes))
        .map_err(|error| error.to_string())
}

/// Which model, from the path.
#[derive(Debug, Deserialize)]
pub(super) struct ModelName {
    model: String,
    version: Option<String>,
}

impl FromRequestParts<Shared> for ModelName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let Path(name) = Path::from_request_parts(parts, shared)
            .await
            .map_err(|rejection: PathRejection| {
                Problem::new(Code::Malformed, echo(&rejection.body_text()).to_string())
            })?;
        Ok(name)
    }
}

impl ModelName {
    fn find(&self, shared: &Shared) -> Result<Arc<Served>, Problem> {
        lookup::find(shared, Some(&self.model), self.version.as_deref())
    }
}
