//! From images to a [`Calibration`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use bytes::Bytes;

use crate::graph::{Model, ValueId};
use crate::onnx::{self, ExternalData};

use super::calibration::{Calibration, GateImages, Images, LayerRecord, Precision, ValueRange};
use super::gate::{Agreement, Snr, compare};
use super::layers::{Layer, layers};
use super::observe::{self, Bounds, Observed};
use super::rewrite::{equalize_all, rewrite, rewrite_exposing};
use super::sensitivity::{self, Candidate};
use super::{Error, bits, equalize, rounding, scale};

pub use super::sensitivity::Goal;

/// The powers of the error that ranges are tried with; the one with the least divergence of the answers stays.
const RANGE_POWERS: [f64; 3] = [2.0, 1.5, 3.0];
/// The fewest images of each kind.
const IMAGES_MIN: usize = 8;
/// Images that the choice of the power is measured on, at most.
const TRIAL_IMAGES_MAX: usize = 96;

/// One tensor that came out of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f32>,
}

/// A loaded graph: one image in (channels, height, width), every f32 output out, in graph order.
pub type Probe<'a> = Box<dyn FnMut(&[f32]) -> Result<Vec<Values>, String> + 'a>;

/// Loads an ONNX file.
pub type Load<'a> = dyn Fn(&[u8]) -> Result<Probe<'a>, String> + 'a;

/// Told the stage, steps done and steps in all.
pub type Progress<'a> = dyn FnMut(Stage, usize, usize) + Send + 'a;

/// What is to be calibrated, and on what.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The deploy graph, an ONNX file that holds its weights.
    pub deploy: Bytes,
    /// Hash of the model's file, in hex.
    pub model_sha256: String,
    /// Preprocessed images to calibrate on.
    pub images: &'a [Vec<f32>],
    /// Preprocessed images to measure on.
    pub held_back: &'a [Vec<f32>],
    /// Hash over all images' files, in hex.
    pub images_sha256: String,
    /// Whether the graph answers with probabilities rather than logits.
    pub probabilities: bool,
    /// What to reach.
    pub goal: Goal,
    /// What a server is to compare on.
    pub gate: GateImages,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The fp32 graph runs to find each channel's extremes.
    Extremes,
    /// The fp32 graph runs to collect distributions and moments.
    Distributions,
    /// Weights are rounded, a layer a step.
    Rounding,
    /// int8 graphs are compared with fp32.
    Comparing,
    /// Each layer's sensitivity is measured.
    Sensitivity,
}

/// Calibrates a deploy graph.
///
/// # Errors
/// A graph without a layer to quantize, too few images, or what `load` and its probes report.
pub fn calibrate(job: &Job<'_>, load: &Load<'_>, progress: &mut Progress<'_>) -> Result<Calibration, Error> {
    let model = onnx::read(job.deploy.clone(), &ExternalData::None)?;
    let layers = layers(&model.graph);
    if layers.is_empty() {
        return Err(Error::NothingToDo);
    }
    let found = job.images.len().min(job.held_back.len());
    if found < IMAGES_MIN {
        let found = job.images.len() + job.held_back.len();
        return Err(Error::TooFewImages {
            found,
            wanted: 4 * IMAGES_MIN,
        });
    }
    let mut bench = Bench {
        job,
        load,
        model,
        layers,
        progress,
    };
    let bounds = bench.extremes()?;
    let mut calibration = bench.equalized(&bounds);
    let mut base = bench.model.clone();
    equalize_all(&mut base.graph, &bench.layers, &calibration)?;
    let observed = bench.observe(&base, &calibration, &bounds)?;
    bench.round(&base, &observed, &mut calibration);
    bench.choose_ranges(&observed, &mut calibration)?;
    bench.reach_goal(&observed, &mut calibration)?;
    bench.layer_noise(&base, &mut calibration)?;
    Ok(calibration)
}

/// What all steps need.
struct Bench<'a, 'l> {
    job: &'a Job<'a>,
    load: &'a Load<'l>,
    model: Model,
    layers: Vec<Layer>,
    progress: &'a mut Progress<'a>,
}

