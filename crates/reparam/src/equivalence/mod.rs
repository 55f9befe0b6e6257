//! Whether train-time and deploy graph compute the same function, on probes. How a graph is run is the caller's choice:
//! a runner is a closure from a [`Probe`] to an [`Output`].
//!
//! Error is relative: `‖deploy − train‖∞ / max(‖train‖∞, scale_min)` over a batch. Two graphs that round differently may also order two
//! nearly equal classes differently; that counts as agreement while the two are closer than the error allowed.

mod probe;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::report::Block;
use repserve_graph::{DType, Model, ValueId};

pub use probe::Probe;

/// What a graph made of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Extents, the batch first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

/// What counts as equal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Largest relative error.
    pub relative_error_max: f64,
    /// Outputs are compared as if the largest were at least this: what is nearly 0 is all rounding.
    pub scale_min: f64,
    /// Smallest share of images whose most likely class is the same, from 0 to 1.
    pub top1_agreement_min: f64,
}

/// How far two graphs agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// Images compared.
    pub images: usize,
    /// Largest relative error of a batch.
    pub relative_error: f64,
    /// The probe that shows it.
    pub worst_probe: String,
    /// Share of images whose most likely class is the same, from 0 to 1.
    pub top1_agreement: f64,
    /// What was demanded.
    pub tolerance: Tolerance,
}

/// The first block whose value differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The value that the block makes, in both graphs.
    pub block: String,
    /// Its relative error.
    pub relative_error: f64,
}

/// Why two graphs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum EquivalenceError<E> {
    /// A graph did not run.
    #[error("the {graph} graph failed on probe {probe}: {source}")]
    Run {
        /// `train-time` or `deploy`.
        graph: &'static str,
        /// The probe.
        probe: String,
        /// The runner's error.
        source: E,
    },
    /// The outputs cannot be compared.
    #[error("on probe {probe} the train-time graph gives {train:?} and the deploy graph {deploy:?}")]
    Shape {
        /// The probe.
        probe: String,
        /// Extents of the train-time graph's output.
        train: Vec<usize>,
        /// Extents of the deploy graph's output.
        deploy: Vec<usize>,
    },
    /// There is nothing to compare.
    #[error("there is no probe to compare the graphs on")]
    NoProbe,
}

impl Default for Tolerance {
    /// `1e-4` and every image: ten times what a deep network's rounding comes to, far below what a wrong kernel does.
    fn default() -> Self {
        Self {
            relative_error_max: 1e-4,
            scale_min: 1e-6,
            top1_agreement_min: 1.0,
        }
    }
}

impl Equivalence {
    /// Whether the graphs agree as far as was demanded. An error that is not a number never does.
    pub fn holds(&self) -> bool {
        self.relative_error <= self.tolerance.relative_error_max
            && self.top1_agreement >= self.tolerance.top1_agreement_min
    }
}

impl fmt::Display for Equivalence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "relative error {:.2e} (allowed {:.0e}, worst on {}), top-1 agreement {:.2} % (at least {:.0} %) on {} images",
            self.relative_error,
            self.tolerance.relative_error_max,
            self.worst_probe,
            100.0 * self.top1_agreement,
            100.0 * self.tolerance.top1_agreement_min,
            self.images
        )
    }
}

