//! What is measured on the fp32 graph: extremes first, then distributions between them.

use std::collections::HashMap;

use repserve_graph::{Model, ValueId};

use super::calibrator::Calibrator;
use crate::calibration::Calibration;
use crate::error::Error;
use crate::job::Stage;
use crate::observe::{self, Bounds, Observed};

impl Calibrator<'_, '_> {
    /// Smallest and largest value of each channel of each watched value.
    pub(super) fn extremes(&mut self) -> Result<HashMap<ValueId, Bounds>, Error> {
        let values = observe::watched(&self.layers);
        let own = self.model.graph.outputs.len();
        let mut runner = observe::load_with_outputs(&self.model, &values, self.load)?;
        let mut bounds: HashMap<ValueId, Bounds> = HashMap::new();
        let total = self.job.images.len();
        for (number, image) in self.job.images.iter().enumerate() {
            let seen = observe::run(&mut runner, image, own + values.len())?;
            for (value, seen) in values.iter().zip(&seen[own..]) {
                observe::widen(bounds.entry(*value).or_default(), seen);
            }
            (self.progress)(Stage::Extremes, number + 1, total);
        }
        Ok(bounds)
    }

    /// Distributions of the values of the equalized graph.
    pub(super) fn observe(
        &mut self,
        base: &Model,
        calibration: &Calibration,
        bounds: &HashMap<ValueId, Bounds>,
    ) -> Result<Observed, Error> {
        let mut whole: HashMap<ValueId, [f32; 2]> = HashMap::new();
        for (value, channels) in bounds {
            let place = self.layers.iter().position(|l| l.output == *value);
            let exponents = place.map_or(&[][..], |i| &calibration.layers[i].equalization);
            let mut ends = [0.0f32; 2];
            for (channel, [low, high]) in channels.iter().enumerate() {
                let factor = f32::from(exponents.get(channel).copied().unwrap_or(0)).exp2();
                ends = [ends[0].min(low / factor), ends[1].max(high / factor)];
            }
            whole.insert(*value, ends);
        }
        let total = self.job.images.len();
        let progress = &mut self.progress;
        observe::observe(base, &self.layers, &whole, self.job.images, self.load, &mut |done| {
            progress(Stage::Distributions, done, total);
        })
    }
}
