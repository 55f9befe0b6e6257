//! Pools: over a window, and over all pixels.

use super::axes::Reduction;
use super::error::OperatorError;
use super::view::NodeView;
use super::window::Window;
use crate::value::ValueId;

/// `AveragePool`, `MaxPool` or `LpPool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The window.
    pub window: Window,
    /// Whether the number of places is rounded up.
    pub rounds_up: bool,
    /// Whether an average counts the padding.
    pub counts_padding: bool,
}

/// The mean of all pixels of every channel: `GlobalAveragePool`, or a `ReduceMean` over all axes behind batch and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalAverage {
    /// What it reads.
    pub input: ValueId,
    /// Whether the result has an extent of 1 in place of each axis of pixels.
    pub keeps_axes: bool,
}

impl GlobalAverage {
    /// The mean of channels that the node is; `None` for another operator or other axes.
    ///
    /// # Errors
    /// A reduction whose axes or whose input's rank are not known.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        let keeps_axes = if view.is("GlobalAveragePool") {
            true
        } else if view.is("ReduceMean") {
            let Some(mut reduction) = Reduction::of(view)? else {
                return Ok(None);
            };
            reduction.axes.sort_unstable();
            let rank = view.rank_of(0).unwrap_or_default();
            if rank < 3 || !reduction.axes.into_iter().eq(2..rank) {
                return Ok(None);
            }
            reduction.keeps_axes
        } else {
            return Ok(None);
        };
        Ok(Some(Self {
            input: view.value(0)?,
            keeps_axes,
        }))
    }
}

impl Pool {
    /// The pool that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes, or an input of another rank than the window's.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !["AveragePool", "MaxPool", "LpPool"].iter().any(|op| view.is(op)) {
            return Ok(None);
        }
        let kernel = view.ints("kernel_shape")?.filter(|k| !k.is_empty());
        let kernel: Option<Vec<usize>> =
            kernel.and_then(|k| k.iter().map(|extent| usize::try_from(*extent).ok()).collect());
        let kernel = kernel.ok_or(OperatorError::Attribute {
            name: "kernel_shape",
            expected: "a list of extents",
        })?;
        let extents = view.extents_of(0);
        if extents.as_ref().is_some_and(|e| e.len() != kernel.len() + 2) {
            return Err(OperatorError::Shape("the input"));
        }
        Ok(Some(Self {
            window: Window::of(view, kernel, extents.as_ref().and_then(|e| e.get(2..)))?,
            rounds_up: view.flag("ceil_mode")?,
            counts_padding: view.flag("count_include_pad")?,
        }))
    }
}
