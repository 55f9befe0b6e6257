//! What is finer than 8 bits, where int8 alone falls short: all pairs of a layer and a depthwise convolution first, then values of 16 bits, one by one.

use repserve_graph::Graph;

use super::Material;
use super::calibrator::Calibrator;
use super::cross_validate::{Fold, Seen};
use super::measure::Channels;
use crate::agreement::{Agreement, compare};
use crate::calibration::{Calibration, Returns};
use crate::error::Error;
use crate::finer::{self, HEADROOM, Pair};
use crate::job::Stage;
use crate::layers::Layer;
use crate::magnitudes::Magnitudes;
use crate::observe::Observed;
use crate::rewrite::FINER_OPSET_MIN;
use crate::sensitivity::GAIN_MIN_DB;
use crate::step::Step;

/// Share of the multiplications that values of 16 bits may add.
const WIDE_SHARE_MAX: f64 = 0.25;

/// What trials are compared with.
pub(super) struct FinerTrial<'a> {
    /// What fp32 returns.
    pub(super) exact: &'a [Vec<f32>],
    /// For what.
    pub(super) seen: &'a [Seen],
    /// What is reached so far.
    pub(super) start: Agreement,
}

impl Calibrator<'_, '_> {
    /// The largest value that each layer returned.
    pub(super) fn highest(&self, observed: &Observed) -> Vec<f32> {
        let highest = |value| {
            observed
                .histograms
                .get(value)
                .map_or(0.0, |histogram| histogram.whole().high)
        };
        self.layers.iter().map(|layer| highest(&layer.output)).collect()
    }

    /// Makes finer what helps, in the calibration and in the folds. Returns what is reached with it.
    pub(super) fn finer(
        &mut self,
        material: Material<'_>,
        trial: &FinerTrial<'_>,
        folds: &mut [Fold],
        calibration: &mut Calibration,
    ) -> Result<Agreement, Error> {
        let pairs = finer::pairs(&self.model.graph, &self.layers);
        let share: f64 = pairs.iter().map(|pair| material.shares[pair.depthwise]).sum();
        let too_old = self.model.opset() < FINER_OPSET_MIN;
        if pairs.is_empty() || too_old || !self.job.takes(Step::Finer) || share > self.job.goal.fp32_share_max {
            return Ok(trial.start);
        }
        let mut base = self.model.clone();
        crate::rewrite::equalize_all(&mut base.graph, &self.layers, calibration)?;
        self.make_finer(&base.graph, &pairs, &self.active(material.channels), calibration);
        for fold in folds.iter_mut() {
            self.make_finer(&fold.base.graph, &pairs, &fold.active, &mut fold.calibration);
        }
        let reached = self.reached(trial, folds)?;
        if self.job.goal.is_reached(&reached) || !self.job.takes(Step::Values16) {
            return Ok(reached);
        }
        let highest = self.highest(material.observed);
        self.widen(material.shares, trial, &pairs, reached, folds, &mut |layer| {
            calibration.returns(layer, Returns::Uint16, HEADROOM * highest[layer]);
        })
    }

    /// How often the channels of what each layer returns are not zero, in a unit that a layer's channels share.
    pub(super) fn active(&self, channels: &Channels) -> Vec<Vec<f64>> {
        let counts = |layer: &Layer| {
            channels
                .spread
                .get(&layer.output)
                .map_or_else(Vec::new, Magnitudes::counts)
        };
        self.layers.iter().map(counts).collect()
    }

    /// Makes all pairs of an equalized graph finer, the channels with weights of 16 bits by what `calibration` and `active` know of them.
    fn make_finer(&self, graph: &Graph, pairs: &[Pair], active: &[Vec<f64>], calibration: &mut Calibration) {
        let channels = match self.job.takes(Step::Weights16) {
            true => finer::channels(graph, &self.layers, pairs, &calibration.layers, active),
            false => vec![Vec::new(); pairs.len()],
        };
        calibration.make_finer(pairs, &channels);
    }

    fn reached(&self, trial: &FinerTrial<'_>, folds: &[Fold]) -> Result<Agreement, Error> {
        let outputs = self.left_out_outputs(folds, &[], trial.seen)?;
        Ok(compare(trial.exact, &outputs, self.job.probabilities))
    }

    /// Tries 16 bits for each value that a depthwise convolution returns, then takes those that help most for the multiplications that they add, as long as each helps.
    fn widen(
        &mut self,
        shares: &[f64],
        trial: &FinerTrial<'_>,
        pairs: &[Pair],
        mut reached: Agreement,
        folds: &mut [Fold],
        take: &mut dyn FnMut(usize),
    ) -> Result<Agreement, Error> {
        let candidates: Vec<(usize, usize)> = pairs
            .iter()
            .filter_map(|pair| Some((pair.depthwise, pair.reader?)))
            .collect();
        let noise = |agreement: &Agreement| 10f64.powf(-agreement.snr_db / 10.0);
        let mut ranked = Vec::new();
        for (number, (depthwise, reader)) in candidates.iter().enumerate() {
            let before = widen_in(folds, *depthwise);
            let found = self.reached(trial, folds)?;
            narrow_in(folds, *depthwise, &before);
            let rate = (noise(&reached) - noise(&found)) / shares[*reader].max(1e-9);
            ranked.push((rate, *depthwise, *reader));
            (self.progress)(Stage::Sensitivity, number + 1, candidates.len());
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut spent = 0.0;
        for (_, depthwise, reader) in ranked {
            if self.job.goal.is_reached(&reached) || spent + shares[reader] > WIDE_SHARE_MAX {
                continue;
            }
            let before = widen_in(folds, depthwise);
            let found = self.reached(trial, folds)?;
            if found.snr_db < reached.snr_db + GAIN_MIN_DB {
                narrow_in(folds, depthwise, &before);
                continue;
            }
            take(depthwise);
            spent += shares[reader];
            reached = found;
        }
        Ok(reached)
    }
}

/// Gives what a layer returns 16 bits in all folds; returns the ends of the ranges that it had.
fn widen_in(folds: &mut [Fold], layer: usize) -> Vec<f32> {
    let widen = |fold: &mut Fold| {
        let before = fold.calibration.high(layer);
        fold.calibration
            .returns(layer, Returns::Uint16, HEADROOM * fold.highest[layer]);
        before
    };
    folds.iter_mut().map(widen).collect()
}

fn narrow_in(folds: &mut [Fold], layer: usize, before: &[f32]) {
    for (fold, high) in folds.iter_mut().zip(before) {
        fold.calibration.returns(layer, Returns::Uint8, *high);
    }
}
