//! Initializers that are written to a file beside the model (ONNX's external data).

use std::io::{self, Write};

use crate::Tensor;

use super::rope::Rope;

/// What a tensor's place in the file is a multiple of: a cache line.
const ALIGNMENT: u64 = 64;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i64 = 1;

/// A file beside a model, while it is written.
pub(super) struct Beside<'a> {
    /// The file's name, as the model gives it.
    location: &'a str,
    bytes_min: usize,
    sink: &'a mut dyn Write,
    /// Bytes that were written.
    length: u64,
}

impl<'a> Beside<'a> {
    pub(super) fn new(location: &'a str, bytes_min: usize, sink: &'a mut dyn Write) -> Self {
        Self {
            location,
            bytes_min,
            sink,
            length: 0,
        }
    }

    /// Whether a tensor goes there.
    pub(super) fn takes(&self, tensor: &Tensor) -> bool {
        tensor.dtype().size_bytes().is_some() && tensor.data().len() >= self.bytes_min.max(1)
    }

    /// Writes the tensor's elements and returns the message that says where they are.
    pub(super) fn place(&mut self, name: &str, tensor: &Tensor) -> io::Result<Rope> {
        let offset = self.length.next_multiple_of(ALIGNMENT);
        let filling = [0; ALIGNMENT as usize];
        self.sink.write_all(&filling[..(offset - self.length) as usize])?;
        self.sink.write_all(tensor.data())?;
        self.length = offset + tensor.data().len() as u64;
        let mut rope = Rope::default();
        for extent in tensor.shape() {
            rope.int(1, *extent as i64);
        }
        rope.int(2, i64::from(tensor.dtype().code()));
        rope.bytes(8, name.as_bytes());
        let entries = [
            ("location", self.location.to_owned()),
            ("offset", offset.to_string()),
            ("length", tensor.data().len().to_string()),
        ];
        for (key, value) in entries {
            let mut entry = Rope::default();
            entry.bytes(1, key.as_bytes());
            entry.bytes(2, value.as_bytes());
            rope.message(13, entry);
        }
        rope.int(14, EXTERNAL);
        rope.shared(tensor.opaque().clone());
        Ok(rope)
    }
}
