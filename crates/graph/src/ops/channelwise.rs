//! Operators with one set of numbers a channel or for all elements: normalization and clipping.

use super::error::OperatorError;
use super::view::NodeView;

/// Batch normalization; scale, shift, mean and variance are inputs 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
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

impl BatchNormalization {
    /// The normalization that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("BatchNormalization") {
            return Ok(None);
        }
        // Before version 7 an inference graph says so itself; since version 14 a training graph does.
        let old = view.opset < 7 && !view.flag("is_test")?;
        Ok(Some(Self {
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
