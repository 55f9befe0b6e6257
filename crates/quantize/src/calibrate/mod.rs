//! From images to a [`Calibration`]: the order of the steps. [`calibrator`] holds what they share, [`measure`] runs the fp32 graph,
//! [`round`] decides the weights, [`search`] runs int8 graphs, [`cross_validate`] those that some images were left out of.

mod calibrator;
mod cross_validate;
mod finer;
mod measure;
mod powers;
mod round;
mod search;

use std::collections::BTreeMap;

use repserve_graph::Model;

use calibrator::Calibrator;
use cross_validate::{FOLDS, themselves};
use measure::{Channels, together};
use powers::{EQUALIZATION_POWERS, Powers, RANGE_POWERS};

use crate::agreement::compare;
use crate::calibration::{Calibration, Images, LayerRecord, Precision, Returns};
use crate::equalize;
use crate::error::Error;
use crate::evidence::Evidence;
use crate::job::{Job, Load, Progress};
use crate::layers::{Layer, layers};
use crate::observe::{self, Observed};
use crate::rewrite::equalize_all;
use crate::step::Step;

/// Memory for the moments of layers that are rounded at a time.
const MOMENT_BYTES_MAX: usize = 512 << 20;
/// The fewest images that a calibration is made without.
const LEFT_OUT_MIN: usize = 2;

/// Calibrates a deploy graph on all images, and cross-validates how that does on images that were not calibrated on.
///
/// # Errors
/// A graph without a layer to quantize, too few images, or what `load` and its runners report.
pub fn calibrate(job: &Job<'_>, load: &Load<'_>, progress: &mut Progress<'_>) -> Result<Calibration, Error> {
    let model = job.deploy.clone();
    let layers = layers(&model);
    if layers.is_empty() {
        return Err(Error::NothingToDo);
    }
    let (found, wanted) = (job.images.len(), FOLDS * LEFT_OUT_MIN);
    if found < wanted {
        return Err(Error::TooFewImages { found, wanted });
    }
    let mut calibrator = Calibrator {
        job,
        load,
        model,
        layers,
        progress,
    };
    let channels = calibrator.channels()?;
    let all_channels = together(&channels);
    let Trial {
        observed,
        mut calibration,
    } = calibrator.best(&all_channels)?;
    let powers = Powers {
        equalization: calibration.equalization_power,
        range: calibration.range_power,
    };
    let mut folds = calibrator.folds(&channels, powers)?;
    let shares = calibrator.shares(&observed);
    let material = Material {
        observed: &observed,
        shares: &shares,
        channels: &all_channels,
    };
    let fp32 = calibrator.reach_goal(material, &mut folds, &mut calibration)?;
    calibration.leave_in_fp32(&fp32);
    calibration.method += &finer_words(&calibration.layers);
    let in_fp32: f64 = fp32.iter().map(|layer| shares[*layer]).sum();
    calibration.int8_share = Some(search::rounded_share(1.0 - in_fp32));
    let all = themselves(&calibrator.spread(job.images.len()));
    let int8 = calibrator.left_out_outputs(&folds, &fp32, &all)?;
    calibration.evidence = Evidence::of(FOLDS, &observed.outputs, &int8, job.labels, job.probabilities);
    calibration.evidence.views = calibrator.views(&folds, &fp32)?;
    let noise = calibrator.layer_noise(&folds, &fp32)?;
    for (record, snr_db) in calibration.layers.iter_mut().zip(noise) {
        record.snr_db = search::rounded(snr_db.unwrap_or(0.0));
        record.noise.clear();
    }
    let pictures: Vec<&[f32]> = job.pictures.iter().map(Vec::as_slice).collect();
    let (exact, int8) = (
        calibrator.exact(&pictures)?,
        calibrator.outputs(&calibration, &pictures)?,
    );
    calibration.gate.agreement = compare(&exact, &int8, job.probabilities);
    Ok(calibration)
}

/// What is done, in words.
fn method(without: &[Step]) -> String {
    let mut words = "cross-layer equalization by each channel's range; error-minimising ranges; weights per channel, no neighbours of one \
                     sign above 128, rounded by the inputs' covariance; bias correction"
        .to_owned();
    for (i, step) in without.iter().enumerate() {
        words += if i == 0 { "; left out: " } else { ", " };
        words += step.label();
    }
    words
}

/// What is finer than 8 bits, in words; none where nothing is.
fn finer_words(layers: &[LayerRecord]) -> String {
    let count = |returns| layers.iter().filter(|layer| layer.returns == returns).count();
    let (pairs, values) = (count(Returns::Fp32), count(Returns::Uint16));
    let channels: usize = layers.iter().map(|layer| layer.channels_16_bit.len()).sum();
    if pairs == 0 {
        return String::new();
    }
    format!(
        "; depthwise convolutions in f32 of what is not quantized: {pairs}; channels with weights of 16 bits: {channels}, values of 16 bits: {values}"
    )
}

/// What layers are chosen by.
#[derive(Clone, Copy)]
struct Material<'a> {
    /// Distributions over all images.
    observed: &'a Observed,
    /// Each layer's share of the multiplications.
    shares: &'a [f64],
    /// What channels hold over all images.
    channels: &'a Channels,
}

