//! What is measured on the fp32 graph: extremes first, then how channels are spread below them, then distributions of the equalized graph.

use std::collections::{BTreeMap, HashMap};

use repserve_graph::{Model, ValueId};

use super::calibrator::Calibrator;
use super::cross_validate::FOLDS;
use crate::calibration::Calibration;
use crate::equalize;
use crate::error::Error;
use crate::job::Stage;
use crate::magnitudes::Magnitudes;
use crate::observe::{self, Bounds, Observed};

/// Smallest and largest value of each channel of each watched value.
pub(super) type Extremes = HashMap<ValueId, Bounds>;

/// The magnitudes of the channels of every value that may be equalized.
pub(super) type Spread = BTreeMap<ValueId, Magnitudes>;

/// What the channels of the fp32 graph hold, over some images.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    pub(super) extremes: Extremes,
    pub(super) spread: Spread,
}

/// What several sets of images hold together.
pub(super) fn together<'a>(parts: impl IntoIterator<Item = &'a Channels> + Clone) -> Channels {
    let mut spread = Spread::new();
    for (value, magnitudes) in parts.clone().into_iter().flat_map(|part| &part.spread) {
        match spread.get_mut(value) {
            Some(sum) => sum.add_all(magnitudes),
            None => {
                spread.insert(*value, magnitudes.clone());
            }
        }
    }
    Channels {
        extremes: merged(parts.into_iter().map(|part| &part.extremes)),
        spread,
    }
}

/// The extremes over several sets of images.
fn merged<'a>(parts: impl IntoIterator<Item = &'a Extremes>) -> Extremes {
    let mut all = Extremes::new();
    for (value, bounds) in parts.into_iter().flatten() {
        let most = all.entry(*value).or_default();
        most.resize(bounds.len().max(most.len()), [0.0; 2]);
        for (most, bound) in most.iter_mut().zip(bounds) {
            *most = [most[0].min(bound[0]), most[1].max(bound[1])];
        }
    }
    all
}

impl Calibrator<'_, '_> {
    /// What the channels hold, for each fold's images.
    pub(super) fn channels(&mut self) -> Result<Vec<Channels>, Error> {
        let extremes = self.extremes()?;
        let spread = self.spread_of(&merged(&extremes))?;
        let both = extremes.into_iter().zip(spread);
        Ok(both.map(|(extremes, spread)| Channels { extremes, spread }).collect())
    }

    /// The magnitudes over each fold's images, below the extremes of all.
    fn spread_of(&mut self, extremes: &Extremes) -> Result<Vec<Spread>, Error> {
        let graph = &self.model.graph;
        let scaled = self
            .layers
            .iter()
            .filter(|l| equalize::reader(graph, &self.layers, l).is_some());
        let values: Vec<ValueId> = scaled.map(|l| l.output).collect();
        let none = |value: &ValueId| {
            let channels = extremes.get(value).into_iter().flatten();
            (
                *value,
                Magnitudes::new(channels.map(|[low, high]| high.max(-low)).collect()),
            )
        };
        let mut folds: Vec<Spread> = vec![values.iter().map(none).collect(); FOLDS];
        if values.is_empty() {
            return Ok(folds);
        }
        let own = graph.outputs.len();
        let mut runner = observe::load_with_outputs(&self.model, &values, self.load)?;
        let total = self.job.images.len();
        for (number, image) in self.job.images.iter().enumerate() {
            let seen = observe::run(&mut runner, image, own + values.len())?;
            for (value, seen) in values.iter().zip(&seen[own..]) {
                folds[number % FOLDS].entry(*value).or_default().add(seen);
            }
            (self.progress)(Stage::Extremes, number + 1, total);
        }
        Ok(folds)
    }

    /// The extremes over each fold's images.
    fn extremes(&mut self) -> Result<Vec<Extremes>, Error> {
        let values = observe::watched(&self.layers);
        let own = self.model.graph.outputs.len();
        let mut runner = observe::load_with_outputs(&self.model, &values, self.load)?;
        let mut folds = vec![Extremes::new(); FOLDS];
        let total = self.job.images.len();
        for (number, image) in self.job.images.iter().enumerate() {
            let seen = observe::run(&mut runner, image, own + values.len())?;
            for (value, seen) in values.iter().zip(&seen[own..]) {
                observe::widen(folds[number % FOLDS].entry(*value).or_default(), seen);
            }
            (self.progress)(Stage::Extremes, number + 1, total);
        }
        Ok(folds)
    }

    /// Distributions of the values of the equalized graph over some images.
    pub(super) fn observe(
        &mut self,
        base: &Model,
        calibration: &Calibration,
        extremes: &Extremes,
        images: &[&[f32]],
    ) -> Result<Observed, Error> {
        let mut whole: HashMap<ValueId, [f32; 2]> = HashMap::new();
        for (value, channels) in extremes {
            let place = self.layers.iter().position(|l| l.output == *value);
            let exponents = place.map_or(&[][..], |i| &calibration.layers[i].equalization);
            let mut ends = [0.0f32; 2];
            for (channel, [low, high]) in channels.iter().enumerate() {
                let factor = equalize::factor(exponents.get(channel).copied().unwrap_or(0));
                ends = [ends[0].min(low / factor), ends[1].max(high / factor)];
            }
            whole.insert(*value, ends);
        }
        let progress = &mut self.progress;
        observe::observe(base, &self.layers, &whole, images, self.load, &mut |done| {
            progress(Stage::Distributions, done, images.len());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_extremes_hold_all() {
        let value = repserve_graph::Graph::default().add_value(repserve_graph::Value::named("x"));
        let of = |bounds: Bounds| Extremes::from([(value, bounds)]);
        let parts = [of(vec![[-1.0, 0.0], [0.0, 2.0]]), of(vec![[0.0, 3.0], [-2.0, 1.0]])];
        assert_eq!(merged(&parts)[&value], [[-1.0, 3.0], [-2.0, 2.0]]);
        assert!(merged([]).is_empty());
    }
}
