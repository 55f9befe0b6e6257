//! Sums of quantized values.

use super::conv::MICROSOFT_DOMAIN;
use super::error::OperatorError;
use super::view::NodeView;
use crate::value::ValueId;

/// The sum of two quantized values (`QLinearAdd` of ONNX Runtime's operator set). Scales and zero points are inputs of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QLinearAdd {
    /// The two summands.
    pub terms: [ValueId; 2],
}

impl QLinearAdd {
    /// Positions of the scales of the two summands and of their sum.
    pub const SCALES: [usize; 3] = [1, 4, 6];
    /// Positions of their zero points.
    pub const ZEROS: [usize; 3] = [2, 5, 7];

    /// The sum that the node is; `None` for another operator.
    ///
    /// # Errors
    /// A node without its inputs.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if view.node.domain != MICROSOFT_DOMAIN || view.node.op != "QLinearAdd" {
            return Ok(None);
        }
        Ok(Some(Self {
            terms: [view.value(0)?, view.value(3)?],
        }))
    }
}
