//! What is decided by running int8 graphs: the ranges, the layers that stay in fp32, and each layer's noise.

use std::sync::Mutex;

use repserve_graph::onnx;
use repserve_graph::{Model, ValueId, parallel};

use super::calibrator::Calibrator;
use crate::calibration::{Calibration, Precision, ValueRange};
use crate::error::Error;
use crate::gate::{Snr, compare};
use crate::job::Stage;
use crate::observe::{self, Observed};
use crate::range::Range;
use crate::rewrite::{rewrite, rewrite_exposing};
use crate::sensitivity::{self, Candidate};

/// The powers of the error that ranges are tried with; the one with the least divergence of the outputs stays.
pub(super) const RANGE_POWERS: [f64; 3] = [2.0, 1.5, 3.0];
/// Images that the choice of the power is measured on, at most.
const TRIAL_IMAGES_MAX: usize = 96;

impl Calibrator<'_, '_> {
    /// Tries the powers, keeps the ranges whose int8 graph is nearest to fp32, and returns how far that is, in nats.
    pub(super) fn choose_ranges(&mut self, observed: &Observed, calibration: &mut Calibration) -> Result<f64, Error> {
        let step = self.job.images.len().div_ceil(TRIAL_IMAGES_MAX).max(1);
        let trial: Vec<usize> = (0..self.job.images.len()).step_by(step).collect();
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
            (self.progress)(Stage::Comparing, number + 1, RANGE_POWERS.len() + 1);
        }
        let Some((divergence, power, ranges)) = best else {
            return Ok(f64::INFINITY);
        };
        calibration.range_power = power;
        calibration.ranges = ranges;
        Ok(divergence)
    }

    fn ranges(&self, observed: &Observed, power: f64) -> Vec<ValueRange> {
        let values = observe::watched(&self.layers);
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
                slot.1.range = histogram.range(power);
            }
        });
        slots.into_iter().map(|slot| observe::into_inner(slot).1).collect()
    }

    /// What the int8 graph returns.
    fn outputs(&self, calibration: &Calibration, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, Error> {
        let int8 = rewrite(self.model.clone(), calibration)?;
        let mut runner = observe::load_with_outputs(&int8, &[], self.load)?;
        let output = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut runner, image, 1)?[0].data));
        images.iter().map(output).collect()
    }

    /// Measures on the held-out images and, below the goal, puts the layers that hurt most into fp32.
    pub(super) fn reach_goal(&mut self, observed: &Observed, calibration: &mut Calibration) -> Result<(), Error> {
        let images: Vec<&[f32]> = self.job.held_out.iter().map(Vec::as_slice).collect();
        let mut runner = observe::load_with_outputs(&self.model, &[], self.load)?;
        let output = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut runner, image, 1)?[0].data));
        let exact: Vec<Vec<f32>> = images.iter().map(output).collect::<Result<_, Error>>()?;
        let start = compare(&exact, &self.outputs(calibration, &images)?, self.job.probabilities);
        calibration.held_out = start;
        (self.progress)(Stage::Comparing, RANGE_POWERS.len() + 1, RANGE_POWERS.len() + 1);
        if self.job.goal.is_reached(&start) {
            return Ok(());
        }
        let costs: Vec<f64> = self
            .layers
            .iter()
            .zip(&observed.sizes)
            .map(|(layer, size)| (layer.columns * size) as f64)
            .collect();
        let all = costs.iter().sum::<f64>().max(1.0);
        let shares: Vec<f64> = costs.iter().map(|c| c / all).collect();
        let mut done = 0;
        let (candidates, chosen, reached) = sensitivity::choose(&shares, &self.job.goal, start, &mut |fp32| {
            let mut trial = calibration.clone();
            fp32.iter().for_each(|i| trial.layers[*i].precision = Precision::Fp32);
            let outputs = self.outputs(&trial, &images)?;
            done += 1;
            (self.progress)(Stage::Sensitivity, done.min(shares.len()), shares.len());
            Ok(compare(&exact, &outputs, self.job.probabilities))
        })?;
        for Candidate { layer, gain_db, .. } in candidates {
            calibration.layers[layer].gain_if_fp32_db = Some(rounded(gain_db));
        }
        for layer in chosen {
            let record = &mut calibration.layers[layer];
            record.precision = Precision::Fp32;
            record.bias_correction.clear();
            record.rounding.clear();
        }
        calibration.held_out = reached;
        Ok(())
    }

    /// Each quantized layer's signal-to-noise ratio on the held-out images.
    pub(super) fn layer_noise(&mut self, base: &Model, calibration: &mut Calibration) -> Result<(), Error> {
        let int8: Vec<usize> = (0..self.layers.len())
            .filter(|i| calibration.layers[*i].precision == Precision::Int8)
            .collect();
        let values: Vec<ValueId> = int8.iter().map(|i| self.layers[*i].output).collect();
        let own = self.model.graph.outputs.len();
        let fresh: Vec<ValueId> = values
            .iter()
            .copied()
            .filter(|v| !base.graph.outputs.contains(v))
            .collect();
        let mut exact = observe::load_with_outputs(base, &fresh, self.load)?;
        let noisy = rewrite_exposing(self.model.clone(), calibration, true)?;
        let mut noisy = (self.load)(&onnx::write(noisy)?).map_err(Error::Run)?;
        let mut noise = vec![Snr::default(); self.layers.len()];
        let places: Vec<(usize, usize)> = int8
            .iter()
            .map(|i| {
                let output = self.layers[*i].output;
                let among = |list: &[ValueId]| list.iter().position(|v| *v == output);
                let place = among(&base.graph.outputs).unwrap_or_else(|| own + among(&fresh).unwrap_or(0));
                (*i, place)
            })
            .collect();
        for image in self.job.held_out {
            let count = own + fresh.len();
            let (exact, noisy) = (
                observe::run(&mut exact, image, count)?,
                observe::run(&mut noisy, image, count)?,
            );
            for (layer, place) in &places {
                noise[*layer].add(&exact[*place].data, &noisy[*place].data);
            }
        }
        for (layer, _) in places {
            calibration.layers[layer].snr_db = rounded(noise[layer].db());
        }
        Ok(())
    }
}

/// Two digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
