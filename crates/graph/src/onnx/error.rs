//! What can be wrong with a model file.

use std::fmt;

use crate::TensorError;
use crate::verify::VerifyError;

use super::wire::WireError;

/// Why a file cannot be read or a model not be written. Each names the place.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// No bytes.
    #[error("the file is empty; expected an ONNX model")]
    Empty,
    /// Not a `ModelProto`.
    #[error("this is not an ONNX model: {0}")]
    NotOnnx(String),
    /// The file ends too early.
    #[error("the model is truncated: it ends at byte {bytes} in the middle of a field; copy or download it again")]
    Truncated {
        /// Bytes at hand.
        bytes: usize,
    },
    /// Bytes that are not protobuf, or not ONNX's.
    #[error("{place} is damaged: {source}")]
    Wire {
        /// Where.
        place: String,
        /// What.
        source: WireError,
    },
    /// A field without which the rest makes no sense.
    #[error("{place} has no {what}")]
    Missing {
        /// Where.
        place: String,
        /// What.
        what: &'static str,
    },
    /// A tensor whose shape and bytes disagree.
    #[error("tensor {name:?}: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What.
        source: TensorError,
    },
    /// A negative extent.
    #[error("tensor {name:?} has the extent {extent}; extents must not be negative")]
    Extent {
        /// The tensor.
        name: String,
        /// The extent.
        extent: i64,
    },
    /// Two definitions of one name.
    #[error("{place} defines {name:?}, which is defined already; names must be unique")]
    Duplicate {
        /// The name.
        name: String,
        /// The second definition.
        place: String,
    },
    /// A name that nothing defines.
    #[error("{place} reads {name:?}, which no input, initializer or node provides")]
    Undefined {
        /// The name.
        name: String,
        /// Who reads it.
        place: String,
    },
    /// Nodes that wait for each other.
    #[error("the graph has a cycle through {place}")]
    Cycle {
        /// A node on the cycle.
        place: String,
    },
    /// Subgraphs in subgraphs without end.
    #[error("{place} nests graphs deeper than {limit} levels")]
    TooDeep {
        /// Where.
        place: String,
        /// The limit.
        limit: usize,
    },
    /// External data that is not there or must not be read.
    #[error("tensor {tensor:?} keeps its data in {location:?}: {problem}")]
    External {
        /// The tensor.
        tensor: String,
        /// The location that the file gives.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More than protobuf can hold.
    #[error(
        "the model takes {bytes} bytes; an ONNX file holds at most 2147483647 (2 GiB) and external data is not written"
    )]
    TooLarge {
        /// Bytes needed.
        bytes: usize,
    },
    /// A graph that breaks an invariant.
    #[error("the graph is not valid: {0}")]
    Invalid(#[from] VerifyError),
    /// The output cannot be written.
    #[error("cannot write the model: {0}")]
    Io(#[from] std::io::Error),
}

impl OnnxError {
    /// Turns an error of the wire format into one with a place.
    pub(super) fn wire(place: impl fmt::Display) -> impl FnOnce(WireError) -> Self {
        move |source| Self::Wire {
            place: place.to_string(),
            source,
        }
    }
}