impl Bench<'_, '_> {
    /// Smallest and largest value of each channel of each watched value.
    fn extremes(&mut self) -> Result<HashMap<ValueId, Bounds>, Error> {
        let values = observe::watched(&self.layers);
        let own = self.model.graph.outputs.len();
        let mut probe = observe::probe(&self.model, &values, self.load)?;
        let mut bounds: HashMap<ValueId, Bounds> = HashMap::new();
        let total = self.job.images.len();
        for (number, image) in self.job.images.iter().enumerate() {
            let seen = observe::run(&mut probe, image, own + values.len())?;
            for (value, seen) in values.iter().zip(&seen[own..]) {
                observe::widen(bounds.entry(*value).or_default(), seen);
            }
            (self.progress)(Stage::Extremes, number + 1, total);
        }
        Ok(bounds)
    }

    /// A calibration that knows only the factors that even out the channels.
    fn equalized(&self, bounds: &HashMap<ValueId, Bounds>) -> Calibration {
        let most = |layer: &Layer| {
            let bounds = bounds.get(&layer.output).into_iter().flatten();
            (layer.name.clone(), bounds.map(|[low, high]| high.max(-low)).collect())
        };
        let most: BTreeMap<String, Vec<f32>> = self.layers.iter().map(most).collect();
        let mut exponents = equalize::exponents(&self.model.graph, &self.layers, &most);
        let record = |layer: &Layer| LayerRecord {
            layer: layer.name.clone(),
            precision: Precision::Int8,
            snr_db: 0.0,
            gain_if_fp32_db: None,
            equalization: exponents.remove(&layer.name).unwrap_or_default(),
            bias_correction: Vec::new(),
            rounding: String::new(),
        };
        Calibration {
            format: Calibration::format(),
            written_by: format!("repserve {}", env!("CARGO_PKG_VERSION")),
            method: "channels evened out by powers of two; error-minimising ranges; weights per channel, no neighbours of one \
                     sign above 128, rounded by the inputs' covariance; bias correction"
                .to_owned(),
            model_sha256: self.job.model_sha256.clone(),
            images: Images {
                calibration: self.job.images.len(),
                held_back: self.job.held_back.len(),
                sha256: self.job.images_sha256.clone(),
            },
            range_power: RANGE_POWERS[0],
            held_back: Agreement::default(),
            ranges: Vec::new(),
            layers: self.layers.iter().map(record).collect(),
            gate: self.job.gate.clone(),
        }
    }

