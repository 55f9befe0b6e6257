//! `RepositoryModelLoad` and `RepositoryModelUnload`, where requests govern the models, as over HTTP.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::proto::{
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse,
};
use super::{frame, unary};
use crate::http::body_budget::BodyCharge;
use crate::http::error::{Code, Problem};
use crate::http::{Shared, v2};
use crate::repository::Repository;

/// Loads a model, or loads it anew.
pub(super) async fn load(
    State(shared): State<Shared>,
    Extension(charge): Extension<BodyCharge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: RepositoryModelLoadRequest = unary::read(&shared, &charge, &headers, body).await?;
    let repository = governed(&shared)?;
    v2::check_parameters(request.parameters.keys())?;
    repository.load(&request.model_name).await?;
    frame::respond(&RepositoryModelLoadResponse {})
}

/// Unloads a model.
pub(super) async fn unload(
    State(shared): State<Shared>,
    Extension(charge): Extension<BodyCharge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: RepositoryModelUnloadRequest = unary::read(&shared, &charge, &headers, body).await?;
    let repository = governed(&shared)?;
    v2::check_parameters(request.parameters.keys())?;
    repository.unload(&request.model_name).await?;
    frame::respond(&RepositoryModelUnloadResponse {})
}

/// The repository, where requests govern it, and not at another listener.
fn governed(shared: &Shared) -> Result<&Repository, Problem> {
    if shared.server.admin_listen.is_some() {
        let detail = "models are loaded and unloaded over HTTP at server.admin_listen";
        return Err(Problem::new(Code::NoControl, detail));
    }
    v2::governed(shared)
}
