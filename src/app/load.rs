//! From settings to a served model: read, fuse, verify, make the pool, warm up.

use anyhow::bail;

use crate::classify::Served;
use crate::config::Settings;
use crate::telemetry::Metrics;

/// Loads the model. Blocks; meant for a thread of its own.
///
/// # Errors
/// Where the model cannot be served.
pub fn load(_settings: &Settings, _metrics: &Metrics, phase: &dyn Fn(&'static str)) -> anyhow::Result<Served> {
    phase("read");
    bail!("not built yet")
}
