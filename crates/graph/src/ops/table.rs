//! The table of operators: what every part that treats operators alike needs to know of them, a row each.
//!
//! An operator that is not here is left alone: its shape stays unknown and nothing moves past it.

use crate::node::Node;

/// What is known of an operator of ONNX's own set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// Where the shape of the first output follows from.
    pub shape: ShapeRule,
    /// Whether the first output has the element type of the first input.
    pub keeps_type: bool,
    /// Whether element by element is computed, each from those at the same place.
    pub elementwise: Elementwise,
    /// Which inputs' elements are passed on unchanged, if nothing is computed.
    pub moves: MovedInputs,
    /// What linear map it is, where its parameters are constants.
    pub linear: Option<LinearForm>,
    /// Which inputs are parameters: weights, statistics, bounds. In a network they are constants.
    pub parameters: &'static [usize],
}

/// What linear map of its data an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinearForm {
    /// A convolution.
    Conv,
    /// A matrix product with factors and a bias.
    Gemm,
    /// A matrix product.
    MatMul,
    /// A scale and a shift a channel.
    BatchNormalization,
    /// An average over a window.
    AveragePool,
    /// A border of a constant.
    Pad,
    /// The input times -1.
    Negation,
    /// The input.
    Identity,
    /// The input, unless the graph is one for training.
    Dropout,
    /// A sum of the inputs, each times a factor.
    Sum,
    /// A product or quotient of two inputs, of which one is a constant.
    Scaling,
    /// The input, rounded: linear but for the rounding.
    Rounding,
}

/// How the shape of an operator's first output follows from its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapeRule {
    /// The first input's.
    Same,
    /// That to which all inputs broadcast.
    Broadcast,
    /// A convolution's.
    Conv,
    /// A transposed convolution's.
    ConvTranspose,
    /// A pool's.
    Pool,
    /// All extents behind batch and channels become 1.
    GlobalPool,
    /// `Gemm`'s.
    Gemm,
    /// A matrix product's.
    MatMul,
    /// `Flatten`'s.
    Flatten,
    /// `Reshape`'s.
    Reshape,
    /// `Transpose`'s.
    Transpose,
    /// `Pad`'s.
    Pad,
    /// `Concat`'s.
    Concat,
    /// A reduction's.
    Reduce,
    /// `Squeeze`'s.
    Squeeze,
    /// `Unsqueeze`'s.
    Unsqueeze,
    /// `Slice`'s.
    Slice,
    /// `Expand`'s.
    Expand,
    /// `Gather`'s.
    Gather,
    /// It is not inferred.
    Unknown,
}

/// Whether an operator computes each element from those at the same place, whatever the order of axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elementwise {
    /// It does not, or depends on more than the elements.
    No,
    /// From the first input alone; the others are parameters of all elements.
    Unary,
    /// From all inputs, which broadcast.
    Broadcasting,
}

/// The inputs whose elements an operator passes on unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovedInputs {
    /// None: the operator computes.
    None,
    /// These; the others say where to.
    These(&'static [usize]),
    /// All.
    All,
}

const fn row(name: &'static str, shape: ShapeRule) -> Operator {
    Operator {
        name,
        shape,
        keeps_type: true,
        elementwise: Elementwise::No,
        moves: MovedInputs::None,
        linear: None,
        parameters: &[],
    }
}

/// Element by element, one operand.
const fn unary(name: &'static str) -> Operator {
    Operator {
        elementwise: Elementwise::Unary,
        ..row(name, ShapeRule::Same)
    }
}

/// Element by element, several operands.
const fn broadcasting(name: &'static str) -> Operator {
    Operator {
        elementwise: Elementwise::Broadcasting,
        ..row(name, ShapeRule::Broadcast)
    }
}

/// Elements of the inputs `moved` elsewhere.
const fn moving(name: &'static str, shape: ShapeRule, moved: &'static [usize]) -> Operator {
    Operator {
        moves: MovedInputs::These(moved),
        ..row(name, shape)
    }
}

impl LinearForm {
    /// Whether it is what networks call a layer: it has weights, statistics or a window.
    pub fn is_layer(self) -> bool {
        matches!(
            self,
            Self::Conv | Self::Gemm | Self::MatMul | Self::BatchNormalization | Self::AveragePool
        )
    }
}

impl MovedInputs {
    /// The first input whose elements are passed on.
    pub fn first(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::These(inputs) => inputs.first().copied(),
            Self::All => Some(0),
        }
    }

    /// Whether the elements of input `index` are passed on.
    pub fn contains(self, index: usize) -> bool {
        match self {
            Self::None => false,
            Self::These(inputs) => inputs.contains(&index),
            Self::All => true,
        }
    }
}

impl Operator {
    /// What is known of the node's operator, if it is one of ONNX's own set.
    pub fn of(node: &Node) -> Option<&'static Self> {
        let found = OPERATORS.binary_search_by(|row| row.name.cmp(node.op.as_str()));
        found.ok().map(|i| &OPERATORS[i]).filter(|row| node.is(row.name))
    }

    /// Whether the first output has every element of the first input's extents, in this order of axes or another, passed on from the first
    /// input or put in the place of what was there.
    pub fn keeps_extents(&self) -> bool {
        self.moves.contains(0) && matches!(self.shape, ShapeRule::Same | ShapeRule::Transpose)
    }

    /// The same row, of a linear map with these parameters.
    const fn linear(self, form: LinearForm, parameters: &'static [usize]) -> Self {
        Self {
            linear: Some(form),
            parameters,
            ..self
        }
    }

    /// The same row, of which the result's type is another than the first input's.
    const fn retyping(self) -> Self {
        Self {
            keeps_type: false,
            ..self
        }
    }
}

