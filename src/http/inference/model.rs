//! Which model a request is for.

use std::sync::Arc;

use crate::classify::Served;
use crate::http::Shared;
use crate::http::echo::echo;
use crate::http::error::{Code, Problem};
use crate::http::health::HealthState;

/// The model called `name`, where it is served in `version` or none is asked for.
pub(in crate::http) fn find(shared: &Shared, name: &str, version: Option<&str>) -> Result<Arc<Served>, Problem> {
    let Some(served) = shared.models.get(name) else {
        if shared.models.all().is_empty() {
            return Err(shared.health.problem());
        }
        return Err(Problem::new(
            Code::ModelNotFound,
            format!("no model is called {:?}", echo(name)),
        ));
    };
    match version {
        Some(version) if version != served.version() => Err(Problem::new(
            Code::ModelNotFound,
            format!("model {:?} is served in version {:?}", served.name(), served.version()),
        )),
        _ => Ok(served),
    }
}

/// Whether requests are taken, or why not.
pub(in crate::http) fn ready(shared: &Shared) -> Result<(), Problem> {
    match shared.health.get() {
        HealthState::Ready => Ok(()),
        _ => Err(shared.health.problem().uncounted()),
    }
}
