//! What the `png` crate sees of a file: a header and the pixels. It would refuse unknown chunks, and would keep metadata.

use std::io::{BufRead, Error, ErrorKind, Read, Seek, SeekFrom};

use super::chunks::Chunks;

/// Bytes of the signature, and of a header with its name, length and checksum.
const HEAD_BYTES: usize = 8 + 8 + 13 + 4;

/// A checksum, which is not looked at, and the last chunk.
const TAIL: &[u8; 4 + 12] = b"\0\0\0\0\0\0\0\0IEND\xae\x42\x60\x82";

/// A file of a header and pixels, and an end where the pixels' chunks are whole, read from its beginning.
pub(super) struct Shown<'a> {
    head: [u8; HEAD_BYTES],
    /// How much of the head has been read.
    at: usize,
    /// What is left of the pixels.
    pixels: &'a [u8],
    /// What is left of the end.
    tail: &'static [u8],
}

impl<'a> Shown<'a> {
    pub(super) fn new(chunks: &Chunks<'a>) -> Self {
        let header = &chunks.header;
        // Indices are shown as levels of gray, which need no palette.
        let colour = if header.colour == 3 { 0 } else { header.colour };
        let mut head = [0; HEAD_BYTES];
        head[..16].copy_from_slice(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
        head[16..20].copy_from_slice(&header.width.to_be_bytes());
        head[20..24].copy_from_slice(&header.height.to_be_bytes());
        head[24..29].copy_from_slice(&[header.depth, colour, 0, 0, u8::from(header.interlaced)]);
        Self {
            head,
            at: 0,
            pixels: chunks.pixels,
            tail: chunks.checksum_lacks.map_or(&[][..], |lacks| &TAIL[4 - lacks..]),
        }
    }
}

impl Read for Shown<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Shown<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(match (&self.head[self.at..], self.pixels) {
            ([], []) => self.tail,
            ([], pixels) => pixels,
            (head, _) => head,
        })
    }

    fn consume(&mut self, bytes: usize) {
        if self.at < HEAD_BYTES {
            self.at = (self.at + bytes).min(HEAD_BYTES);
        } else if self.pixels.is_empty() {
            self.tail = self.tail.get(bytes..).unwrap_or_default();
        } else {
            self.pixels = self.pixels.get(bytes..).unwrap_or_default();
        }
    }
}

impl Seek for Shown<'_> {
    /// The `png` crate asks for it and does not use it.
    fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}
