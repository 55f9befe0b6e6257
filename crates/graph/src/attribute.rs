//! Node attributes.

use bytes::Bytes;

use crate::tensor::Tensor;

/// A named attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// The attribute's name, for example `strides`.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
    /// Fields of the `AttributeProto` that the IR does not model (doc string), encoded, kept as they are.
    pub opaque: Bytes,
}

impl Attribute {
    /// An attribute.
    pub fn new(name: impl Into<String>, value: AttributeValue) -> Self {
        Self {
            name: name.into(),
            value,
            opaque: Bytes::new(),
        }
    }
}

/// The value of an attribute. What the compiler never looks into stays encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// One integer.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// One float.
    Float(f32),
    /// A list of floats.
    Floats(Vec<f32>),
    /// Bytes that are usually UTF-8.
    String(Bytes),
    /// A list of strings.
    Strings(Vec<Bytes>),
    /// A tensor.
    Tensor(Tensor),
    /// Anything else (graphs, sparse tensors, types, references): the whole encoded `AttributeProto`.
    Opaque(Bytes),
}

impl AttributeValue {
    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(v) = self { Some(*v) } else { None }
    }

    /// The list of integers, if it is one.
    pub fn as_ints(&self) -> Option<&[i64]> {
        if let Self::Ints(v) = self { Some(v) } else { None }
    }

    /// The float, if it is one.
    pub fn as_float(&self) -> Option<f32> {
        if let Self::Float(v) = self { Some(*v) } else { None }
    }

    /// The string, if it is one and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(v) = self {
            std::str::from_utf8(v).ok()
        } else {
            None
        }
    }
}