/// Runs both graphs on every probe. [`Equivalence::holds`] decides whether they agree enough.
///
/// # Errors
/// A graph that does not run, outputs of different shape, no probe.
pub fn compare<E>(
    probes: &[Probe],
    tolerance: Tolerance,
    mut train: impl FnMut(&Probe) -> Result<Output, E>,
    mut deploy: impl FnMut(&Probe) -> Result<Output, E>,
) -> Result<Equivalence, EquivalenceError<E>> {
    let mut result = Equivalence {
        images: 0,
        relative_error: 0.0,
        worst_probe: String::new(),
        top1_agreement: 0.0,
        tolerance,
    };
    let mut agreeing = 0;
    for probe in probes {
        let failed = |graph| {
            move |source| EquivalenceError::Run {
                graph,
                probe: probe.label.clone(),
                source,
            }
        };
        let a = train(probe).map_err(failed("train-time"))?;
        let b = deploy(probe).map_err(failed("deploy"))?;
        if a.shape != b.shape || a.data.len() != b.data.len() {
            return Err(EquivalenceError::Shape {
                probe: probe.label.clone(),
                train: a.shape,
                deploy: b.shape,
            });
        }
        let error = relative_error(&a.data, &b.data, tolerance.scale_min);
        if result.worst_probe.is_empty() || error.is_nan() || error > result.relative_error {
            result.relative_error = error;
            result.worst_probe.clone_from(&probe.label);
        }
        let images = a.shape.first().copied().unwrap_or(1).max(1);
        result.images += images;
        agreeing += agreements(&a, &b, images, tolerance);
        if error.is_nan() {
            break;
        }
    }
    if result.images == 0 {
        return Err(EquivalenceError::NoProbe);
    }
    result.top1_agreement = agreeing as f64 / result.images as f64;
    Ok(result)
}

/// The first of the report's `blocks` whose value differs by more than `relative_error_max`.
///
/// The runners give the values of the blocks' outputs, in order, for the probe: run what [`observed`] makes of each graph.
///
/// # Errors
/// What a runner reports.
pub fn first_difference<E>(
    blocks: &[Block],
    probe: &Probe,
    relative_error_max: f64,
    mut train: impl FnMut(&Probe, &[&str]) -> Result<Vec<Output>, E>,
    mut deploy: impl FnMut(&Probe, &[&str]) -> Result<Vec<Output>, E>,
) -> Result<Option<Difference>, E> {
    let names: Vec<&str> = blocks.iter().map(|b| b.output.as_str()).collect();
    let (a, b) = (train(probe, &names)?, deploy(probe, &names)?);
    let mut pairs = names.iter().zip(a.iter().zip(&b));
    Ok(pairs.find_map(|(name, (a, b))| {
        let error = if a.shape == b.shape {
            relative_error(&a.data, &b.data, 0.0)
        } else {
            f64::NAN
        };
        let equal = error <= relative_error_max;
        (!equal).then(|| Difference {
            block: (*name).to_owned(),
            relative_error: error,
        })
    }))
}

/// The model with these values as outputs, in this order and no others; unknown names are left out.
pub fn observed(mut model: Model, values: &[&str]) -> Model {
    let graph = &mut model.graph;
    let ids: Vec<ValueId> = values.iter().filter_map(|name| graph.find(name)).collect();
    graph.outputs.retain(|_| false);
    for id in ids {
        graph.value_mut(id).dtype.get_or_insert(DType::F32);
        graph.outputs.push(id);
    }
    model
}

/// `‖b − a‖∞ / max(‖a‖∞, scale_min)`; not a number if an element is none.
pub fn relative_error(a: &[f32], b: &[f32], scale_min: f64) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.fold(0.0f64, |m, v| {
            if v.is_nan() || m.is_nan() {
                f64::NAN
            } else {
                m.max(v.abs())
            }
        })
    };
    let scale = largest(&mut a.iter().map(|v| f64::from(*v)));
    let error = largest(&mut a.iter().zip(b).map(|(a, b)| f64::from(*b) - f64::from(*a)));
    if error == 0.0 || scale.is_nan() {
        return if scale.is_nan() { f64::NAN } else { 0.0 };
    }
    error / scale.max(scale_min)
}

/// How many images have the same most likely class, or classes too close to distinguish at this relative error.
fn agreements(a: &Output, b: &Output, images: usize, tolerance: Tolerance) -> usize {
    let classes = (a.data.len() / images).max(1);
    let top = |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    let rows = a.data.chunks(classes).zip(b.data.chunks(classes)).take(images);
    rows.filter(|(a, b)| {
        let (in_a, in_b) = (top(a), top(b));
        let scale = a.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
        let lead = f64::from(a[in_a]) - f64::from(a[in_b]);
        in_a == in_b || lead <= 2.0 * tolerance.relative_error_max * scale.max(tolerance.scale_min)
    })
    .count()
}
