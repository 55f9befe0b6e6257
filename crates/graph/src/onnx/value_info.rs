//! `ValueInfoProto`: name, type and shape of a value.

use bytes::Bytes;

use crate::{DType, Dim, Value};

use super::rope::Rope;
use super::wire::{Field, WireError, fields};

/// What a `ValueInfoProto` holds.
#[derive(Debug, Default)]
pub(super) struct Info {
    pub(super) name: String,
    dtype: Option<DType>,
    shape: Option<Vec<Dim>>,
    opaque: Option<Bytes>,
}

impl Info {
    /// Reads an encoded `ValueInfoProto`.
    pub(super) fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut info = Self::default();
        let mut kept = Vec::new();
        let mut modelled = true;
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => {
                    field.text()?.clone_into(&mut info.name);
                    continue;
                }
                2 => modelled &= info.read_type(field)?,
                _ => modelled = false,
            }
            kept.extend_from_slice(field.raw);
        }
        if !modelled {
            info.opaque = Some(Bytes::from(kept));
        }
        Ok(info)
    }

    /// Reads a `TypeProto`; false where it holds more than a tensor's type and shape.
    fn read_type(&mut self, field: Field<'_>) -> Result<bool, WireError> {
        let mut modelled = true;
        for field in fields(field.bytes()?) {
            let field = field?;
            if field.number != 1 {
                modelled = false;
                continue;
            }
            for field in fields(field.bytes()?) {
                let field = field?;
                match field.number {
                    1 => {
                        let code = field.int()? as i32;
                        self.dtype = (code != 0).then(|| DType::from_code(code));
                    }
                    2 => {
                        let (shape, plain) = read_shape(field.bytes()?)?;
                        self.shape = Some(shape);
                        modelled &= plain;
                    }
                    _ => modelled = false,
                }
            }
        }
        Ok(modelled)
    }

    /// Gives `value` what this holds, where that is anything.
    pub(super) fn apply(self, value: &mut Value) {
        if self.dtype.is_some() {
            value.dtype = self.dtype;
        }
        if self.shape.is_some() {
            value.shape = self.shape;
        }
        if self.opaque.is_some() {
            value.opaque = self.opaque;
        }
    }
}

/// A `TensorShapeProto`; false where it holds more than extents and symbols.
fn read_shape(message: &[u8]) -> Result<(Vec<Dim>, bool), WireError> {
    let mut shape = Vec::new();
    let mut plain = true;
    for field in fields(message) {
        let field = field?;
        if field.number != 1 {
            plain = false;
            continue;
        }
        let mut dim = Dim::Symbol(String::new());
        for field in fields(field.bytes()?) {
            let field = field?;
            match field.number {
                1 => match usize::try_from(field.int()?) {
                    Ok(extent) => dim = Dim::Fixed(extent),
                    Err(_) => plain = false,
                },
                2 => dim = Dim::Symbol(field.text()?.to_owned()),
                _ => plain = false,
            }
        }
        shape.push(dim);
    }
    Ok((shape, plain))
}

/// Encodes what is known of a value.
pub(super) fn encode(value: &Value) -> Result<Rope, WireError> {
    let mut rope = Rope::default();
    rope.bytes(1, value.name.as_bytes());
    let Some(opaque) = &value.opaque else {
        encode_type(value, &mut rope);
        return Ok(rope);
    };
    let was = Info::read(opaque)?;
    if was.dtype == value.dtype && was.shape == value.shape {
        rope.raw(opaque);
        return Ok(rope);
    }
    encode_type(value, &mut rope);
    for field in fields(opaque) {
        let field = field?;
        if field.number != 2 {
            rope.raw(field.raw);
        }
    }
    Ok(rope)
}

fn encode_type(value: &Value, rope: &mut Rope) {
    if value.dtype.is_none() && value.shape.is_none() {
        return;
    }
    let mut tensor = Rope::default();
    if let Some(dtype) = value.dtype {
        tensor.int(1, i64::from(dtype.code()));
    }
    if let Some(shape) = &value.shape {
        let mut message = Rope::default();
        for dim in shape {
            let mut d = Rope::default();
            match dim {
                Dim::Fixed(extent) => d.int(1, *extent as i64),
                Dim::Symbol(symbol) => d.text(2, symbol),
            }
            message.message(1, d);
        }
        tensor.message(2, message);
    }
    let mut kind = Rope::default();
    kind.message(1, tensor);
    rope.message(2, kind);
}
