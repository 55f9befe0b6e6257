//! Protobuf's wire format: fields in, fields out. Knows nothing of ONNX.
//!
//! Reading borrows: a field's payload is a slice of the file. Nothing is allocated from a declared length before the
//! bytes are there. Writing builds a [`Rope`]: small pieces are gathered, large ones stay the shared bytes that they
//! are, so a model is written without a second copy of its tensors.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::collections::VecDeque;

use bytes::Bytes;

/// Payloads below this are copied when kept, so that they do not hold the whole file in memory.
const SHARE_BYTES_MIN: usize = 4096;

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

/// A message under construction: pieces in order and their total length.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: VecDeque<Piece>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    Small(Vec<u8>),
    Large(Bytes),
}

impl Rope {
    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Encoded fields as they are.
    pub(super) fn raw(&mut self, encoded: &[u8]) {
        self.len += encoded.len();
        if let Some(Piece::Small(last)) = self.pieces.back_mut() {
            last.extend_from_slice(encoded);
        } else if !encoded.is_empty() {
            self.pieces.push_back(Piece::Small(encoded.to_vec()));
        }
    }

    /// Encoded fields as they are, shared where large.
    pub(super) fn shared(&mut self, encoded: Bytes) {
        if encoded.len() < SHARE_BYTES_MIN {
            self.raw(&encoded);
        } else {
            self.len += encoded.len();
            self.pieces.push_back(Piece::Large(encoded));
        }
    }

    fn varint(&mut self, mut value: u64) {
        let mut buffer = [0u8; 10];
        let mut used = 0;
        while value >= 0x80 {
            buffer[used] = (value as u8) | 0x80;
            value >>= 7;
            used += 1;
        }
        buffer[used] = value as u8;
        self.raw(&buffer[..=used]);
    }

    fn key(&mut self, number: u32, wire_type: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire_type));
    }

    /// An integer field.
    pub(super) fn int(&mut self, number: u32, value: i64) {
        self.key(number, 0);
        self.varint(value as u64);
    }

    /// A float field.
    pub(super) fn float(&mut self, number: u32, value: f32) {
        self.key(number, 5);
        self.raw(&value.to_le_bytes());
    }

    /// A bytes or text field.
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        self.varint(value.len() as u64);
        self.raw(value);
    }

    /// A text field, left out when empty.
    pub(super) fn text(&mut self, number: u32, value: &str) {
        if !value.is_empty() {
            self.bytes(number, value.as_bytes());
        }
    }

    /// A bytes field that shares its payload where that is large.
    pub(super) fn shared_bytes(&mut self, number: u32, value: Bytes) {
        self.key(number, 2);
        self.varint(value.len() as u64);
        self.shared(value);
    }

    /// A nested message.
    pub(super) fn message(&mut self, number: u32, message: Rope) {
        self.key(number, 2);
        self.varint(message.len as u64);
        for piece in message.pieces {
            match piece {
                Piece::Small(small) => self.raw(&small),
                Piece::Large(large) => self.shared(large),
            }
        }
    }

    /// Hands out the pieces in order; each is freed once `sink` has seen it.
    pub(super) fn drain<E>(mut self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Small(small) => sink(&small)?,
                Piece::Large(large) => sink(&large)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_reads_back() {
        let mut inner = Rope::default();
        inner.int(1, -5);
        inner.shared_bytes(2, Bytes::from(vec![7u8; 10_000]));
        let mut rope = Rope::default();
        rope.float(3, 1.5);
        rope.message(4, inner);
        rope.text(5, "tail");
        let expected = rope.len();
        let mut encoded = Vec::new();
        let result: Result<(), ()> = rope.drain(|piece| {
            encoded.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(encoded.len(), expected);
        let read: Vec<Field<'_>> = fields(&encoded).map(|f| f.unwrap()).collect();
        assert_eq!(read[0].float(), Ok(1.5));
        let nested: Vec<Field<'_>> = fields(read[1].bytes().unwrap()).map(|f| f.unwrap()).collect();
        assert_eq!(nested[0].int(), Ok(-5));
        assert_eq!(nested[1].bytes().unwrap().len(), 10_000);
        assert_eq!(read[2].text(), Ok("tail"));
    }

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
