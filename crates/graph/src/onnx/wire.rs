//! Protobuf's wire format, read: fields in order. Knows nothing of ONNX. Writing is [`rope`](super::rope)'s.
//!
//! Reading borrows: a field's payload is a slice of the file. Nothing is allocated from a declared length before the
//! bytes are there.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use bytes::Bytes;

/// Payloads below this are copied when kept, so that they do not hold the whole file in memory.
pub(super) const SHARE_BYTES_MIN: usize = 4096;

/// Why bytes are not protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field's payload reaches beyond the end.
    #[error("the data ends in the middle of a field")]
    Truncated,
    /// A varint longer than 64 bits.
    #[error("a number is longer than 64 bits")]
    Varint,
    /// Field number 0 or one that is too large.
    #[error("field number {0} does not exist in protobuf")]
    FieldNumber(u64),
    /// A wire type that ONNX does not use (groups) or that does not exist.
    #[error("wire type {0} is not used by ONNX")]
    WireType(u8),
    /// A known field with another wire type than it has in ONNX.
    #[error("field {0} has another type than in ONNX")]
    FieldType(u32),
    /// A string that is not UTF-8.
    #[error("field {0} should be text and is not UTF-8")]
    Utf8(u32),
}

/// A field as it stands in the data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) payload: Payload<'a>,
    /// The whole field, key included, for keeping what is not understood.
    pub(super) raw: &'a [u8],
}

/// What a field carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, in order.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of `message`.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.rest;
        let key = take_varint(&mut self.rest)?;
        let number = match u32::try_from(key >> 3) {
            Ok(n) if (1..1 << 29).contains(&n) => n,
            _ => return Err(WireError::FieldNumber(key >> 3)),
        };
        let payload = match (key & 7) as u8 {
            0 => Payload::Varint(take_varint(&mut self.rest)?),
            1 => {
                take(&mut self.rest, 8)?;
                Payload::Fixed64
            }
            2 => {
                let length = usize::try_from(take_varint(&mut self.rest)?).map_err(|_| WireError::Truncated)?;
                Payload::Bytes(take(&mut self.rest, length)?)
            }
            5 => Payload::Fixed32(take_array(&mut self.rest)?),
            other => return Err(WireError::WireType(other)),
        };
        let raw = &start[..start.len() - self.rest.len()];
        Ok(Field { number, payload, raw })
    }
}

impl<'a> Field<'a> {
    /// A nested message or bytes.
    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Bytes(b) => Ok(b),
            _ => Err(WireError::FieldType(self.number)),
        }
    }

    /// Text.
    pub(super) fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8(self.number))
    }

    /// An int32, int64 or enum.
    pub(super) fn int(&self) -> Result<i64, WireError> {
        match self.payload {
            Payload::Varint(v) => Ok(v as i64),
            _ => Err(WireError::FieldType(self.number)),
        }
    }

    /// A float.
    pub(super) fn float(&self) -> Result<f32, WireError> {
        match self.payload {
            Payload::Fixed32(b) => Ok(f32::from_le_bytes(b)),
            _ => Err(WireError::FieldType(self.number)),
        }
    }

    /// One element or a packed run of a repeated integer field, appended to `out`.
    pub(super) fn ints(&self, out: &mut Vec<i64>) -> Result<(), WireError> {
        match self.payload {
            Payload::Varint(v) => out.push(v as i64),
            Payload::Bytes(mut packed) => {
                while !packed.is_empty() {
                    out.push(take_varint(&mut packed)? as i64);
                }
            }
            _ => return Err(WireError::FieldType(self.number)),
        }
        Ok(())
    }

    /// The little-endian bytes of one element or a packed run of a repeated float (4) or double (8) field.
    pub(super) fn fixed(&self, width: usize) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Fixed32(_) if width == 4 => Ok(&self.raw[self.raw.len() - 4..]),
            Payload::Fixed64 if width == 8 => Ok(&self.raw[self.raw.len() - 8..]),
            Payload::Bytes(b) if b.len().is_multiple_of(width) => Ok(b),
            Payload::Bytes(_) => Err(WireError::Truncated),
            _ => Err(WireError::FieldType(self.number)),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let (head, tail) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
    *rest = tail;
    Ok(head)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return Err(WireError::Varint);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 {
        WireError::Truncated
    } else {
        WireError::Varint
    })
}

/// The buffer that everything is read from. Large parts are shared, small ones copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    whole: &'a Bytes,
}

impl<'a> Source<'a> {
    pub(super) fn new(whole: &'a Bytes) -> Self {
        Self { whole }
    }

    /// All of it.
    pub(super) fn all(self) -> &'a [u8] {
        self.whole
    }

    /// `part`, a slice of the buffer, to keep.
    pub(super) fn keep(self, part: &[u8]) -> Bytes {
        if part.len() < SHARE_BYTES_MIN {
            Bytes::copy_from_slice(part)
        } else {
            self.whole.slice_ref(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_fields_are_errors() {
        let check = |data: &[u8], expected: WireError| {
            let error = fields(data).find_map(Result::err);
            assert_eq!(error, Some(expected), "{data:?}");
        };
        check(&[0x0a], WireError::Truncated);
        check(&[0x0a, 5, 1], WireError::Truncated);
        check(
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            WireError::Truncated,
        );
        check(
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            WireError::Varint,
        );
        check(&[0x00, 1], WireError::FieldNumber(0));
        check(&[0x0b], WireError::WireType(3));
    }
}
