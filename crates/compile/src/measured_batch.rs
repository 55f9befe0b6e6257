//! How large the batches are that are measured when a model is loaded: what measuring holds meanwhile goes into the most memory that loading takes.

use super::fused::Fused;
use repserve_quantize::Precision;
use repserve_runtime::{RuntimeSettings, live_elements_max};

/// Images of a batch that is measured whatever that holds: up to here most of what a run costs besides its images is shared out.
const IMAGES_ALWAYS: usize = 4;
/// Bytes of the values of all sessions' batches that are small beside any process.
const BYTES_ALWAYS: usize = 64 << 20;

/// The largest batch to measure of images of `shape` (channels, height, width), on so many sessions at the same time.
pub(super) fn measured_batch_max(
    fused: &Fused,
    shape: [usize; 3],
    precision: Precision,
    sessions: usize,
    settings: &RuntimeSettings,
) -> usize {
    let element_bytes = match precision {
        Precision::Fp32 => 4,
        Precision::Int8 => 1,
    };
    let image_bytes = live_elements_max(fused.model(), shape).saturating_mul(element_bytes);
    let constants = fused.model().graph.constants();
    let weight_bytes = constants.map(|(_, tensor)| tensor.data().len()).sum();
    settings
        .measure_batch_max
        .min(within(image_bytes, sessions, weight_bytes))
}

/// Images of a batch whose values, in all sessions, take no more than half of the weights.
fn within(image_bytes: usize, sessions: usize, weight_bytes: usize) -> usize {
    let room = (weight_bytes / 2).max(BYTES_ALWAYS);
    let images = room.checked_div(image_bytes.saturating_mul(sessions));
    images.unwrap_or(usize::MAX).max(IMAGES_ALWAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn batches_are_measured_as_far_as_they_are_small_beside_the_weights() {
        assert_eq!(within(MIB, 2, 33 * MIB), 32);
        assert_eq!(within(MIB, 2, 480 * MIB), 120);
        assert_eq!(within(6 * MIB, 2, 33 * MIB), 5);
    }

    #[test]
    fn small_batches_are_always_measured_and_what_is_not_known_bounds_nothing() {
        assert_eq!(within(6 * MIB, 64, 33 * MIB), IMAGES_ALWAYS);
        assert_eq!(within(usize::MAX, 2, 0), IMAGES_ALWAYS);
        assert_eq!(within(0, 2, 0), usize::MAX);
    }
}
