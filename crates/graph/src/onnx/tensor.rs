//! `TensorProto` to [`Tensor`] and back.

use bytes::Bytes;

use crate::{DType, Tensor, TensorError};

use super::error::OnnxError;
use super::external::{Externals, Location};
use super::rope::Rope;
use super::wire::{Field, Payload, Source, WireError, fields};

/// What decoding tensors needs: the buffer they are in and the files beside it.
pub(super) struct Reader<'a, 'e> {
    pub(super) source: Source<'a>,
    pub(super) externals: Externals<'e>,
}

/// A `TensorProto`, sorted but not decoded.
#[derive(Default)]
struct Parts<'a> {
    name: Option<Field<'a>>,
    dims: Vec<i64>,
    code: i32,
    raw: Option<&'a [u8]>,
    floats: Vec<&'a [u8]>,
    doubles: Vec<&'a [u8]>,
    int32: Vec<Field<'a>>,
    int64: Vec<Field<'a>>,
    typed_rest: Vec<Field<'a>>,
    is_external: bool,
    external: Location,
    opaque: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn sort(message: &'a [u8]) -> Result<Self, WireError> {
        let mut parts = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => field.ints(&mut parts.dims)?,
                2 => parts.code = field.int()? as i32,
                4 => parts.floats.push(field.fixed(4)?),
                5 => parts.int32.push(field),
                7 => parts.int64.push(field),
                6 | 11 => parts.typed_rest.push(field),
                8 => parts.name = Some(field),
                9 => parts.raw = Some(field.bytes()?),
                10 => parts.doubles.push(field.fixed(8)?),
                13 => parts.external_entry(field.bytes()?)?,
                14 => parts.is_external = field.int()? == 1,
                _ => parts.opaque.extend_from_slice(field.raw),
            }
        }
        Ok(parts)
    }

    fn external_entry(&mut self, entry: &[u8]) -> Result<(), WireError> {
        let (key, value) = entry_of(entry)?;
        match key {
            "location" => self.external.path = value.to_owned(),
            "offset" => self.external.offset = Some(value.to_owned()),
            "length" => self.external.length = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn name(&self) -> Result<&'a str, WireError> {
        self.name.map_or(Ok(""), |f| f.text())
    }
}

/// Key and value of a `StringStringEntryProto`.
pub(super) fn entry_of(message: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut key, mut value) = ("", "");
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The name of an encoded tensor.
pub(super) fn name_of(message: &[u8]) -> Result<&str, WireError> {
    let mut name = "";
    for field in fields(message) {
        let field = field?;
        if field.number == 8 {
            name = field.text()?;
        }
    }
    Ok(name)
}

/// Whether an encoded tensor keeps its data in another file.
pub(super) fn is_external(message: &[u8]) -> Result<bool, WireError> {
    let mut external = false;
    for field in fields(message) {
        let field = field?;
        if field.number == 14 {
            external = field.int()? == 1;
        }
    }
    Ok(external)
}

impl Reader<'_, '_> {
    /// An initializer: its name and the tensor.
    pub(super) fn initializer(&mut self, message: &[u8]) -> Result<(String, Tensor), OnnxError> {
        let parts = Parts::sort(message).map_err(OnnxError::wire("an initializer"))?;
        let name = parts.name().map_err(OnnxError::wire("an initializer"))?.to_owned();
        let tensor = self.tensor(parts, &name)?;
        Ok((name, tensor))
    }

    /// The tensor of an attribute of `place`. Its own name is kept with what the IR does not model.
    pub(super) fn attribute_tensor(&mut self, message: &[u8], place: &str) -> Result<Tensor, OnnxError> {
        let mut parts = Parts::sort(message).map_err(OnnxError::wire(place))?;
        if let Some(name) = parts.name.take() {
            parts.opaque.extend_from_slice(name.raw);
        }
        self.tensor(parts, place)
    }

    fn tensor(&mut self, mut parts: Parts<'_>, name: &str) -> Result<Tensor, OnnxError> {
        let dtype = DType::from_code(parts.code);
        let shape = extents(&parts.dims, name)?;
        let expected = expected_bytes(dtype, &shape).map_err(|source| OnnxError::Tensor {
            name: name.to_owned(),
            source,
        })?;
        let data = if parts.is_external {
            self.externals.fetch(name, &parts.external, expected)?
        } else if let Some(raw) = parts.raw {
            self.source.keep(raw)
        } else {
            self.typed(dtype, &mut parts)
                .map_err(OnnxError::wire(format!("tensor {name:?}")))?
        };
        let explicit = parts.is_external || parts.raw.is_some();
        if let Some(expected) = expected.filter(|e| explicit && *e != data.len()) {
            return Err(OnnxError::Tensor {
                name: name.to_owned(),
                source: TensorError::Size {
                    found: data.len(),
                    shape,
                    dtype,
                    expected,
                },
            });
        }
        let tensor = Tensor::new(dtype, shape, data).map_err(|source| OnnxError::Tensor {
            name: name.to_owned(),
            source,
        })?;
        Ok(tensor.with_opaque(Bytes::from(parts.opaque)))
    }

