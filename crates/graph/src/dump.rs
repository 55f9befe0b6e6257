//! A graph as text, for reading and for snapshot tests.

use std::fmt::{self, Display, Formatter, Write};

use crate::attribute::AttributeValue;
use crate::body::Graph;
use crate::node::Node;
use crate::tensor::DType;
use crate::value::{Dim, ValueId};

/// One line a node, for example `y = Conv(x, w, b) {strides=[1, 1]}`; constants with their type and shape where
/// they are read.
impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {} (", self.name)?;
        for id in &self.inputs {
            writeln!(f, "  {}", self.describe(*id))?;
        }
        writeln!(f, ") {{")?;
        for (_, node) in self.nodes() {
            writeln!(f, "  {}", self.line(node))?;
        }
        writeln!(f, "}} -> (")?;
        for id in &self.outputs {
            writeln!(f, "  {}", self.describe(*id))?;
        }
        write!(f, ")")
    }
}

impl Graph {
    /// The value's name, type and shape, for example `x: f32[batch,3,32,32]`.
    pub fn describe(&self, id: ValueId) -> String {
        let value = self.value(id);
        let mut text = value.name.clone();
        if let Some(dtype) = value.dtype {
            let _ = write!(text, ": {dtype}");
            if let Some(shape) = &value.shape {
                let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
                let _ = write!(text, "[{}]", dims.join(","));
            }
        }
        text
    }

    fn line(&self, node: &Node) -> String {
        let list = |values: &[Option<ValueId>]| {
            let names: Vec<String> = values
                .iter()
                .map(|v| match v {
                    None => "_".to_owned(),
                    Some(v) if self.constant(*v).is_some() => self.describe(*v),
                    Some(v) => self.value(*v).name.clone(),
                })
                .collect();
            names.join(", ")
        };
        let domain = if node.domain.is_empty() {
            String::new()
        } else {
            format!("{}::", node.domain)
        };
        let mut text = format!("{} = {domain}{}({})", list(&node.outputs), node.op, list(&node.inputs));
        if !node.attributes.is_empty() {
            let attributes: Vec<String> = node
                .attributes
                .iter()
                .map(|a| format!("{}={}", a.name, a.value))
                .collect();
            let _ = write!(text, " {{{}}}", attributes.join(", "));
        }
        if !node.captures.is_empty() {
            let names: Vec<&str> = node.captures.iter().map(|v| self.value(*v).name.as_str()).collect();
            let _ = write!(text, " captures {}", names.join(", "));
        }
        text
    }
}

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Symbol(s) if s.is_empty() => f.write_str("?"),
            Self::Symbol(s) => f.write_str(s),
        }
    }
}

impl Display for DType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::F16 => f.write_str("f16"),
            Self::BF16 => f.write_str("bf16"),
            Self::I8 => f.write_str("i8"),
            Self::U8 => f.write_str("u8"),
            Self::U16 => f.write_str("u16"),
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::Bool => f.write_str("bool"),
            Self::Other(code) => write!(f, "type{code}"),
        }
    }
}

impl Display for AttributeValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Ints(v) => write!(f, "{v:?}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Floats(v) => write!(f, "{v:?}"),
            Self::String(v) => write!(f, "{:?}", text(v)),
            Self::Strings(v) => write!(f, "{:?}", v.iter().map(|s| text(s)).collect::<Vec<_>>()),
            Self::Tensor(t) => write!(f, "{}{:?}", t.dtype(), t.shape()),
            Self::Opaque(v) => write!(f, "<{} bytes>", v.len()),
        }
    }
}
