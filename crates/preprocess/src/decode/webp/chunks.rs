//! The chunks of a WebP, as far as they announce pixels.

use super::codes::Stream;

/// Bytes of a chunk's name and length.
const HEAD: usize = 8;
/// Bytes of the RIFF header before the first chunk.
const FIRST: usize = 12;
/// Bytes of an animation frame's own header.
const FRAME_HEAD: usize = 16;

/// The chunks that a decoder may take for the first picture: those of the file and those of the first frame of an animation.
fn pictures(encoded: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let animated = chunks(encoded.get(FIRST..).unwrap_or_default())
        .find(|(name, _)| *name == b"ANMF")
        .and_then(|(_, frame)| frame.get(FRAME_HEAD..))
        .unwrap_or_default();
    chunks(encoded.get(FIRST..).unwrap_or_default()).chain(chunks(animated).take(2))
}

/// Width and height that the lossy frames announce.
pub(super) fn lossy_frames(encoded: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    pictures(encoded).filter_map(|(_, content)| sides(content))
}

/// The lossless streams: pictures, and the alpha of lossy ones, which has no header and the sides of its picture, at most those given.
pub(super) fn lossless_streams(encoded: &[u8], width: u32, height: u32) -> impl Iterator<Item = Stream<'_>> {
    pictures(encoded).filter_map(move |(name, content)| match (name, content) {
        (b"VP8L", [0x2f, b0, b1, b2, b3, bytes @ ..]) => {
            let header = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some(Stream {
                bytes,
                width: (header & 0x3fff) + 1,
                height: (header >> 14 & 0x3fff) + 1,
            })
        }
        (b"ALPH", [info, bytes @ ..]) if info & 3 == 1 => Some(Stream { bytes, width, height }),
        _ => None,
    })
}

/// Name and content of each chunk; the last one may be cut.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, after) = rest.split_at_checked(HEAD)?;
        let (name, length) = head.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
        let content = after.get(..length).unwrap_or(after);
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some((name, content))
    })
}

/// Width and height in the head of a VP8 key frame.
fn sides(content: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = content else {
        return None;
    };
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    Some((side([*w0, *w1]), side([*h0, *h1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let padding = vec![0; content.len() % 2];
        [name, &(content.len() as u32).to_le_bytes()[..], content, &padding].concat()
    }

    #[test]
    fn frames_are_found_in_the_file_and_in_its_animation() {
        let frame = |side: u8| [0, 0, 0, 0x9d, 0x01, 0x2a, side, 0, side, 0];
        let animation = |side: u8| {
            let alpha = chunk(b"ALPH", &[1, 2, 3]);
            chunk(
                b"ANMF",
                &[&[0; FRAME_HEAD], &alpha[..], &chunk(b"????", &frame(side))].concat(),
            )
        };
        let file = [
            b"RIFF\0\0\0\0WEBP",
            &chunk(b"VP8X", &[0; 10])[..],
            &chunk(b"EXIF", &[7]),
            &chunk(b"VP8 ", &frame(5)),
            &animation(6),
            &animation(7),
        ]
        .concat();
        assert_eq!(lossy_frames(&file).collect::<Vec<_>>(), [(5, 5), (6, 6)]);
        assert_eq!(lossy_frames(b"RIFF\0\0\0\0WEBPVP8 \xff\xff\xff\xff").count(), 0);
        assert_eq!(lossy_frames(b"RIFF").count(), 0);
    }
}
