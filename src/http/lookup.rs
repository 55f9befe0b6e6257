//! Which model a request is for.

use std::sync::Arc;

use super::Shared;
use super::echo::echo;
use super::error::{Code, Problem};
use super::health::HealthState;
use crate::classify::Served;

/// The model called `model`, or the default one, in a version or in the newest that is served.
pub(super) fn find(shared: &Shared, model: Option<&str>, version: Option<&str>) -> Result<Arc<Served>, Problem> {
    let default = match model {
        Some(_) => None,
        None => Some(shared.models.default_name().ok_or_else(|| no_default(shared))?),
    };
    let name = model.or(default.as_deref()).unwrap_or_default();
    shared
        .models
        .get(name, version)
        .ok_or_else(|| not_served(shared, name, version))
}

fn no_default(shared: &Shared) -> Problem {
    if shared.models.all().is_empty() {
        return shared.health.problem();
    }
    Problem::new(
        Code::Malformed,
        "several models are served and none is the default (models.default); name one with `?model=`",
    )
}

fn not_served(shared: &Shared, name: &str, version: Option<&str>) -> Problem {
    let versions = shared.models.versions(name);
    if let (Some(_), [first, rest @ ..]) = (version, versions.as_slice()) {
        let all = match rest {
            [] => format!("version {first:?}"),
            _ => format!("versions {}", versions.join(", ")),
        };
        return Problem::new(
            Code::ModelNotFound,
            format!("model {:?} is served in {all}", echo(name).to_string()),
        );
    }
    let reason = shared
        .repository
        .as_ref()
        .and_then(|repository| repository.why_not(name));
    match (reason, shared.health.get()) {
        (Some(reason), HealthState::Ready | HealthState::Incomplete(_)) => Problem::new(
            Code::NotReady,
            format!("model {:?} is not served: {reason}", echo(name).to_string()),
        ),
        (None, _) if !shared.models.all().is_empty() => {
            Problem::new(Code::ModelNotFound, format!("no model is called {:?}", echo(name)))
        }
        _ => shared.health.problem(),
    }
}

/// The place of an inner value that a request wants, where it wants one.
pub(super) fn embedding(served: &Served, name: Option<&str>) -> Result<Option<usize>, Problem> {
    let Some(name) = name else {
        return Ok(None);
    };
    let signature = served.signature();
    signature.embedding(name).map(Some).ok_or_else(|| {
        let known: Vec<&str> = signature.embeddings.iter().map(|known| known.name.as_str()).collect();
        let detail = if known.is_empty() {
            "the model returns no embeddings; `output.embeddings` in its model.toml names inner values that it may return".to_owned()
        } else {
            format!("there is no embedding {:?}; the model's are {known:?}", echo(name))
        };
        Problem::new(Code::Malformed, detail)
    })
}
