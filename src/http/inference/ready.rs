//! Whether models take requests.

use crate::http::Shared;
use crate::http::error::Problem;
use crate::http::health::HealthState;

/// Whether requests are taken, or why not.
pub(in crate::http) fn ready(shared: &Shared) -> Result<(), Problem> {
    match shared.health.get() {
        HealthState::Ready => Ok(()),
        _ => Err(shared.health.problem().uncounted()),
    }
}
