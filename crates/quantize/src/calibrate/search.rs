//! What is decided by running int8 graphs: the ranges, and the layers that stay in fp32.

use std::sync::Mutex;

use repserve_graph::parallel;

use super::Material;
use super::calibrator::Calibrator;
use super::cross_validate::{Fold, themselves};
use super::finer::FinerTrial;
use super::powers::RANGE_POWERS;
use crate::agreement::compare;
use crate::calibration::{Calibration, ValueRange};
use crate::error::Error;
use crate::finer;
use crate::job::Stage;
use crate::observe::{self, Observed};
use crate::range::Range;
use crate::rewrite::rewrite;
use crate::sensitivity::{self, Candidate, Goal};
use crate::step::Step;

/// Images that the choice of the power is measured on, at most.
const TRIAL_IMAGES_MAX: usize = 96;
/// Images that the choice of layers is measured on, at most.
const SENSITIVITY_IMAGES_MAX: usize = 128;

impl Calibrator<'_, '_> {
    /// Tries the powers, keeps the ranges whose int8 graph is nearest to fp32, and returns how far that is, in nats. `observed` is of all images.
    pub(super) fn choose_ranges(&mut self, observed: &Observed, calibration: &mut Calibration) -> Result<f64, Error> {
        let trial = self.spread(TRIAL_IMAGES_MAX);
        let images: Vec<&[f32]> = trial.iter().map(|i| self.job.images[*i].as_slice()).collect();
        let exact: Vec<Vec<f32>> = trial.iter().map(|i| observed.outputs[*i].clone()).collect();
        let mut best: Option<(f64, f64, Vec<ValueRange>)> = None;
        for (number, power) in RANGE_POWERS.into_iter().enumerate() {
            calibration.ranges = self.ranges(observed, power);
            let outputs = self.outputs(calibration, &images)?;
            let divergence = compare(&exact, &outputs, self.job.probabilities).kl_divergence;
            if best.as_ref().is_none_or(|(least, ..)| divergence < *least) {
                best = Some((divergence, power, calibration.ranges.clone()));
            }
            (self.progress)(Stage::Comparing, number + 1, RANGE_POWERS.len());
        }
        let Some((divergence, power, ranges)) = best else {
            return Ok(f64::INFINITY);
        };
        calibration.range_power = power;
        calibration.ranges = ranges;
        Ok(divergence)
    }

    /// The ranges that minimise the error to a power.
    pub(super) fn ranges(&self, observed: &Observed, power: f64) -> Vec<ValueRange> {
        let values = observe::watched(&self.layers);
        let by_error = self.job.takes(Step::Ranges);
        let slots: Vec<_> = values
            .iter()
            .map(|value| {
                let value_name = self.model.graph.value(*value).name.clone();
                Mutex::new((
                    value,
                    ValueRange {
                        value: value_name,
                        range: Range { low: 0.0, high: 0.0 },
                    },
                ))
            })
            .collect();
        parallel::for_each(0..slots.len(), |i| {
            let mut slot = observe::lock(&slots[i]);
            if let Some(histogram) = observed.histograms.get(slot.0) {
                slot.1.range = match by_error {
                    true => histogram.range(power),
                    false => histogram.whole(),
                };
            }
        });
        slots.into_iter().map(|slot| observe::into_inner(slot).1).collect()
    }

    /// What the fp32 graph returns.
    pub(super) fn exact(&self, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, Error> {
        let mut runner = observe::load_with_outputs(&self.model, &[], self.load)?;
        let output = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut runner, image, 1)?[0].data));
        images.iter().map(output).collect()
    }

    /// What the int8 graph returns.
    pub(super) fn outputs(&self, calibration: &Calibration, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, Error> {
        let int8 = rewrite(self.model.clone(), calibration)?;
        let mut runner = observe::load_with_outputs(&int8, &[], self.load)?;
        let output = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut runner, image, 1)?[0].data));
        images.iter().map(output).collect()
    }

    /// Measures the folds on images that they were calibrated without; below the goal, the layers that hurt most are to stay in fp32.
    pub(super) fn reach_goal(
        &mut self,
        material: Material<'_>,
        folds: &mut [Fold],
        calibration: &mut Calibration,
    ) -> Result<Vec<usize>, Error> {
        let Material { observed, shares, .. } = material;
        let among = self.spread(SENSITIVITY_IMAGES_MAX);
        let exact: Vec<Vec<f32>> = among.iter().map(|i| observed.outputs[*i].clone()).collect();
        let seen = themselves(&among);
        let start = self.left_out_outputs(folds, &[], &seen)?;
        let start = compare(&exact, &start, self.job.probabilities);
        if self.job.goal.is_reached(&start) {
            return Ok(Vec::new());
        }
        let trial = FinerTrial {
            exact: &exact,
            seen: &seen,
            start,
        };
        let start = self.finer(material, &trial, folds, calibration)?;
        let in_fp32 = calibration.in_fp32();
        if self.job.goal.is_reached(&start) {
            return Ok(in_fp32);
        }
        let spent: f64 = in_fp32.iter().map(|layer| shares[*layer]).sum();
        let goal = Goal {
            fp32_share_max: (self.job.goal.fp32_share_max - spent).max(0.0),
            ..self.job.goal
        };
        let folds = &*folds;
        let mut sets = sensitivity::with_readers(&self.layers);
        if !in_fp32.is_empty() {
            // A layer in fp32 among those that are finer would part what is computed together.
            let pairs = finer::pairs(&self.model.graph, &self.layers);
            let among = |layer: &usize| pairs.iter().any(|pair| pair.layers().contains(&Some(*layer)));
            sets.retain(|set| !set.iter().any(among));
        }
        let mut done = 0;
        let (candidates, chosen) = sensitivity::choose(shares, &sets, &goal, start, &mut |fp32| {
            let outputs = self.left_out_outputs(folds, fp32, &seen)?;
            done += 1;
            (self.progress)(Stage::Sensitivity, done.min(shares.len()), shares.len());
            Ok(compare(&exact, &outputs, self.job.probabilities))
        })?;
        for Candidate { layer, gain_db } in candidates {
            calibration.layers[layer].gain_if_fp32_db = Some(rounded(gain_db));
        }
        Ok([in_fp32, chosen].concat())
    }

    /// Each layer's share of all multiplications.
    pub(super) fn shares(&self, observed: &Observed) -> Vec<f64> {
        let layers = self.layers.iter().zip(&observed.sizes);
        let costs: Vec<f64> = layers.map(|(layer, size)| (layer.columns * size) as f64).collect();
        let all = costs.iter().sum::<f64>().max(1.0);
        costs.iter().map(|cost| cost / all).collect()
    }
}

/// A share, with four digits after the point.
pub(super) fn rounded_share(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

/// Two digits after the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
