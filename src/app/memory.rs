//! The limits in force: what the settings leave open follows from the memory that the process may use.

use std::sync::Arc;

use crate::http::LimitSettings;
use repserve_runtime::MemoryPlan;
use repserve_scheduler::Memory;

/// The limits with a number in place of every 0.
pub fn in_force(limits: &LimitSettings) -> LimitSettings {
    let plan = MemoryPlan::detect();
    limits.clone().settled(plan.decode_bytes_max(), plan.bodies_bytes_max())
}

/// The budget of all decoding in a process.
pub fn decode_budget(limits: &LimitSettings) -> Arc<Memory> {
    Arc::new(Memory::new(in_force(limits).decode_bytes_max))
}

/// Logs the limits in force.
pub(super) fn log_limits(limits: &LimitSettings) {
    let memory_bytes = MemoryPlan::detect().limit_bytes();
    let (decode, bodies) = (limits.decode_bytes_max, limits.bodies_bytes_max);
    tracing::info!(
        memory_bytes,
        decode_bytes_max = decode,
        bodies_bytes_max = bodies,
        "memory"
    );
}
