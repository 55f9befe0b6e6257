//! Operators with one set of numbers a channel or for all elements: normalization, clipping and dropout.

use super::error::OperatorError;
use super::view::NodeView;
use crate::tensor::Tensor;
use crate::value::ValueId;

/// Batch normalization: `scale · (input - mean) / √(variance + epsilon) + shift`, each one number a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
    /// What it reads.
    pub input: ValueId,
    /// A factor on what is normalized.
    pub scale: ValueId,
    /// Is added to what is normalized.
    pub shift: ValueId,
    /// Mean of the input.
    pub mean: ValueId,
    /// Variance of the input.
    pub variance: ValueId,
    /// Is added to the variance.
    pub epsilon: f32,
    /// Whether it normalizes by the batch's own statistics.
    pub trains: bool,
    /// Whether there is one set of statistics a channel (and not, as old operator sets allow, one an element).
    pub per_channel: bool,
}

/// A clip to a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// The smallest value that passes; `None` where there is no such bound.
    pub low: Option<f64>,
    /// The largest value that passes; `None` where there is no such bound.
    pub high: Option<f64>,
}

/// `Dropout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropout {
    /// Whether it drops elements, or may: else it returns its input.
    pub trains: bool,
}

impl BatchNormalization {
    /// The normalization that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes or missing inputs.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("BatchNormalization") {
            return Ok(None);
        }
        // Before version 7 an inference graph says so itself; since version 14 a training graph does.
        let old = view.opset < 7 && !view.flag("is_test")?;
        Ok(Some(Self {
            input: view.value(0)?,
            scale: view.value(1)?,
            shift: view.value(2)?,
            mean: view.value(3)?,
            variance: view.value(4)?,
            epsilon: view.float("epsilon", 1e-5)?,
            trains: view.flag("training_mode")? || old,
            per_channel: view.int("spatial", 1)? != 0,
        }))
    }
}

impl Clip {
    /// The clip that the node is (a `Relu` is one from zero up); `None` for another operator.
    ///
    /// # Errors
    /// Bounds that are not constants.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if view.is("Relu") {
            return Ok(Some(Self {
                low: Some(0.0),
                high: None,
            }));
        }
        if !view.is("Clip") {
            return Ok(None);
        }
        Ok(Some(Self {
            low: view.number(1, "min")?,
            high: view.number(2, "max")?,
        }))
    }
}

impl Dropout {
    /// The dropout that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Dropout") {
            return Ok(None);
        }
        // Before version 7 an inference graph says so itself; since version 12 an input asks for training.
        let old = view.opset < 7 && !view.flag("is_test")?;
        let asked = view.node.input(2).is_some_and(|_| {
            let flag = view.constant(2).and_then(Tensor::to_i64);
            flag.is_none_or(|flag| flag.iter().any(|on| *on != 0))
        });
        Ok(Some(Self { trains: old || asked }))
    }
}
