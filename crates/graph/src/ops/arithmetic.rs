//! Sums, products and quotients of values, and how their operands lie over each other.

use super::error::OperatorError;
use super::view::NodeView;
use crate::value::ValueId;

/// A sum of the inputs, each times a factor: `Add`, `Sub`, `Sum` and `Mean`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// What is summed, each with its factor, in the node's order.
    pub terms: Vec<(ValueId, f64)>,
    /// Whether the operator takes any number of terms (`Sum`, `Mean`) and not just two.
    pub variadic: bool,
}

/// A product or a quotient of two values: `Mul` and `Div`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    /// The two operands in order.
    pub operands: [ValueId; 2],
    /// Whether the first is divided by the second.
    pub divides: bool,
}

/// How an operand of fewer axes lies over a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Last axis on last axis.
    Last,
    /// Not at all: both have the same shape.
    Same,
    /// The operand's first axis lies on this axis of the value.
    From(usize),
}

impl Sum {
    /// The sum that the node is; `None` for another operator.
    ///
    /// # Errors
    /// An input that is missing.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        let count = view.node.inputs.len();
        let (variadic, last, factor) = match view.node.op.as_str() {
            "Add" => (false, 1.0, 1.0),
            "Sub" => (false, -1.0, 1.0),
            "Sum" => (true, 1.0, 1.0),
            "Mean" => (true, 1.0 / count as f64, 1.0 / count as f64),
            _ => return Ok(None),
        };
        if !view.is(&view.node.op) {
            return Ok(None);
        }
        let count = if variadic { count.max(1) } else { 2 };
        let term = |i: usize| Ok((view.value(i)?, if i + 1 == count { last } else { factor }));
        let terms = (0..count).map(term).collect::<Result<_, OperatorError>>()?;
        Ok(Some(Self { terms, variadic }))
    }
}

impl Scaling {
    /// The product or quotient that the node is; `None` for another operator.
    ///
    /// # Errors
    /// An input that is missing.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        let divides = view.is("Div");
        if !divides && !view.is("Mul") {
            return Ok(None);
        }
        Ok(Some(Self {
            operands: [view.value(0)?, view.value(1)?],
            divides,
        }))
    }
}

impl Alignment {
    /// How the second operand of an operator on two values lies over the first.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Self, OperatorError> {
        // Before version 7 attributes said whether and where these operators broadcast.
        if view.opset >= 7 || !["Add", "Sub", "Mul", "Div"].iter().any(|op| view.is(op)) {
            return Ok(Self::Last);
        }
        if !view.flag("broadcast")? {
            return Ok(Self::Same);
        }
        let axis = view.optional_int("axis")?.and_then(|axis| usize::try_from(axis).ok());
        Ok(axis.map_or(Self::Last, Self::From))
    }
}
