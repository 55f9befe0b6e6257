//! Why a node cannot be decoded.

/// What is odd about a node. The operator is named by the reader, who knows the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// A required input is missing.
    #[error("input {0} is missing")]
    MissingInput(usize),
    /// An input that decides what the operator does is not a constant, or not of the kind the standard asks for.
    #[error("input {index} is not {expected}")]
    Operand {
        /// Position among the node's inputs.
        index: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// An attribute of another type, length or range than the standard gives it.
    #[error("attribute {name:?} is not {expected}")]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A shape that is not known, or that does not go with the node's other shapes.
    #[error("the shape of {0} is not known or does not fit")]
    Shape(&'static str),
    /// `auto_pad` that depends on an image size that is not known.
    #[error("auto_pad depends on an image size that the graph does not fix")]
    AutoPad,
}
