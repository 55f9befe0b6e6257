//! The chunks of a PNG (ISO/IEC 15948), as far as Pillow looks at them: unknown ones are passed over, and what comes after the pixels
//! may be missing or broken.

use image::metadata::Orientation;

use super::texts::Texts;
use crate::orientation;

/// Bytes before the first chunk.
const SIGNATURE_BYTES: usize = 8;

/// What the first chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits of a sample.
    pub depth: u8,
    /// The standard's number for the channels.
    pub colour: u8,
    /// Whether the picture comes in seven passes.
    pub interlaced: bool,
}

impl Header {
    fn read(content: &[u8]) -> Option<Self> {
        let (width, rest) = content.split_first_chunk()?;
        let (height, rest) = rest.split_first_chunk()?;
        let [depth, colour, _compression, _filter, interlaced, ..] = *rest else {
            return None;
        };
        Some(Self {
            width: u32::from_be_bytes(*width),
            height: u32::from_be_bytes(*height),
            depth,
            colour,
            interlaced: interlaced != 0,
        })
    }

    /// Bytes of a row of the whole picture with the byte of its filter.
    pub(super) fn row_bytes(&self) -> u64 {
        let samples = match self.colour {
            2 => 3,
            4 => 2,
            6 => 4,
            _ => 1,
        };
        (u64::from(self.width) * samples * u64::from(self.depth)).div_ceil(8) + 1
    }
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    /// What its first chunk says.
    pub header: Header,
    /// The colours of indices: R, G, B of each. Empty where there are none.
    pub palette: &'a [u8],
    /// The chunks of pixels, one after the other, as they stand in the file; the last one may be cut.
    pub pixels: &'a [u8],
    /// Bytes that the last one's checksum lacks; `None` where it is cut before that.
    pub checksum_lacks: Option<usize>,
    texts: Texts<'a>,
}

impl<'a> Chunks<'a> {
    /// Finds the chunks; of pixels, nothing is unpacked.
    ///
    /// # Errors
    /// What is missing or broken before the pixels.
    pub(super) fn read(encoded: &'a [u8]) -> Result<Self, &'static str> {
        let mut walk = Walk {
            encoded,
            at: SIGNATURE_BYTES,
        };
        let (mut header, mut palette, mut animated) = (None, &[][..], false);
        let mut texts = Texts::default();
        let mut chunk = loop {
            let chunk = walk.next().ok_or("the file ends before its pixels")?;
            if chunk.name == *b"IDAT" {
                break chunk;
            }
            if !chunk.whole {
                return Err("the file ends before its pixels");
            }
            if chunk.is_critical() && !chunk.is_sound() {
                return Err("the checksum of a chunk before its pixels is wrong");
            }
            match &chunk.name {
                b"IHDR" => header = Header::read(chunk.content),
                b"PLTE" => palette = chunk.content,
                b"acTL" => animated = true,
                b"IEND" => return Err("it has no pixels (IDAT)"),
                _ => texts.take(chunk.name, chunk.content),
            }
        };
        let header = header.ok_or("it has no header (IHDR)")?;
        let start = chunk.start;
        let (mut end, mut checksum_lacks) = (walk.at, chunk.checksum_lacks());
        while let Some(next) = walk.next() {
            chunk = next;
            if chunk.name != *b"IDAT" {
                break;
            }
            (end, checksum_lacks) = (walk.at, chunk.checksum_lacks());
        }
        // What comes after the pixels of an animation belongs to its other frames.
        while chunk.whole && chunk.name != *b"IEND" && !(animated && chunk.name == *b"fcTL") {
            texts.take(chunk.name, chunk.content);
            match walk.next() {
                Some(next) => chunk = next,
                None => break,
            }
        }
        Ok(Self {
            header,
            palette,
            pixels: encoded.get(start..end).unwrap_or_default(),
            checksum_lacks,
            texts,
        })
    }

    /// What the metadata state; metadata that are broken or too large state nothing.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.texts.exif();
        let xmp = self.texts.xmp();
        orientation::stated(exif.as_deref(), xmp.as_deref())
    }
}

/// One chunk.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    name: [u8; 4],
    content: &'a [u8],
    /// The checksum that the file gives, of four bytes if it is whole.
    checksum: &'a [u8],
    /// Where it starts in the file.
    start: usize,
    /// Whether all of its content is there.
    whole: bool,
}