    /// Data from the typed fields. Those of types that the IR does not model go to `parts.opaque` as they are.
    fn typed(&self, dtype: DType, parts: &mut Parts<'_>) -> Result<Bytes, WireError> {
        Ok(match dtype {
            DType::F32 => self.joined(&parts.floats),
            DType::F64 => self.joined(&parts.doubles),
            DType::I64 => integers(&parts.int64, |v, out| out.extend_from_slice(&v.to_le_bytes()))?,
            DType::I32 => integers(&parts.int32, |v, out| out.extend_from_slice(&(v as i32).to_le_bytes()))?,
            DType::F16 | DType::BF16 | DType::U16 => {
                integers(&parts.int32, |v, out| out.extend_from_slice(&(v as u16).to_le_bytes()))?
            }
            DType::I8 | DType::U8 => integers(&parts.int32, |v, out| out.push(v as u8))?,
            DType::Bool => integers(&parts.int32, |v, out| out.push(u8::from(v != 0)))?,
            DType::Other(_) => {
                for field in parts.int32.iter().chain(&parts.int64).chain(&parts.typed_rest) {
                    parts.opaque.extend_from_slice(field.raw);
                }
                let repacked = [(4u32, &parts.floats), (10, &parts.doubles)];
                for (number, chunks) in repacked {
                    let mut rope = Rope::default();
                    for chunk in chunks {
                        rope.bytes(number, chunk);
                    }
                    rope.into_iter()
                        .for_each(|piece| parts.opaque.extend_from_slice(&piece));
                }
                Bytes::new()
            }
        })
    }

    fn joined(&self, chunks: &[&[u8]]) -> Bytes {
        match chunks {
            [one] => self.source.keep(one),
            many => Bytes::from(many.concat()),
        }
    }
}

fn integers(fields: &[Field<'_>], put: impl Fn(i64, &mut Vec<u8>)) -> Result<Bytes, WireError> {
    let mut out = Vec::new();
    let mut values = Vec::new();
    for field in fields {
        match field.payload {
            Payload::Varint(v) => put(v as i64, &mut out),
            _ => {
                values.clear();
                field.ints(&mut values)?;
                values.iter().for_each(|v| put(*v, &mut out));
            }
        }
    }
    Ok(Bytes::from(out))
}

fn extents(dims: &[i64], name: &str) -> Result<Vec<usize>, OnnxError> {
    dims.iter()
        .map(|d| {
            usize::try_from(*d).map_err(|_| OnnxError::Extent {
                name: name.to_owned(),
                extent: *d,
            })
        })
        .collect()
}

/// Bytes that a shape takes; `None` for strings and types of no fixed width.
fn expected_bytes(dtype: DType, shape: &[usize]) -> Result<Option<usize>, TensorError> {
    let overflow = || TensorError::Overflow(shape.to_vec());
    let elements = shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .ok_or_else(overflow)?;
    let bits = match dtype {
        DType::Other(5) => 16,
        DType::Other(12) => 32,
        DType::Other(13 | 14) => 64,
        DType::Other(15) => 128,
        DType::Other(17..=20 | 24) => 8,
        DType::Other(21..=23) => 4,
        DType::Other(25 | 26) => 2,
        DType::Other(_) => return Ok(None),
        known => known.size_bytes().unwrap_or(0) * 8,
    };
    let total = elements.checked_mul(bits).ok_or_else(overflow)?;
    Ok(Some(total.div_ceil(8)))
}

/// Encodes a tensor, under `name` where that is given.
pub(super) fn encode(name: Option<&str>, tensor: Tensor) -> Rope {
    let mut rope = Rope::default();
    for extent in tensor.shape() {
        rope.int(1, *extent as i64);
    }
    rope.int(2, i64::from(tensor.dtype().code()));
    if let Some(name) = name {
        rope.bytes(8, name.as_bytes());
    }
    let modelled = tensor.dtype().size_bytes().is_some();
    if modelled || !tensor.data().is_empty() {
        rope.shared_bytes(9, tensor.data().clone());
    }
    rope.shared(tensor.opaque().clone());
    rope
}