/// All rows, by name.
static OPERATORS: &[Operator] = &[
    unary("Abs"),
    broadcasting("Add").linear(LinearForm::Sum, &[]),
    row("AveragePool", ShapeRule::Pool).linear(LinearForm::AveragePool, &[]),
    row("BatchNormalization", ShapeRule::Same).linear(LinearForm::BatchNormalization, &[1, 2, 3, 4]),
    Operator {
        moves: MovedInputs::These(&[0]),
        ..unary("Cast").retyping()
    },
    moving("CastLike", ShapeRule::Same, &[0, 1]).retyping(),
    unary("Clip"),
    Operator {
        moves: MovedInputs::All,
        ..row("Concat", ShapeRule::Concat)
    },
    row("Conv", ShapeRule::Conv).linear(LinearForm::Conv, &[1, 2]),
    row("ConvTranspose", ShapeRule::ConvTranspose),
    row("DequantizeLinear", ShapeRule::Same)
        .retyping()
        .linear(LinearForm::Rounding, &[1, 2]),
    broadcasting("Div").linear(LinearForm::Scaling, &[]),
    row("Dropout", ShapeRule::Same).linear(LinearForm::Dropout, &[]),
    unary("Elu"),
    unary("Erf"),
    unary("Exp"),
    moving("Expand", ShapeRule::Expand, &[0]),
    moving("Flatten", ShapeRule::Flatten, &[0]),
    moving("Gather", ShapeRule::Gather, &[0]),
    unary("Gelu"),
    row("Gemm", ShapeRule::Gemm).linear(LinearForm::Gemm, &[1, 2]),
    row("GlobalAveragePool", ShapeRule::GlobalPool),
    row("GlobalMaxPool", ShapeRule::GlobalPool),
    unary("HardSigmoid"),
    unary("HardSwish"),
    Operator {
        moves: MovedInputs::These(&[0]),
        ..unary("Identity").linear(LinearForm::Identity, &[])
    },
    row("InstanceNormalization", ShapeRule::Same),
    row("LRN", ShapeRule::Same),
    row("LayerNormalization", ShapeRule::Same),
    unary("LeakyRelu"),
    unary("Log"),
    row("LogSoftmax", ShapeRule::Same),
    row("LpPool", ShapeRule::Pool),
    row("MatMul", ShapeRule::MatMul).linear(LinearForm::MatMul, &[1]),
    broadcasting("Max"),
    row("MaxPool", ShapeRule::Pool),
    broadcasting("Mean").linear(LinearForm::Sum, &[]),
    broadcasting("Min"),
    unary("Mish"),
    broadcasting("Mul").linear(LinearForm::Scaling, &[]),
    unary("Neg").linear(LinearForm::Negation, &[]),
    row("PRelu", ShapeRule::Same),
    moving("Pad", ShapeRule::Pad, &[0]).linear(LinearForm::Pad, &[1, 2, 3]),
    broadcasting("Pow"),
    row("QuantizeLinear", ShapeRule::Same)
        .retyping()
        .linear(LinearForm::Rounding, &[1, 2]),
    unary("Reciprocal"),
    row("ReduceL1", ShapeRule::Reduce),
    row("ReduceL2", ShapeRule::Reduce),
    row("ReduceMax", ShapeRule::Reduce),
    row("ReduceMean", ShapeRule::Reduce),
    row("ReduceMin", ShapeRule::Reduce),
    row("ReduceProd", ShapeRule::Reduce),
    row("ReduceSum", ShapeRule::Reduce),
    row("ReduceSumSquare", ShapeRule::Reduce),
    unary("Relu"),
    moving("Reshape", ShapeRule::Reshape, &[0]),
    moving("Scatter", ShapeRule::Same, &[0, 2]),
    moving("ScatterElements", ShapeRule::Same, &[0, 2]),
    moving("ScatterND", ShapeRule::Same, &[0, 2]),
    unary("Selu"),
    unary("Sigmoid"),
    moving("Slice", ShapeRule::Slice, &[0]),
    row("Softmax", ShapeRule::Same),
    unary("Softplus"),
    unary("Softsign"),
    unary("Sqrt"),
    moving("Squeeze", ShapeRule::Squeeze, &[0]),
    broadcasting("Sub").linear(LinearForm::Sum, &[]),
    broadcasting("Sum").linear(LinearForm::Sum, &[]),
    unary("Swish"),
    unary("Tanh"),
    moving("Transpose", ShapeRule::Transpose, &[0]),
    moving("Unsqueeze", ShapeRule::Unsqueeze, &[0]),
    moving("Where", ShapeRule::Unknown, &[1, 2]).retyping(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_so_that_each_is_found() {
        for row in OPERATORS {
            let node = Node::new(row.name, Vec::new(), Vec::new());
            assert_eq!(Operator::of(&node), Some(row));
        }
        assert!(OPERATORS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn other_domains_operators_are_not_onnx_s() {
        let node = Node {
            domain: "com.example".into(),
            ..Node::new("Relu", Vec::new(), Vec::new())
        };
        assert_eq!(Operator::of(&node), None);
        assert_eq!(Operator::of(&Node::new("Nothing", Vec::new(), Vec::new())), None);
    }

    #[test]
    fn what_only_moves_elements_about_keeps_extents_and_what_takes_some_does_not() {
        let kept = OPERATORS.iter().filter(|row| row.keeps_extents()).map(|row| row.name);
        let expected = [
            "Cast",
            "CastLike",
            "Identity",
            "Scatter",
            "ScatterElements",
            "ScatterND",
            "Transpose",
        ];
        assert_eq!(kept.collect::<Vec<_>>(), expected);
    }
}
