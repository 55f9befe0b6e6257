//! int8 graphs that are each calibrated without a part of the images, and what they return for it.

use repserve_graph::{Model, ValueId, onnx};

use super::calibrator::Calibrator;
use super::measure::{Channels, together};
use super::powers::Powers;
use crate::agreement::Snr;
use crate::calibration::{Calibration, Precision};
use crate::error::Error;
use crate::job::Stage;
use crate::observe;
use crate::rewrite::{rewrite, rewrite_exposing};

/// Parts of the images that are left out in turn.
pub(super) const FOLDS: usize = 4;
/// Images that layers' noise is measured on, at most.
const NOISE_IMAGES_MAX: usize = 128;

/// A calibration that was made without some images.
pub(super) struct Fold {
    /// The graph after equalization.
    base: Model,
    pub(super) calibration: Calibration,
    /// The images that were left out, by their places.
    left_out: Vec<usize>,
}

impl Calibrator<'_, '_> {
    /// A calibration for each part of the images that is left out: ranges, roundings, biases and factors of the others alone. Only the powers, of
    /// which there are few, are those that all images chose.
    pub(super) fn folds(&mut self, channels: &[Channels], powers: Powers) -> Result<Vec<Fold>, Error> {
        let count = self.job.images.len();
        let mut folds = Vec::with_capacity(FOLDS);
        for number in 0..FOLDS {
            let (left_out, images): (Vec<usize>, Vec<usize>) = (0..count).partition(|i| i % FOLDS == number);
            let others = channels.iter().enumerate().filter(|(i, _)| *i != number);
            let channels = together(others.map(|(_, part)| part));
            let (base, calibration) = self.fit(&images, &channels, powers)?;
            folds.push(Fold {
                base,
                calibration,
                left_out,
            });
            (self.progress)(Stage::CrossValidation, number + 1, FOLDS);
        }
        Ok(folds)
    }

    /// What the folds' int8 graphs, with some layers in fp32, return for the images `among` that they were calibrated without; in the order of
    /// `among`, which ascends.
    pub(super) fn left_out_outputs(
        &self,
        folds: &[Fold],
        fp32: &[usize],
        among: &[usize],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut rows = vec![Vec::new(); among.len()];
        for fold in folds {
            let mut calibration = fold.calibration.clone();
            calibration.leave_in_fp32(fp32);
            let int8 = rewrite(self.model.clone(), &calibration)?;
            let mut runner = observe::load_with_outputs(&int8, &[], self.load)?;
            for (row, image) in rows.iter_mut().zip(among) {
                if fold.left_out.binary_search(image).is_ok() {
                    let mut outputs = observe::run(&mut runner, &self.job.images[*image], 1)?;
                    *row = std::mem::take(&mut outputs[0].data);
                }
            }
        }
        Ok(rows)
    }

    /// The signal-to-noise ratio, dB, of every layer that is in int8, on the images that were left out.
    pub(super) fn layer_noise(&self, folds: &[Fold], fp32: &[usize]) -> Result<Vec<Option<f64>>, Error> {
        let mut noise = vec![Snr::default(); self.layers.len()];
        let int8: Vec<usize> = (0..self.layers.len()).filter(|i| !fp32.contains(i)).collect();
        for fold in folds {
            let mut calibration = fold.calibration.clone();
            calibration.leave_in_fp32(fp32);
            self.add_noise(fold, &calibration, &int8, &mut noise)?;
        }
        let db = |(i, snr): (usize, &Snr)| int8.contains(&i).then(|| snr.db());
        Ok(noise.iter().enumerate().map(db).collect())
    }

    fn add_noise(
        &self,
        fold: &Fold,
        calibration: &Calibration,
        int8: &[usize],
        noise: &mut [Snr],
    ) -> Result<(), Error> {
        let graph = &fold.base.graph;
        let own = graph.outputs.len();
        let outputs = int8.iter().map(|i| self.layers[*i].output);
        let fresh: Vec<ValueId> = outputs.filter(|v| !graph.outputs.contains(v)).collect();
        let mut exact = observe::load_with_outputs(&fold.base, &fresh, self.load)?;
        let noisy = rewrite_exposing(self.model.clone(), calibration, true)?;
        let mut noisy = (self.load)(&onnx::write(noisy)?).map_err(Error::Run)?;
        let place = |layer: usize| {
            let among = |list: &[ValueId]| list.iter().position(|v| *v == self.layers[layer].output);
            among(&graph.outputs).unwrap_or_else(|| own + among(&fresh).unwrap_or(0))
        };
        let places: Vec<(usize, usize)> = int8.iter().map(|i| (*i, place(*i))).collect();
        let count = own + fresh.len();
        for image in fold.left_out.iter().take(NOISE_IMAGES_MAX / FOLDS) {
            let image = &self.job.images[*image];
            let (exact, noisy) = (
                observe::run(&mut exact, image, count)?,
                observe::run(&mut noisy, image, count)?,
            );
            for (layer, place) in &places {
                noise[*layer].add(&exact[*place].data, &noisy[*place].data);
            }
        }
        Ok(())
    }
}

impl Calibration {
    /// Leaves layers in fp32.
    pub(super) fn leave_in_fp32(&mut self, layers: &[usize]) {
        for layer in layers {
            let record = &mut self.layers[*layer];
            record.precision = Precision::Fp32;
            record.bias_correction.clear();
            record.rounding.clear();
        }
    }
}
