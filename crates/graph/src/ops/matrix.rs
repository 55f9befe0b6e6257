//! Matrix products: of real numbers, and of quantized values.

use super::conv::{MICROSOFT_DOMAIN, QuantizedInputs};
use super::error::OperatorError;
use super::view::NodeView;
use crate::value::ValueId;

/// `alpha · a · b + beta · c`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gemm {
    /// The left matrix, in networks the activations.
    pub input: ValueId,
    /// The right matrix, in networks the weights.
    pub weight: ValueId,
    /// What is added.
    pub bias: Option<ValueId>,
    /// A factor on the product.
    pub alpha: f32,
    /// A factor on the bias.
    pub beta: f32,
    /// Whether the left matrix is transposed.
    pub input_transposed: bool,
    /// Whether the right matrix is transposed: it then lies as (outputs, inputs).
    pub weight_transposed: bool,
}

/// A matrix product, of the last two axes where there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatMul {
    /// The left matrix, in networks the activations.
    pub input: ValueId,
    /// The right matrix, in networks the weights: it lies as (inputs, outputs).
    pub weight: ValueId,
}

/// A matrix product of quantized values (`QGemm` of ONNX Runtime's operator set).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QGemm {
    /// What it computes; `beta` is 1.
    pub gemm: Gemm,
    /// Whether the result is real numbers: it has no scale and no zero point.
    pub returns_floats: bool,
}

impl Gemm {
    /// The matrix product that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Gemm") {
            return Ok(None);
        }
        Self::read(view, 1, 2).map(Some)
    }

    fn read(view: &NodeView<'_>, weight: usize, bias: usize) -> Result<Self, OperatorError> {
        Ok(Self {
            input: view.value(0)?,
            weight: view.value(weight)?,
            bias: view.node.input(bias),
            alpha: view.float("alpha", 1.0)?,
            beta: view.float("beta", 1.0)?,
            input_transposed: view.flag("transA")?,
            weight_transposed: view.flag("transB")?,
        })
    }

    /// Features it reads and makes, from the extents of the right matrix.
    pub fn features(&self, weight: [usize; 2]) -> [usize; 2] {
        let [first, second] = weight;
        if self.weight_transposed {
            [second, first]
        } else {
            [first, second]
        }
    }
}

impl MatMul {
    /// The matrix product that the node is; `None` for another operator.
    ///
    /// # Errors
    /// An input that is missing.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("MatMul") {
            return Ok(None);
        }
        Ok(Some(Self {
            input: view.value(0)?,
            weight: view.value(1)?,
        }))
    }
}

impl QGemm {
    /// Positions of its inputs.
    pub const INPUTS: QuantizedInputs = QuantizedInputs {
        input_scale: 1,
        input_zero: 2,
        weight: 3,
        weight_scale: 4,
        weight_zero: 5,
        output_scale: 7,
        output_zero: 8,
        bias: 6,
    };

    /// The matrix product of quantized values that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        let node = view.node;
        if node.domain != MICROSOFT_DOMAIN || node.op != "QGemm" {
            return Ok(None);
        }
        let output = [Self::INPUTS.output_scale, Self::INPUTS.output_zero];
        Ok(Some(Self {
            gemm: Gemm::read(view, Self::INPUTS.weight, Self::INPUTS.bias)?,
            returns_floats: output.iter().all(|i| node.input(*i).is_none()),
        }))
    }
}