    /// The second look, at the graph whose channels are evened out.
    fn observe(
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

    /// Decides every weight's rounding and what each bias makes up for.
    fn round(&mut self, base: &Model, observed: &Observed, calibration: &mut Calibration) {
        let total = self.layers.len();
        let done = Mutex::new(0);
        let slots: Vec<_> = calibration.layers.iter_mut().map(Mutex::new).collect();
        let progress = Mutex::new(&mut self.progress);
        let layers = &self.layers;
        observe::in_parallel(total, |i| {
            round_layer(base, &layers[i], observed, i, &mut observe::lock(&slots[i]));
            let mut done = observe::lock(&done);
            *done += 1;
            observe::lock(&progress)(Stage::Rounding, *done, total);
        });
    }

    /// Tries the powers and keeps the ranges whose int8 graph answers most like fp32.
    fn choose_ranges(&mut self, observed: &Observed, calibration: &mut Calibration) -> Result<(), Error> {
        let step = self.job.images.len().div_ceil(TRIAL_IMAGES_MAX).max(1);
        let trial: Vec<usize> = (0..self.job.images.len()).step_by(step).collect();
        let images: Vec<&[f32]> = trial.iter().map(|i| self.job.images[*i].as_slice()).collect();
        let exact: Vec<Vec<f32>> = trial.iter().map(|i| observed.outputs[*i].clone()).collect();
        let mut best: Option<(f64, f64, Vec<ValueRange>)> = None;
        for (number, power) in RANGE_POWERS.into_iter().enumerate() {
            calibration.ranges = self.ranges(observed, power);
            let outputs = self.answers(calibration, &images)?;
            let divergence = compare(&exact, &outputs, self.job.probabilities).kl_divergence;
            if best.as_ref().is_none_or(|(least, ..)| divergence < *least) {
                best = Some((divergence, power, calibration.ranges.clone()));
            }
            (self.progress)(Stage::Comparing, number + 1, RANGE_POWERS.len() + 1);
        }
        if let Some((_, power, ranges)) = best {
            calibration.range_power = power;
            calibration.ranges = ranges;
        }
        Ok(())
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
                        range: super::Range { low: 0.0, high: 0.0 },
                    },
                ))
            })
            .collect();
        observe::in_parallel(slots.len(), |i| {
            let mut slot = observe::lock(&slots[i]);
            if let Some(histogram) = observed.histograms.get(slot.0) {
                slot.1.range = histogram.range(power);
            }
        });
        slots.into_iter().map(|slot| observe::into_inner(slot).1).collect()
    }

    /// The int8 graph's answers.
    fn answers(&self, calibration: &Calibration, images: &[&[f32]]) -> Result<Vec<Vec<f32>>, Error> {
        let int8 = rewrite(self.model.clone(), calibration)?;
        let mut probe = observe::probe(&int8, &[], self.load)?;
        let answer = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut probe, image, 1)?[0].data));
        images.iter().map(answer).collect()
    }

    /// Measures on the held-back images and, below the goal, puts the layers that hurt most into fp32.
    fn reach_goal(&mut self, observed: &Observed, calibration: &mut Calibration) -> Result<(), Error> {
        let images: Vec<&[f32]> = self.job.held_back.iter().map(Vec::as_slice).collect();
        let mut probe = observe::probe(&self.model, &[], self.load)?;
        let answer = |image: &&[f32]| Ok(std::mem::take(&mut observe::run(&mut probe, image, 1)?[0].data));
        let exact: Vec<Vec<f32>> = images.iter().map(answer).collect::<Result<_, Error>>()?;
        let start = compare(&exact, &self.answers(calibration, &images)?, self.job.probabilities);
        calibration.held_back = start;
        (self.progress)(Stage::Comparing, RANGE_POWERS.len() + 1, RANGE_POWERS.len() + 1);
        if start.top1_agreement_expected >= self.job.goal.top1_agreement {
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
            let answers = self.answers(&trial, &images)?;
            done += 1;
            (self.progress)(Stage::Sensitivity, done.min(shares.len()), shares.len());
            Ok(compare(&exact, &answers, self.job.probabilities))
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
        calibration.held_back = reached;
        Ok(())
    }

    /// Each quantized layer's signal-to-noise ratio on the held-back images.
    fn layer_noise(&mut self, base: &Model, calibration: &mut Calibration) -> Result<(), Error> {
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
        let mut exact = observe::probe(base, &fresh, self.load)?;
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
        for image in self.job.held_back {
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

/// Rounding and bias correction of one layer.
fn round_layer(base: &Model, layer: &Layer, observed: &Observed, place: usize, record: &mut LayerRecord) {
    let weights = layer.weights(&base.graph);
    let scales = scale::scales(&weights, layer.columns, layer.taps());
    let moments = &observed.moments[place];
    let up = rounding::round(&weights, &scales, layer.columns, layer.groups, moments);
    let mut correction = vec![0.0f64; layer.rows];
    let rows_per_group = layer.rows / layer.groups;
    for block in &moments.blocks {
        let means: Vec<f64> = block.means().collect();
        for row in block.group * rows_per_group..(block.group + 1) * rows_per_group {
            let unit = f64::from(scales[row]);
            for (column, mean) in means.iter().enumerate() {
                let i = row * layer.columns + block.start + column;
                let code = f64::from(rounding::code(weights[i] / unit, up[i]));
                correction[row] += (weights[i] - code * unit) * mean;
            }
        }
    }
    record.bias_correction = correction.into_iter().map(short).collect();
    record.rounding = bits::encode(&up);
}

/// Two digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Five significant digits, so that a list of corrections can be read.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}