/// A calibration but for the layers in fp32, and what it was made from.
struct Trial {
    observed: Observed,
    calibration: Calibration,
}

impl Calibrator<'_, '_> {
    /// The calibration on all images whose int8 outputs are nearest to fp32's.
    fn best(&mut self, channels: &Channels) -> Result<Trial, Error> {
        let images = self.spread(self.job.images.len());
        let mut best: Option<(f64, Trial)> = None;
        for power in EQUALIZATION_POWERS {
            let mut calibration = self.equalized(channels, power);
            let exponents = |c: &Calibration| c.layers.iter().map(|l| l.equalization.clone()).collect::<Vec<_>>();
            if best
                .as_ref()
                .is_some_and(|(_, trial)| exponents(&trial.calibration) == exponents(&calibration))
            {
                continue;
            }
            let (_, observed) = self.rounded(&images, channels, &mut calibration)?;
            let divergence = self.choose_ranges(&observed, &mut calibration)?;
            if best.as_ref().is_none_or(|(least, _)| divergence < *least) {
                best = Some((divergence, Trial { observed, calibration }));
            }
        }
        best.map(|(_, trial)| trial).ok_or(Error::NothingToDo)
    }

    /// A calibration on some images, by their places, with powers that are known; the equalized graph and its distributions.
    fn fit(
        &mut self,
        images: &[usize],
        channels: &Channels,
        powers: Powers,
    ) -> Result<(Model, Calibration, Observed), Error> {
        let mut calibration = self.equalized(channels, powers.equalization);
        let (base, observed) = self.rounded(images, channels, &mut calibration)?;
        calibration.range_power = powers.range;
        calibration.ranges = self.ranges(&observed, powers.range);
        Ok((base, calibration, observed))
    }

    /// Decides roundings and biases for channels that are equalized as `calibration` says; returns the equalized graph and its distributions.
    fn rounded(
        &mut self,
        images: &[usize],
        channels: &Channels,
        calibration: &mut Calibration,
    ) -> Result<(Model, Observed), Error> {
        let mut base = self.model.clone();
        equalize_all(&mut base.graph, &self.layers, calibration)?;
        let job = self.job;
        let images: Vec<&[f32]> = images.iter().map(|i| job.images[*i].as_slice()).collect();
        let observed = self.observe(&base, calibration, &channels.extremes, &images)?;
        for pass in observe::passes(&self.layers, MOMENT_BYTES_MAX) {
            self.round(&base, pass, &images, calibration)?;
        }
        Ok((base, observed))
    }

    /// A calibration that knows only the factors of the cross-layer equalization.
    fn equalized(&self, channels: &Channels, power: f64) -> Calibration {
        let ends = |layer: &Layer| Some((layer.name.clone(), channels.spread.get(&layer.output)?.ends()));
        let scaled = self.layers.iter().filter(|_| self.job.takes(Step::Equalization));
        let ends: BTreeMap<String, Vec<f32>> = scaled.filter_map(ends).collect();
        let mut exponents = equalize::exponents(&self.model.graph, &self.layers, &ends, power);
        let record = |layer: &Layer| LayerRecord {
            layer: layer.name.clone(),
            precision: Precision::Int8,
            snr_db: 0.0,
            gain_if_fp32_db: None,
            equalization: exponents.remove(&layer.name).unwrap_or_default(),
            bias_correction: Vec::new(),
            rounding: String::new(),
            returns: Returns::Uint8,
            channels_16_bit: Vec::new(),
            noise: Vec::new(),
        };
        Calibration {
            format: Calibration::format(),
            written_by: format!("repserve {}", env!("CARGO_PKG_VERSION")),
            quantized_sums: self.job.takes(Step::Sums),
            int8_share: None,
            method: method(self.job.without),
            model_sha256: self.job.model_sha256.clone(),
            images: Images {
                count: self.job.images.len(),
                sha256: self.job.images_sha256.clone(),
            },
            equalization_power: power,
            range_power: RANGE_POWERS[0],
            evidence: Evidence::default(),
            ranges: Vec::new(),
            layers: self.layers.iter().map(record).collect(),
            gate: self.job.gate.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(returns: Returns, channels_16_bit: Vec<usize>) -> LayerRecord {
        LayerRecord {
            layer: String::new(),
            precision: Precision::Int8,
            snr_db: 0.0,
            gain_if_fp32_db: None,
            equalization: Vec::new(),
            bias_correction: Vec::new(),
            rounding: String::new(),
            returns,
            channels_16_bit,
            noise: Vec::new(),
        }
    }

    #[test]
    fn the_method_says_what_is_finer() {
        assert_eq!(finer_words(&[record(Returns::Uint8, Vec::new())]), "");
        let layers = [
            record(Returns::Fp32, vec![1, 5]),
            record(Returns::Uint16, Vec::new()),
            record(Returns::Fp32, vec![0]),
        ];
        assert_eq!(
            finer_words(&layers),
            "; depthwise convolutions in f32 of what is not quantized: 2; channels with weights of 16 bits: 3, values of 16 bits: 1"
        );
    }
}
