//! The marker structure of a JPEG file, read without decoding: size, orientation, and whether the file is whole.

use std::borrow::Cow;

use image::metadata::Orientation;

use crate::error::ImageError;
use crate::format::Format;
use crate::orientation;

/// More scans than any encoder writes; each costs a pass over every block, whatever its size in the file.
const SCANS_MAX: usize = 64;

/// What the markers of a JPEG file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Markers {
    /// The first frame.
    pub frame: FrameHeader,
    /// How to turn the stored picture upright.
    pub orientation: Orientation,
    /// How often the decoder goes over the picture.
    pub scans: usize,
}

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Pixels in a row, as stored.
    pub width: u32,
    /// Rows, as stored.
    pub height: u32,
    /// Whether it is refined from scan to scan.
    pub progressive: bool,
    /// Whether it is coded without a transform, so that it has no reduced scales.
    pub lossless: bool,
    /// How often a component is sampled across and down; 0 for components that are not there. Only the first four are read.
    pub sampling: [[u8; 2]; 4],
}

impl FrameHeader {
    /// Whether its colours are inks, which are four.
    pub(crate) fn has_ink(&self) -> bool {
        self.sampling[3] != [0; 2]
    }

    /// Samples of all components, in whole blocks of 8 by 8, as a decoder keeps them that needs several scans.
    pub(crate) fn samples(&self) -> u64 {
        let most = |axis: usize| u64::from(self.sampling.iter().map(|s| s[axis]).max().unwrap_or(1).max(1));
        let (across, down) = (most(0), most(1));
        let blocks = |side: u32, sampled: u8, most: u64| {
            (u64::from(side) * u64::from(sampled))
                .div_ceil(most * 8)
                .next_multiple_of(u64::from(sampled))
        };
        self.sampling
            .iter()
            .filter(|[h, v]| *h > 0 && *v > 0)
            .map(|[h, v]| 64 * blocks(self.width, *h, across) * blocks(self.height, *v, down))
            .sum()
    }
}

/// Walks the segments up to the end-of-image marker.
///
/// # Errors
/// [`ImageError::Corrupt`] if the file ends before that marker, as Pillow sees it, or has no frame or no scan.
pub(crate) fn read(encoded: &[u8]) -> Result<Markers, ImageError> {
    let mut frame = None;
    let (mut exif, mut xmp) = (Cow::Borrowed(&[][..]), None);
    let mut scans = 0;
    let mut rest = encoded.get(2..).unwrap_or_default();
    let mut data = None;
    loop {
        let Some((marker, after)) = next_marker(rest) else {
            // What looks like a marker's segment within broken data may have hidden the end.
            if data.is_some_and(has_end) {
                break;
            }
            return Err(truncated(scans, rest.len()));
        };
        rest = after;
        if marker == 0xd9 {
            break;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd8) || scans > 0 && !may_follow_data(marker) {
            continue;
        }
        let mut following = rest;
        let segment = match take_segment(&mut following) {
            Some(segment) => segment,
            None if scans > 0 => continue,
            None => return Err(truncated(scans, rest.len())),
        };
        rest = following;
        match marker {
            _ if frame.is_none() && is_frame(marker) => frame = frame_header(marker, segment),
            // Pillow reads metadata up to the first scan: one EXIF block in several parts, and the last XMP packet.
            0xe1 if scans == 0 => {
                if let Some(part) = segment.strip_prefix(b"Exif\0\0") {
                    append(&mut exif, part);
                }
                xmp = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0").or(xmp);
            }
            0xda => {
                scans += 1;
                data = data.or(Some(rest));
            }
            _ => {}
        }
    }
    match frame {
        _ if scans > SCANS_MAX => {
            let what = format!("{scans} scans; {SCANS_MAX} are read at most");
            Err(ImageError::Unsupported {
                format: Format::Jpeg,
                what,
            })
        }
        Some(frame) if scans > 0 && frame.width > 0 && frame.height > 0 => Ok(Markers {
            frame,
            orientation: orientation::stated(Some(&*exif), xmp),
            scans,
        }),
        Some(FrameHeader { width, height, .. }) if scans > 0 => {
            Err(corrupt(format!("the frame header announces {width}x{height} pixels")))
        }
        Some(_) => Err(corrupt("it has no scan, so no pixels".into())),
        None => Err(corrupt("it has no frame header (SOF), so no size".into())),
    }
}

