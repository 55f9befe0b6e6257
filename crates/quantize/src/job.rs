//! What is to be calibrated, on what, and where progress is reported. The caller runs graphs; nothing here knows a runtime.

use crate::calibration::GateImages;
use crate::sensitivity::Goal;
use crate::step::Step;
use repserve_graph::Model;

/// One tensor that came out of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f32>,
}

/// A loaded graph: one image in (channels, height, width), every f32 output out, in graph order.
pub type GraphRunner<'a> = Box<dyn FnMut(&[f32]) -> Result<Vec<Values>, String> + 'a>;

/// Loads an ONNX file.
pub type Load<'a> = dyn Fn(&[u8]) -> Result<GraphRunner<'a>, String> + 'a;

/// Receives the stage, steps done and steps in all.
pub type Progress<'a> = dyn FnMut(Stage, usize, usize) + Send + 'a;

/// What is to be calibrated, and on what.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The deploy graph.
    pub deploy: Model,
    /// Hash of the model's file, in hex.
    pub model_sha256: String,
    /// Preprocessed images to calibrate on.
    pub images: &'a [Vec<f32>],
    /// The class of each image, where it is known.
    pub labels: &'a [Option<usize>],
    /// Hash over all images' files, in hex.
    pub images_sha256: String,
    /// Whether the graph returns probabilities rather than logits.
    pub probabilities: bool,
    /// What to reach.
    pub goal: Goal,
    /// Steps that are left out.
    pub without: &'a [Step],
    /// Other views of each image that int8 is compared with fp32 on besides, at most [`crate::VIEWS_MAX`]; 0 for none.
    pub views: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// What a server is to compare on, as files.
    pub gate: GateImages,
    /// The same, preprocessed.
    pub pictures: &'a [Vec<f32>],
}

impl Job<'_> {
    /// Whether a step is taken.
    pub(super) fn takes(&self, step: Step) -> bool {
        !self.without.contains(&step)
    }
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
    /// int8 graphs are calibrated without a part of the images, a part a step.
    CrossValidation,
    /// Each layer's sensitivity is measured.
    Sensitivity,
    /// Other views of the images are compared.
    Views,
}
