//! Loading and unloading models: Triton's extension `model_repository`. What is loaded is what lies in the server's own folder of models; a
//! request brings neither a path nor files.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::super::body_budget::BodyCharge;
use super::super::echo::echo;
use super::super::error::{Code, Problem};
use super::super::{Shared, body};
use super::{ModelName, wire};
use crate::repository::{Control, Refused, Repository};

/// Bytes of a request's body at most.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The only parameter that is known.
const UNLOAD_DEPENDENTS: &str = "unload_dependents";

#[utoipa::path(
    post,
    path = "/v2/repository/models/{model}/load",
    operation_id = "load",
    tag = "inference protocol",
    summary = "Load a model, or load it anew",
    description = "Compiles and verifies what lies in the server's folder of models beside what is served, and then exchanges the two. Responds when that is done, or with why it was not; what was served before then goes on.",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content = Option<wire::ControlRequest>, description = "Nothing that changes anything; files and configurations are refused"),
    responses((status = 200, description = "It is served"))
)]
pub(in crate::http) async fn load(
    State(shared): State<Shared>,
    Extension(charge): Extension<BodyCharge>,
    name: ModelName,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let repository = governed(&shared)?;
    let request: wire::ControlRequest = read(&shared, &charge, &headers, body).await?;
    check_parameters(request.parameters.keys())?;
    repository.load(&name.model).await?;
    Ok(StatusCode::OK)
}

#[utoipa::path(
    post,
    path = "/v2/repository/models/{model}/unload",
    operation_id = "unload",
    tag = "inference protocol",
    summary = "Unload a model",
    description = "Requests that were admitted finish; then its memory is given back and the response is sent.",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content = Option<wire::ControlRequest>, description = "Nothing that changes anything"),
    responses((status = 200, description = "It is not served any more"))
)]
pub(in crate::http) async fn unload(
    State(shared): State<Shared>,
    Extension(charge): Extension<BodyCharge>,
    name: ModelName,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let repository = governed(&shared)?;
    let request: wire::ControlRequest = read(&shared, &charge, &headers, body).await?;
    check_parameters(request.parameters.keys())?;
    repository.unload(&name.model).await?;
    Ok(StatusCode::OK)
}

/// The repository, where requests govern it.
pub(in crate::http) fn governed(shared: &Shared) -> Result<&Repository, Problem> {
    match &shared.repository {
        Some(repository) if repository.settings().control == Control::Api => Ok(repository),
        _ => Err(Problem::new(
            Code::NoControl,
            "models are loaded and unloaded by requests only where models.control is \"api\"",
        )),
    }
}

/// Refuses parameters that would say what is loaded.
pub(in crate::http) fn check_parameters<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), Problem> {
    match names.into_iter().find(|name| *name != UNLOAD_DEPENDENTS) {
        None => Ok(()),
        Some(name) => Err(Problem::new(
            Code::Malformed,
            format!(
                "parameter {:?}: a model is loaded as it lies in the server's folder of models, and not otherwise",
                echo(name)
            ),
        )),
    }
}

/// Reads a small body of JSON; none is the empty object.
pub(super) async fn read<T: DeserializeOwned + Default>(
    shared: &Shared,
    charge: &BodyCharge,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let within = body::BodyTimeouts::new(&shared.server);
    let body = body::read(headers, body, BODY_BYTES_MAX, charge, within)
        .await
        .map_err(Problem::uncounted)?;
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is not what is read here: {}", echo(&error.to_string()));
        Problem::new(Code::Malformed, detail).uncounted()
    })
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::NoModel(_) => Code::ModelNotFound,
            Refused::Failed(_) => Code::ModelRefused,
            Refused::Unloaded => Code::Unloaded,
            Refused::Ending => Code::Draining,
        };
        Self::new(code, refused.to_string()).uncounted()
    }
}
