//! Pools over a window.

use super::error::OperatorError;
use super::view::NodeView;
use super::window::Window;

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
