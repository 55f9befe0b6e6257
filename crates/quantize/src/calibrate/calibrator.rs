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
