//! `AttributeProto` to [`Attribute`] and back.

use bytes::Bytes;

use crate::{Attribute, AttributeValue};

use super::error::OnnxError;
use super::place::Place;
use super::rope::Rope;
use super::tensor::{Reader, encode as encode_tensor};
use super::wire::{Field, WireError, fields};

/// `AttributeProto.AttributeType`, and the field that holds each.
mod kind {
    pub(super) const FLOAT: i64 = 1;
    pub(super) const INT: i64 = 2;
    pub(super) const STRING: i64 = 3;
    pub(super) const TENSOR: i64 = 4;
    pub(super) const GRAPH: i64 = 5;
    pub(super) const FLOATS: i64 = 6;
    pub(super) const INTS: i64 = 7;
    pub(super) const STRINGS: i64 = 8;
    pub(super) const GRAPHS: i64 = 10;

    /// The kind that a payload field belongs to, for files that leave `type` out.
    pub(super) fn of_field(number: u32) -> Option<i64> {
        Some(match number {
            2 => FLOAT,
            3 => INT,
            4 => STRING,
            5 => TENSOR,
            6 => GRAPH,
            7 => FLOATS,
            8 => INTS,
            9 => STRINGS,
            11 => GRAPHS,
            _ => return None,
        })
    }
}

struct Parts<'a> {
    name: &'a str,
    kind: i64,
    is_reference: bool,
    payload: Vec<Field<'a>>,
    opaque: Vec<u8>,
}

fn sort(message: &[u8]) -> Result<Parts<'_>, WireError> {
    let (mut name, mut kind, mut guess, mut is_reference) = ("", 0, None, false);
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            20 => kind = field.int()?,
            21 => is_reference = !field.bytes()?.is_empty(),
            n => guess = guess.or(kind::of_field(n)),
        }
    }
    if kind == 0 {
        kind = guess.unwrap_or(0);
    }
    let (mut payload, mut opaque) = (Vec::new(), Vec::new());
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 | 20 => {}
            n if kind::of_field(n) == Some(kind) => payload.push(field),
            _ => opaque.extend_from_slice(field.raw),
        }
    }
    Ok(Parts {
        name,
        kind,
        is_reference,
        payload,
        opaque,
    })
}

impl Reader<'_, '_> {
    /// Reads an attribute of `place`.
    pub(super) fn attribute(&mut self, message: &[u8], place: &Place<'_>) -> Result<Attribute, OnnxError> {
        let parts = sort(message).map_err(OnnxError::wire(place))?;
        let opaque = |source: super::wire::Source<'_>| AttributeValue::Opaque(source.keep(message));
        let value = if parts.is_reference {
            opaque(self.source)
        } else if parts.kind == kind::TENSOR {
            let field = parts.payload.last().ok_or_else(|| OnnxError::Missing {
                place: format!("attribute {:?} of {place}", parts.name),
                what: "tensor",
            })?;
            let tensor = field.bytes().map_err(OnnxError::wire(place))?;
            let label = format!("attribute {:?} of {place}", parts.name);
            AttributeValue::Tensor(self.attribute_tensor(tensor, &label)?)
        } else {
            plain(&parts)
                .map_err(OnnxError::wire(place))?
                .unwrap_or_else(|| opaque(self.source))
        };
        let rest = if matches!(value, AttributeValue::Opaque(_)) {
            Vec::new()
        } else {
            parts.opaque
        };
        Ok(Attribute {
            name: parts.name.to_owned(),
            value,
            opaque: Bytes::from(rest),
        })
    }
}

/// The value of an attribute of numbers or strings; `None` for other kinds.
fn plain(parts: &Parts<'_>) -> Result<Option<AttributeValue>, WireError> {
    let last = parts.payload.last();
    Ok(Some(match parts.kind {
        kind::FLOAT => AttributeValue::Float(last.map_or(Ok(0.0), Field::float)?),
        kind::INT => AttributeValue::Int(last.map_or(Ok(0), Field::int)?),
        kind::STRING => AttributeValue::String(Bytes::copy_from_slice(last.map_or(Ok(&[][..]), Field::bytes)?)),
        kind::FLOATS => {
            let mut values = Vec::new();
            for field in &parts.payload {
                let bytes = field.fixed(4)?;
                values.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
            }
            AttributeValue::Floats(values)
        }
        kind::INTS => {
            let mut values = Vec::new();
            for field in &parts.payload {
                field.ints(&mut values)?;
            }
            AttributeValue::Ints(values)
        }
        kind::STRINGS => {
            let strings: Result<Vec<Bytes>, WireError> = parts
                .payload
                .iter()
                .map(|f| f.bytes().map(Bytes::copy_from_slice))
                .collect();
            AttributeValue::Strings(strings?)
        }
        _ => return Ok(None),
    }))
}

/// The encoded graphs inside an attribute that is kept as it is.
pub(super) fn graphs(encoded: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut graphs = Vec::new();
    for field in fields(encoded) {
        let field = field?;
        if matches!(field.number, 6 | 11) {
            graphs.push(field.bytes()?);
        }
    }
    Ok(graphs)
}

/// Encodes an attribute.
pub(super) fn encode(attribute: Attribute) -> Rope {
    let mut rope = Rope::default();
    if let AttributeValue::Opaque(whole) = attribute.value {
        rope.shared(whole);
        return rope;
    }
    rope.bytes(1, attribute.name.as_bytes());
    let kind = match attribute.value {
        AttributeValue::Float(v) => {
            rope.float(2, v);
            kind::FLOAT
        }
        AttributeValue::Int(v) => {
            rope.int(3, v);
            kind::INT
        }
        AttributeValue::String(v) => {
            rope.bytes(4, &v);
            kind::STRING
        }
        AttributeValue::Tensor(v) => {
            rope.message(5, encode_tensor(None, v));
            kind::TENSOR
        }
        AttributeValue::Floats(v) => {
            v.iter().for_each(|v| rope.float(7, *v));
            kind::FLOATS
        }
        AttributeValue::Ints(v) => {
            v.iter().for_each(|v| rope.int(8, *v));
            kind::INTS
        }
        AttributeValue::Strings(v) => {
            v.iter().for_each(|v| rope.bytes(9, v));
            kind::STRINGS
        }
        AttributeValue::Opaque(_) => 0,
    };
    rope.int(20, kind);
    rope.raw(&attribute.opaque);
    rope
}
