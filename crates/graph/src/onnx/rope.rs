//! Protobuf's wire format, written: a message as small pieces that are gathered and large ones that stay the shared bytes
//! they are, so a model is written without a second copy of its tensors. Reading is [`wire`](super::wire)'s.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::collections::VecDeque;

use bytes::Bytes;

use super::wire::SHARE_BYTES_MIN;

/// A message under construction: pieces in order and their total length.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: VecDeque<Piece>,
    len: usize,
}

/// A part of a message: gathered small fields, or one large payload.
#[derive(Debug)]
pub(super) enum Piece {
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
}

impl IntoIterator for Rope {
    type Item = Bytes;
    type IntoIter = std::iter::Map<std::collections::vec_deque::IntoIter<Piece>, fn(Piece) -> Bytes>;

    /// The pieces in order.
    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter().map(Piece::into_bytes)
    }
}

impl Piece {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Small(small) => small.into(),
            Self::Large(large) => large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::wire::{Field, fields};

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
        let encoded = rope.into_iter().collect::<Vec<Bytes>>().concat();
        assert_eq!(encoded.len(), expected);
        let read: Vec<Field<'_>> = fields(&encoded).map(|f| f.unwrap()).collect();
        assert_eq!(read[0].float(), Ok(1.5));
        let nested: Vec<Field<'_>> = fields(read[1].bytes().unwrap()).map(|f| f.unwrap()).collect();
        assert_eq!(nested[0].int(), Ok(-5));
        assert_eq!(nested[1].bytes().unwrap().len(), 10_000);
        assert_eq!(read[2].text(), Ok("tail"));
    }
}
