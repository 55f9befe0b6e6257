//! The metadata of a PNG that can state an orientation: eXIf, and texts with certain keys, packed or not. Texts are unpacked where one
//! asks for them.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// What a text may unpack to, in bytes; Pillow's own limit.
const UNPACKED_BYTES_MAX: u64 = 1 << 20;

/// What is held of texts at one time, in bytes: one that is unpacked into a vector that grows, its bytes, and the tables for it.
pub(super) const BYTES_MAX: u64 = UNPACKED_BYTES_MAX * 4 + (1 << 17);

/// A file's metadata, as they are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Texts<'a> {
    exif: Option<&'a [u8]>,
    /// ImageMagick's EXIF block: hexadecimal, after lines that say what it is and how long.
    raw_profile: Option<Text<'a>>,
    xmp: Option<Text<'a>>,
}

/// A text as it is stored.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    stored: &'a [u8],
    packed: bool,
}

impl<'a> Texts<'a> {
    /// Takes a chunk; of several that say the same, the last one counts.
    pub(super) fn take(&mut self, name: [u8; 4], content: &'a [u8]) {
        if name == *b"eXIf" {
            self.exif = Some(content);
            return;
        }
        let Some((key, text)) = split(name, content) else {
            return;
        };
        match key {
            b"Raw profile type exif" => self.raw_profile = Some(text),
            b"XML:com.adobe.xmp" => self.xmp = Some(text),
            _ => {}
        }
    }

    /// The EXIF block.
    pub(super) fn exif(&self) -> Option<Cow<'a, [u8]>> {
        match (self.exif, self.raw_profile) {
            (Some(exif), _) => Some(Cow::Borrowed(exif)),
            (None, Some(text)) => bytes_of_raw_profile(&text.unpacked()?).map(Cow::Owned),
            (None, None) => None,
        }
    }

    /// The XMP packet.
    pub(super) fn xmp(&self) -> Option<Cow<'a, [u8]>> {
        self.xmp?.unpacked()
    }
}

/// Key and text of a chunk of type tEXt, zTXt or iTXt.
fn split(name: [u8; 4], content: &[u8]) -> Option<(&[u8], Text<'_>)> {
    let cut = |bytes: &'_ [u8]| memchr::memchr(0, bytes);
    let (key, rest) = content.split_at(cut(content)?);
    let rest = &rest[1..];
    let (stored, packed) = match (&name, rest) {
        (b"tEXt", text) => (text, false),
        (b"zTXt", [0, text @ ..]) => (text, true),
        (b"iTXt", [packed, method, rest @ ..]) if *packed == 0 || *method == 0 => {
            let rest = &rest[cut(rest)? + 1..];
            (&rest[cut(rest)? + 1..], *packed != 0)
        }
        _ => return None,
    };
    Some((key, Text { stored, packed }))
}

impl<'a> Text<'a> {
    /// `None` where it is broken or too long. One that breaks off is taken as far as it goes.
    fn unpacked(self) -> Option<Cow<'a, [u8]>> {
        if !self.packed {
            return Some(Cow::Borrowed(self.stored));
        }
        let mut text = Vec::new();
        let mut unpacking = ZlibDecoder::new(self.stored).take(UNPACKED_BYTES_MAX + 1);
        match unpacking.read_to_end(&mut text) {
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => None,
            _ => (text.len() as u64 <= UNPACKED_BYTES_MAX).then_some(Cow::Owned(text)),
        }
    }
}

/// Lines of a raw profile before its bytes: an empty one, its name, its length.
const LINES_BEFORE: usize = 3;

fn bytes_of_raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').skip(LINES_BEFORE);
    let mut digits = lines.flatten().filter(|byte| !byte.is_ascii_whitespace());
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::new();
    while let Some(high) = digits.next() {
        bytes.push(digit(high)? << 4 | digit(digits.next()?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut packing = ZlibEncoder::new(Vec::new(), Compression::default());
        packing.write_all(text).unwrap();
        packing.finish().unwrap()
    }

    #[test]
    fn raw_profiles_of_every_kind() {
        let text = b"\nexif\n       4\n4d4D\n00 2a\n";
        let check = |name: [u8; 4], before: &[u8], text: &[u8], expected: Option<&[u8]>| {
            let content = [b"Raw profile type exif", before, text].concat();
            let mut texts = Texts::default();
            texts.take(name, &content);
            assert_eq!(texts.exif().as_deref(), expected, "{}", name.escape_ascii());
        };
        check(*b"tEXt", b"\0", text, Some(b"MM\0*"));
        check(*b"zTXt", b"\0\0", &zlib(text), Some(b"MM\0*"));
        check(*b"iTXt", b"\0\0\0\0\0", text, Some(b"MM\0*"));
        check(*b"iTXt", b"\0\x01\0en\0key\0", &zlib(text), Some(b"MM\0*"));
        check(*b"iTXt", b"\0\x01\x01\0\0", &zlib(text), None);
        check(*b"zTXt", b"\0\x01", &zlib(text), None);
        check(*b"zTXt", b"\0\0", b"no zlib", None);
        check(*b"tEXt", b"\0", b"\nexif\n4\n4d4", None);
        check(*b"tEXt", b"\0", b"\nexif\n4\nzz", None);
        check(*b"zTXt", b"\0\0", &zlib(&vec![b'0'; 2 << 20]), None);
    }

    #[test]
    fn exif_goes_before_a_raw_profile() {
        let mut texts = Texts::default();
        texts.take(*b"tEXt", b"Raw profile type exif\0\n\n\n00");
        texts.take(*b"eXIf", b"first");
        texts.take(*b"eXIf", b"second");
        texts.take(*b"tEXt", b"XML:com.adobe.xmp\0packet");
        texts.take(*b"tEXt", b"no end");
        assert_eq!(texts.exif().as_deref(), Some(&b"second"[..]));
        assert_eq!(texts.xmp().as_deref(), Some(&b"packet"[..]));
    }
}