/// Whether the end-of-image marker is anywhere in it.
fn has_end(data: &[u8]) -> bool {
    memchr::memmem::find(data, b"\xff\xd9").is_some()
}

/// Whether a segment with this marker may stand behind coded data: tables, another scan, a number of lines, or what is of no concern. A
/// decoder passes over every other marker as it does over broken data.
fn may_follow_data(marker: u8) -> bool {
    matches!(marker, 0xc4 | 0xcc | 0xda..=0xdd | 0xe0..=0xef | 0xfe)
}

/// Appends a part without a copy where it is the first.
fn append<'a>(block: &mut Cow<'a, [u8]>, part: &'a [u8]) {
    if block.is_empty() {
        *block = Cow::Borrowed(part);
    } else {
        block.to_mut().extend_from_slice(part);
    }
}

/// The first frame of a JPEG that may be part of another file, without judging the rest.
pub(crate) fn first_frame(encoded: &[u8]) -> Option<FrameHeader> {
    let mut rest = encoded.get(2..)?;
    loop {
        let (marker, after) = next_marker(rest)?;
        rest = after;
        match marker {
            0xd9 | 0xda => return None,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let segment = take_segment(&mut rest)?;
        if is_frame(marker) {
            return frame_header(marker, segment);
        }
    }
}

/// Shows the segments before the first scan, each with its marker, whole. What follows them is returned, from the scan's own segment on;
/// nothing where there is no scan.
pub(crate) fn each_segment(encoded: &[u8], mut show: impl FnMut(u8, &[u8])) -> &[u8] {
    let mut rest = encoded.get(2..).unwrap_or_default();
    loop {
        let Some((marker, after)) = next_marker(rest) else {
            return &[];
        };
        let start = encoded.len() - after.len() - 2;
        rest = after;
        match marker {
            0xd9 => return &[],
            0xda => return &encoded[start..],
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        if take_segment(&mut rest).is_none() {
            return &[];
        }
        show(marker, &encoded[start..encoded.len() - rest.len()]);
    }
}

/// Whether a marker starts a frame: SOF0 to SOF15, among whose codes are those of DHT, JPG and DAC.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf)
}

/// The next marker's code and what follows it; bytes that are no marker are passed over, be they entropy-coded data or junk.
pub(super) fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        rest = rest.get(memchr::memchr(0xff, rest)? + 1..)?;
        match rest {
            [0, after @ ..] => rest = after,
            [0xff, ..] => {}
            [code, after @ ..] => return Some((*code, after)),
            [] => return None,
        }
    }
}

/// Splits a segment's content off, by the length in its first two bytes, which counts itself.
pub(super) fn take_segment<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    let (segment, after) = rest.split_at_checked(length.max(2))?;
    *rest = after;
    segment.get(2..)
}

/// Reads a frame header: precision, height, width, and for each component its name, sampling and table.
fn frame_header(marker: u8, segment: &[u8]) -> Option<FrameHeader> {
    let [_, h1, h0, w1, w0, _, components @ ..] = segment else {
        return None;
    };
    let mut sampling = [[0; 2]; 4];
    for (sampling, [_, factors, _]) in sampling.iter_mut().zip(components.as_chunks::<3>().0) {
        *sampling = [factors >> 4, factors & 15];
    }
    Some(FrameHeader {
        width: u32::from(u16::from_be_bytes([*w1, *w0])),
        height: u32::from(u16::from_be_bytes([*h1, *h0])),
        progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
        lossless: matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf),
        sampling,
    })
}

