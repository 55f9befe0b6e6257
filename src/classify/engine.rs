//! What the scheduler drives: image in, scores out.

/// Joins preprocessing and sessions.
#[derive(Debug)]
pub struct ImageEngine;

/// A model's input.
pub type Tensor = Vec<f32>;
