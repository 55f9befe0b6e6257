//! Operators that overwrite some elements of a value.

use super::error::OperatorError;
use super::view::{NodeView, axis_of};
use crate::node::Node;

/// The first input with the elements that input 1 points to replaced by those of input 2: `ScatterND` or `ScatterElements`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scatter {
    /// The axis that indices count along; `None` where each index is one of several axes (`ScatterND`).
    pub axis: Option<usize>,
    /// Whether elements are computed with those that were there, not overwritten.
    pub reduces: bool,
}

impl Scatter {
    /// Whether the node is such an operator.
    pub fn is(node: &Node) -> bool {
        ["ScatterND", "ScatterElements", "Scatter"].iter().any(|op| node.is(op))
    }

    /// The scattering that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes, an axis that the input does not have, an input of unknown rank.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !Self::is(view.node) {
            return Ok(None);
        }
        let reduces = view.string("reduction", "none")? != "none";
        if view.is("ScatterND") {
            return Ok(Some(Self { axis: None, reduces }));
        }
        let rank = view.rank_of(0).ok_or(OperatorError::Shape("the input"))?;
        let axis = axis_of(view.int("axis", 0)?, rank).ok_or(OperatorError::Attribute {
            name: "axis",
            expected: "an axis of the input",
        })?;
        Ok(Some(Self {
            axis: Some(axis),
            reduces,
        }))
    }
}
