//! A graph that is run for what is inside it: all of its outputs, not only the one that is served.

use std::borrow::Cow;

use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;

use super::error::RuntimeError;
use super::input::Input;
use super::locate::Runtime;
use super::session::{SessionOptions, builder};

/// A loaded graph with any number of outputs.
#[derive(Debug)]
pub struct MultiOutputSession {
    session: OrtSession,
    input: Input,
}

/// One output: its extents and values, row-major. Both are empty where it is not of f32.
pub type OutputValues = (Vec<usize>, Vec<f32>);

impl MultiOutputSession {
    /// Loads a model from memory and optimizes it at the highest level.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model, or it has another input than one batch of images.
    pub fn from_memory(runtime: &Runtime, model: &[u8], threads: usize) -> Result<Self, RuntimeError> {
        let options = SessionOptions {
            threads,
            int8_as_given: true,
            ..SessionOptions::default()
        };
        let session = builder(runtime, &options)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| RuntimeError::Model(e.to_string()))?
            .commit_from_memory(model)
            .map_err(|e| RuntimeError::Model(e.to_string()))?;
        let input = Input::of(&session)?;
        Ok(Self { session, input })
    }

    /// What the graph takes.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Runs one image of `shape` (channels, height, width). Every output, in graph order, as for a batch of one.
    ///
    /// # Errors
    /// The run failed, or the image has another size.
    pub fn run(&mut self, image: &[f32], shape: [usize; 3]) -> Result<Vec<OutputValues>, RuntimeError> {
        let failed = |e: ort::Error| RuntimeError::Run(e.to_string());
        let batch = self.input.batch.unwrap_or(1);
        let data = if batch == 1 {
            Cow::Borrowed(image)
        } else {
            Cow::Owned(image.repeat(batch))
        };
        let tensor = self.input.tensor(&data, batch, shape)?;
        let outputs = self.session.run([tensor]).map_err(failed)?;
        let read = |index: usize| {
            let Ok((extents, values)) = outputs[index].try_extract_tensor::<f32>() else {
                return OutputValues::default();
            };
            let mut extents: Vec<usize> = extents.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
            if let Some(first) = extents.first_mut().filter(|first| **first == batch) {
                *first = 1;
            }
            let length = extents.iter().product::<usize>().min(values.len());
            (extents, values[..length].to_vec())
        };
        Ok((0..outputs.len()).map(read).collect())
    }
}
