//! Operators that name axes: joining, picking, reducing, adding and dropping extents of 1.

use super::error::OperatorError;
use super::view::{NodeView, axis_of};
use crate::attribute::AttributeValue;
use crate::node::Node;
use crate::tensor::Tensor;

/// `Concat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concat {
    /// The axis along which inputs follow each other.
    pub axis: usize,
}

/// `Gather`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather {
    /// The axis that is picked from.
    pub axis: usize,
}

/// `Flatten`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatten {
    /// The first axis that belongs to the columns; the rank where there is none.
    pub axis: usize,
}

/// `Squeeze`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squeeze {
    /// The axes that are dropped; all of extent 1 where `None`.
    pub axes: Option<Vec<usize>>,
}

/// `Unsqueeze`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsqueeze {
    /// Axes of the result that are new.
    pub axes: Vec<usize>,
    /// Rank of the result.
    pub rank: usize,
}

/// A reduction along axes (`ReduceMean` and its like).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// The axes that are reduced.
    pub axes: Vec<usize>,
    /// Whether reduced axes stay, with extent 1.
    pub keeps_axes: bool,
}

fn input_rank(view: &NodeView<'_>) -> Result<usize, OperatorError> {
    view.rank_of(0).ok_or(OperatorError::Shape("the input"))
}

fn axis(view: &NodeView<'_>, default: i64, rank: usize) -> Result<usize, OperatorError> {
    axis_of(view.int("axis", default)?, rank).ok_or(OperatorError::Attribute {
        name: "axis",
        expected: "an axis of the input",
    })
}

/// Each of `axes` of a value of `rank` axes, none twice.
fn all(axes: &[i64], rank: usize) -> Result<Vec<usize>, OperatorError> {
    let axes: Option<Vec<usize>> = axes.iter().map(|axis| axis_of(*axis, rank)).collect();
    let mut sorted = axes.clone().unwrap_or_default();
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    axes.filter(|_| distinct).ok_or(OperatorError::Attribute {
        name: "axes",
        expected: "a list of different axes of the value",
    })
}

impl Concat {
    /// `node`, a concatenation, along another axis.
    pub fn along(mut node: Node, axis: usize) -> Node {
        node.attributes.retain(|attribute| attribute.name != "axis");
        node.with("axis", AttributeValue::Int(axis as i64))
    }

    /// The concatenation that the node is; `None` for another operator.
    ///
    /// # Errors
    /// No axis or one that the first input does not have.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Concat") {
            return Ok(None);
        }
        // Only the first operator sets had a default.
        let default = if view.opset < 4 { 1 } else { i64::MAX };
        let axis = axis(view, default, input_rank(view)?)?;
        Ok(Some(Self { axis }))
    }
}

impl Gather {
    /// The gathering that the node is; `None` for another operator.
    ///
    /// # Errors
    /// An axis that the input does not have.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Gather") {
            return Ok(None);
        }
        let axis = axis(view, 0, input_rank(view)?)?;
        Ok(Some(Self { axis }))
    }
}

impl Flatten {
    /// The flattening that the node is; `None` for another operator.
    ///
    /// # Errors
    /// An axis that the input does not have.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Flatten") {
            return Ok(None);
        }
        let rank = input_rank(view)?;
        let axis = match view.int("axis", 1)? {
            behind if usize::try_from(behind) == Ok(rank) => rank,
            _ => axis(view, 1, rank)?,
        };
        Ok(Some(Self { axis }))
    }
}

impl Squeeze {
    /// The squeezing that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Axes that are not constant or that the input does not have.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Squeeze") {
            return Ok(None);
        }
        let axes = match view.list(1, "axes")? {
            None => None,
            Some(axes) => Some(all(&axes, input_rank(view)?)?),
        };
        Ok(Some(Self { axes }))
    }

    /// Whether `axis`, whose extent is given where it is known, is dropped; `None` where that depends on an unknown extent.
    pub fn drops(&self, axis: usize, extent: Option<usize>) -> Option<bool> {
        match &self.axes {
            Some(axes) => Some(axes.contains(&axis)),
            None => extent.map(|n| n == 1),
        }
    }
}

impl Unsqueeze {
    /// The unsqueezing that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Axes that are not constant, doubled or beyond the result.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Unsqueeze") {
            return Ok(None);
        }
        let axes = view.required_list(1, "axes")?;
        let rank = input_rank(view)? + axes.len();
        let axes = all(&axes, rank)?;
        Ok(Some(Self { axes, rank }))
    }

    /// The result's extents: `one` at new axes, the input's in order at the others.
    pub fn widen<T: Clone>(&self, extents: &[T], one: &T) -> Vec<T> {
        let mut rest = extents.iter();
        let at = |axis: usize| {
            if self.axes.contains(&axis) {
                Some(one.clone())
            } else {
                rest.next().cloned()
            }
        };
        (0..self.rank).filter_map(at).collect()
    }
}

impl Reduction {
    /// The reduction that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Axes that are not constant or that the input does not have, an input of unknown rank.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is(&view.node.op) || !view.node.op.starts_with("Reduce") {
            return Ok(None);
        }
        let rank = input_rank(view)?;
        let axes = match view.list(1, "axes")?.filter(|axes| !axes.is_empty()) {
            Some(axes) => all(&axes, rank)?,
            None if view.flag("noop_with_empty_axes")? => Vec::new(),
            None => (0..rank).collect(),
        };
        Ok(Some(Self {
            axes,
            keeps_axes: view.int("keepdims", 1)? != 0,
        }))
    }

    /// `node`, a reduction that names its axes, along other axes. Where the node reads its axes, also which input they are and the tensor
    /// to put there.
    pub fn along(mut node: Node, axes: Vec<i64>) -> (Node, Option<(usize, Tensor)>) {
        if node.input(1).is_some() {
            return (node, Some((1, Tensor::from_i64(&[axes.len()], &axes))));
        }
        node.attributes.retain(|attribute| attribute.name != "axes");
        (node.with("axes", AttributeValue::Ints(axes)), None)
    }

    /// The result's extents, with `one` in place of those that are reduced.
    pub fn reduce<T: Clone>(&self, extents: &[T], one: &T) -> Vec<T> {
        let extents = extents.iter().enumerate();
        let kept = extents.filter(|(axis, _)| self.keeps_axes || !self.axes.contains(axis));
        kept.map(|(axis, extent)| {
            if self.axes.contains(&axis) {
                one.clone()
            } else {
                extent.clone()
            }
        })
        .collect()
    }
}