impl Chunk<'_> {
    /// Whether the pixels cannot be understood without it.
    fn is_critical(&self) -> bool {
        self.name[0].is_ascii_uppercase()
    }

    fn is_sound(&self) -> bool {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.name);
        sum.update(self.content);
        self.checksum == sum.finalize().to_be_bytes()
    }

    fn checksum_lacks(&self) -> Option<usize> {
        self.whole.then_some(4 - self.checksum.len())
    }
}

/// A place in a file, between two chunks.
struct Walk<'a> {
    encoded: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The chunk at this place; `None` where the file ends or what follows has no chunk's name.
    fn next(&mut self) -> Option<Chunk<'a>> {
        let start = self.at;
        let (length, rest) = self.encoded.get(start..)?.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk::<4>()?;
        if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        let length = u32::from_be_bytes(*length) as usize;
        let (content, rest) = rest.split_at(length.min(rest.len()));
        self.at = (start + 8 + content.len() + 4).min(self.encoded.len());
        Some(Chunk {
            name: *name,
            content,
            checksum: &rest[..rest.len().min(4)],
            start,
            whole: content.len() == length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let sum = crc32fast::hash(&[name, content].concat());
        [
            &(content.len() as u32).to_be_bytes()[..],
            name,
            content,
            &sum.to_be_bytes(),
        ]
        .concat()
    }

    fn file(parts: &[&[u8]]) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &HEADER), &parts.concat()].concat()
    }

    const HEADER: [u8; 13] = [0, 0, 0, 3, 0, 0, 0, 2, 8, 2, 0, 0, 0];
    const TURNED: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

    #[test]
    fn pixels_are_found_between_other_chunks() {
        let pixels = [chunk(b"IDAT", b"one"), chunk(b"IDAT", b"two")].concat();
        let check = |parts: &[&[u8]]| {
            let file = file(parts);
            let chunks = Chunks::read(&file).unwrap();
            assert_eq!((chunks.header.width, chunks.header.height), (3, 2));
            assert_eq!(chunks.pixels, pixels);
            chunks.orientation()
        };
        let end = chunk(b"IEND", b"");
        assert_eq!(check(&[&pixels, &end]), Orientation::NoTransforms);
        assert_eq!(check(&[&pixels]), Orientation::NoTransforms);
        assert_eq!(
            check(&[&chunk(b"CRIT", b"?"), &pixels, b"junk"]),
            Orientation::NoTransforms
        );
        assert_eq!(check(&[&chunk(b"eXIf", TURNED), &pixels]), Orientation::Rotate90);
        assert_eq!(
            check(&[&pixels, &chunk(b"CRIT", b"?"), &chunk(b"eXIf", TURNED)]),
            Orientation::Rotate90
        );
        assert_eq!(
            check(&[&pixels, &end, &chunk(b"eXIf", TURNED)]),
            Orientation::NoTransforms
        );
        let animation = chunk(b"acTL", &[0; 8]);
        let next = chunk(b"fcTL", &[0; 26]);
        assert_eq!(
            check(&[&animation, &pixels, &next, &chunk(b"eXIf", TURNED)]),
            Orientation::NoTransforms
        );
    }

    #[test]
    fn what_comes_before_the_pixels_must_be_whole() {
        let check = |parts: &[&[u8]], expected| assert_eq!(Chunks::read(&file(parts)).unwrap_err(), expected);
        let pixels = chunk(b"IDAT", b"one");
        let mut broken = chunk(b"PLTE", &[0; 3]);
        broken[9] = 1;
        check(&[], "the file ends before its pixels");
        check(&[&pixels[..7]], "the file ends before its pixels");
        check(
            &[&broken, &pixels],
            "the checksum of a chunk before its pixels is wrong",
        );
        check(&[&chunk(b"IEND", b"")], "it has no pixels (IDAT)");
        check(&[b"\0\0\0\0\0\0\0\0", &pixels], "the file ends before its pixels");
        // A broken chunk that the pixels can do without is no reason.
        let mut broken = chunk(b"tEXt", b"a\0b");
        broken[9] = 1;
        assert!(Chunks::read(&file(&[&broken, &pixels])).is_ok());
        let cut = &file(&[&pixels])[..8 + 25 + 8 + 2];
        let chunks = Chunks::read(cut).unwrap();
        assert_eq!((chunks.pixels, chunks.checksum_lacks), (&pixels[..10], None));
        let cut = &file(&[&pixels])[..8 + 25 + 8 + 3 + 1];
        assert_eq!(Chunks::read(cut).unwrap().checksum_lacks, Some(3));
    }
}
