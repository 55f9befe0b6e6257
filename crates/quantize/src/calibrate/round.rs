//! Which way weights are rounded, and what biases make up for, layer by layer.

use std::ops::Range;
use std::sync::Mutex;

use repserve_graph::{Model, parallel};

use super::calibrator::Calibrator;
use crate::calibration::{Calibration, LayerRecord};
use crate::error::Error;
use crate::job::Stage;
use crate::layers::Layer;
use crate::moments::{Block, Moments};
use crate::step::Step;
use crate::{directions, observe, packed, rounding, scale};

impl Calibrator<'_, '_> {
    /// Decides the rounding of the weights of some layers, and what their biases make up for.
    pub(super) fn round(
        &mut self,
        base: &Model,
        pass: Range<usize>,
        images: &[&[f32]],
        calibration: &mut Calibration,
    ) -> Result<(), Error> {
        let layers = &self.layers[pass.clone()];
        let progress = &mut self.progress;
        let moments = observe::moments(base, layers, images, self.load, &mut |done| {
            progress(Stage::Distributions, done, images.len());
        })?;
        let (start, total) = (pass.start, self.layers.len());
        let steps = RoundingSteps {
            by_moments: self.job.takes(Step::Rounding),
            correct_bias: self.job.takes(Step::Bias),
        };
        let done = Mutex::new(start);
        let slots: Vec<_> = calibration.layers[pass].iter_mut().map(Mutex::new).collect();
        let progress = Mutex::new(&mut self.progress);
        parallel::for_each(0..layers.len(), |i| {
            round_layer(base, &layers[i], &moments[i], steps, &mut observe::lock(&slots[i]));
            let mut done = observe::lock(&done);
            *done += 1;
            observe::lock(&progress)(Stage::Rounding, *done, total);
        });
        Ok(())
    }
}

/// Which steps are taken.
#[derive(Debug, Clone, Copy)]
struct RoundingSteps {
    by_moments: bool,
    correct_bias: bool,
}

/// Rounding and bias correction of one layer.
fn round_layer(base: &Model, layer: &Layer, moments: &Moments, take: RoundingSteps, record: &mut LayerRecord) {
    let weights = layer.weights(&base.graph);
    let scales = scale::scales(&weights, layer.columns, layer.taps());
    let steps = rounding::steps(&weights, &scales, layer.columns);
    let up = match take.by_moments {
        true => rounding::round(&steps, layer.columns, layer.groups, moments),
        false => rounding::nearest(&steps),
    };
    let mut correction = vec![0.0f64; layer.rows];
    record.noise = vec![0.0; layer.rows];
    for block in &moments.blocks {
        add_noise(layer, block, &[&weights, &steps], &scales, &up, &mut record.noise);
    }
    let rows_per_group = layer.rows / layer.groups;
    for block in moments.blocks.iter().filter(|_| take.correct_bias) {
        let means: Vec<f64> = block.means().collect();
        for row in block.group * rows_per_group..(block.group + 1) * rows_per_group {
            let unit = f64::from(scales[row]);
            for (column, mean) in means.iter().enumerate() {
                let i = row * layer.columns + block.start + column;
                let quantized = f64::from(rounding::quantized(weights[i] / unit, up[i]));
                correction[row] += (weights[i] - quantized * unit) * mean;
            }
        }
    }
    record.bias_correction = packed::rounded(correction);
    record.rounding = directions::encode(&up, &steps);
}

/// The variances that rounding the weights of a block adds to the rows' outputs: δᵀ·H·δ of their errors δ and the inputs' covariance H. `weights` are as
/// they are and in steps.
fn add_noise(layer: &Layer, block: &Block, weights: &[&[f64]; 2], scales: &[f32], up: &[bool], noise: &mut [f64]) {
    let (n, covariance) = (block.len(), block.covariance());
    let rows_per_group = layer.rows / layer.groups;
    for row in block.group * rows_per_group..(block.group + 1) * rows_per_group {
        let first = row * layer.columns + block.start;
        let unit = f64::from(scales[row]);
        let error = |i: usize| weights[0][i] - unit * f64::from(rounding::quantized(weights[1][i], up[i]));
        let errors: Vec<f64> = (first..first + n).map(error).collect();
        let moved = covariance.chunks_exact(n).zip(&errors);
        noise[row] += moved
            .map(|(line, error)| error * line.iter().zip(&errors).map(|(h, e)| h * e).sum::<f64>())
            .sum::<f64>();
    }
}
