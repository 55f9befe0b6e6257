//! Operators whose result stands in their attributes.

use super::error::OperatorError;
use super::view::NodeView;
use crate::attribute::AttributeValue;
use crate::tensor::Tensor;

/// `Constant`.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// What it makes.
    pub tensor: Tensor,
}

/// `ConstantOfShape`: a tensor of one value, of the shape that the input lists.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstantOfShape {
    /// The value: a tensor of one element.
    pub value: Tensor,
}

impl Constant {
    /// The constant that the node is; `None` for another operator.
    ///
    /// # Errors
    /// No value, several, or one of strings or a sparse one.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Constant") {
            return Ok(None);
        }
        let tensor = match &view.node.attributes[..] {
            [attribute] => match (attribute.name.as_str(), &attribute.value) {
                ("value", AttributeValue::Tensor(tensor)) => Some(tensor.clone()),
                ("value_float", AttributeValue::Float(v)) => Some(Tensor::from_f32(&[], &[*v])),
                ("value_floats", AttributeValue::Floats(v)) => Some(Tensor::from_f32(&[v.len()], v)),
                ("value_int", AttributeValue::Int(v)) => Some(Tensor::from_i64(&[], &[*v])),
                ("value_ints", AttributeValue::Ints(v)) => Some(Tensor::from_i64(&[v.len()], v)),
                _ => None,
            },
            _ => None,
        };
        let tensor = tensor.ok_or(OperatorError::Attribute {
            name: "value",
            expected: "a tensor or numbers",
        })?;
        Ok(Some(Self { tensor }))
    }
}

impl ConstantOfShape {
    /// The operator that the node is; `None` for another one.
    ///
    /// # Errors
    /// A value that is no tensor of one element.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("ConstantOfShape") {
            return Ok(None);
        }
        let value = match view.node.attribute("value") {
            None => Tensor::from_f32(&[1], &[0.0]),
            Some(AttributeValue::Tensor(tensor)) if tensor.len() == 1 => tensor.clone(),
            Some(_) => {
                return Err(OperatorError::Attribute {
                    name: "value",
                    expected: "a tensor of one element",
                });
            }
        };
        Ok(Some(Self { value }))
    }
}
