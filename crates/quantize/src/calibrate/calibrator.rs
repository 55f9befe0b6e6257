//! What all steps of a calibration need.

use repserve_graph::Model;

use crate::job::{Job, Load, Progress};
use crate::layers::Layer;

/// A deploy graph that is calibrated.
pub(super) struct Calibrator<'a, 'l> {
    pub(super) job: &'a Job<'a>,
    pub(super) load: &'a Load<'l>,
    pub(super) model: Model,
    pub(super) layers: Vec<Layer>,
    pub(super) progress: &'a mut Progress<'a>,
}

impl Calibrator<'_, '_> {
    /// At most `count` of the images, by their places, evenly spread.
    pub(super) fn spread(&self, count: usize) -> Vec<usize> {
        let all = self.job.images.len();
        let count = count.min(all);
        (0..count).map(|i| i * all / count).collect()
    }
}