fn truncated(scans: usize, left: usize) -> ImageError {
    corrupt(match scans {
        0 => format!("the file ends within its header segments ({left} bytes after the last whole one)"),
        _ => "the file ends within the picture's data (no end-of-image marker)".into(),
    })
}

fn corrupt(part: String) -> ImageError {
    ImageError::Corrupt {
        format: Format::Jpeg,
        part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOF: &[u8] = b"\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00";
    const SOS: &[u8] = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00";

    fn check(parts: &[&[u8]], expected: Result<(u32, u32), &str>) {
        let file = [b"\xff\xd8", &parts.concat()[..]].concat();
        match (read(&file), expected) {
            (Ok(markers), Ok(size)) => assert_eq!((markers.frame.width, markers.frame.height), size),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn a_whole_file_tells_its_size() {
        check(&[SOF, SOS, b"\x12\xff\x00\xff\xd0\x34\xff\xd9"], Ok((3, 2)));
        check(&[b"junk", SOF, b"\xff\xff", SOS, b"\xff\xd9 trailer"], Ok((3, 2)));
    }

    #[test]
    fn truncation_is_told_by_place() {
        check(&[], Err("within its header segments"));
        check(&[b"\xff\xe0\x00\x10JFIF"], Err("within its header segments"));
        check(&[SOF, SOS, b"\x12\x34"], Err("within the picture's data"));
        check(&[SOF, SOS, b"\x12\xff"], Err("within the picture's data"));
    }

    #[test]
    fn broken_data_do_not_hide_the_end() {
        // A marker that cannot stand there, one whose segment leaves the file, and one whose segment holds the end.
        check(&[SOF, SOS, b"\x12\xff\x96\x10\x00\x34\xff\xd9"], Ok((3, 2)));
        check(&[SOF, SOS, b"\x12\xff\xe0\x10\x00\x34\xff\xd9"], Ok((3, 2)));
        check(&[SOF, SOS, b"\x12\xff\xe0\x00\x06\x34\xff\xd9\x00"], Ok((3, 2)));
        check(
            &[SOF, SOS, b"\x12\xff\xe0\x00\x06\x34\xff"],
            Err("within the picture's data"),
        );
    }

    #[test]
    fn missing_parts_are_named() {
        check(&[b"\xff\xd9"], Err("no frame header"));
        check(&[SOF, b"\xff\xd9"], Err("no scan"));
        check(
            &[
                b"\xff\xc0\x00\x0b\x08\x00\x00\x00\x03\x01\x01\x11\x00",
                SOS,
                b"\xff\xd9",
            ],
            Err("3x0 pixels"),
        );
        check(&[SOF, &SOS.repeat(65), b"\xff\xd9"], Err("65 scans"));
    }

    #[test]
    fn samples_are_counted_in_whole_blocks() {
        let frame = |width, height, sampling| FrameHeader {
            width,
            height,
            progressive: true,
            lossless: false,
            sampling,
        };
        let check = |frame: FrameHeader, expected| assert_eq!(frame.samples(), expected, "{frame:?}");
        check(frame(1, 1, [[1, 1], [0; 2], [0; 2], [0; 2]]), 64);
        check(frame(16, 16, [[1, 1], [1, 1], [1, 1], [0; 2]]), 3 * 256);
        check(frame(17, 16, [[2, 2], [1, 1], [1, 1], [0; 2]]), 64 * (4 * 2 + 2 + 2));
        check(frame(64, 8, [[1, 1], [4, 1], [0; 2], [0; 2]]), 64 * (2 + 8));
    }

    #[test]
    fn the_first_exif_orientation_counts() {
        let exif = |value: u8| {
            let body = [
                b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
                &[value][..],
                b"\0\0\0\0\0\0",
            ]
            .concat();
            [&[0xff, 0xe1, 0, body.len() as u8 + 2], &body[..]].concat()
        };
        let file = [b"\xff\xd8", &exif(6)[..], &exif(3), SOF, SOS, b"\xff\xd9"].concat();
        assert_eq!(read(&file).unwrap().orientation, Orientation::Rotate90);
    }
}
