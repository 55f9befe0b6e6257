//! The orientation that a file states, and its application to pixels.

use image::metadata::Orientation;

use super::ifd::{Directory, Entry, Kind};
use super::pixels::Rgb8;

/// The tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// The orientation out of a file's EXIF block, or else out of its XMP packet, as Pillow has it.
pub(crate) fn stated(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    of_directory(exif.and_then(exif_directory), xmp)
}

/// The same where the directory is that of a TIFF.
pub(crate) fn of_directory(directory: Option<Directory<'_>>, xmp: Option<&[u8]>) -> Orientation {
    // What stands there rules even if it is no orientation.
    let exif = directory.and_then(|directory| directory.entry_of(ORIENTATION));
    exif.map(|entry| of_entry(&entry))
        .or_else(|| xmp.map(from_xmp))
        .flatten()
        .unwrap_or(Orientation::NoTransforms)
}

/// The directory of an EXIF block, whose mark may stand before it, once or twice.
fn exif_directory(block: &[u8]) -> Option<Directory<'_>> {
    const MARK: &[u8] = b"Exif\0\0";
    let block = block.strip_prefix(MARK).unwrap_or(block);
    let block = block.strip_prefix(MARK).unwrap_or(block);
    Directory::find(block).filter(|directory| !directory.big())
}

/// Any kind of number may state it, whole or not; the first counts. Bytes do not, for Pillow takes them for text.
fn of_entry(entry: &Entry<'_>) -> Option<Orientation> {
    let value = entry.number().filter(|_| entry.kind != Kind::Unsigned(1))?;
    let whole = value as u8;
    Orientation::from_exif(whole).filter(|_| f64::from(whole) == value)
}

/// Reads `tiff:Orientation="6"` or `<tiff:Orientation>6` out of an XMP packet.
fn from_xmp(packet: &[u8]) -> Option<Orientation> {
    const KEY: &[u8] = b"tiff:Orientation";
    memchr::memmem::find_iter(packet, KEY).find_map(|at| match packet.get(at + KEY.len()..)? {
        [b'=', b'"', digit, ..] | [b'>', digit, ..] if digit.is_ascii_digit() => {
            Some(Orientation::from_exif(digit - b'0'))
        }
        _ => None,
    })?
}

/// Whether the orientation exchanges width and height.
pub(crate) fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// Whether stored rows, and stored columns, come in the opposite order of the upright axis that they lie along.
pub(crate) fn mirrored(orientation: Orientation) -> [bool; 2] {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => [false, false],
        Orientation::FlipHorizontal | Orientation::Rotate270 => [false, true],
        Orientation::FlipVertical | Orientation::Rotate90 => [true, false],
        Orientation::Rotate180 | Orientation::Rotate270FlipH => [true, true],
    }
}

/// Turns the pixels upright.
pub(crate) fn apply(image: Rgb8, orientation: Orientation) -> Rgb8 {
    let (width, height) = (image.width as usize, image.height as usize);
    let (right, bottom) = (width.wrapping_sub(1), height.wrapping_sub(1));
    match orientation {
        Orientation::NoTransforms => image,
        Orientation::FlipHorizontal => gather(&image, |x, y| (right - x, y), false),
        Orientation::Rotate180 => gather(&image, |x, y| (right - x, bottom - y), false),
        Orientation::FlipVertical => gather(&image, |x, y| (x, bottom - y), false),
        Orientation::Rotate90FlipH => gather(&image, |x, y| (y, x), true),
        Orientation::Rotate90 => gather(&image, |x, y| (y, bottom - x), true),
        Orientation::Rotate270FlipH => gather(&image, |x, y| (right - y, bottom - x), true),
        Orientation::Rotate270 => gather(&image, |x, y| (right - y, x), true),
    }
}

/// Builds an image whose pixel (x, y) is the source's at `from(x, y)`.
fn gather(image: &Rgb8, from: impl Fn(usize, usize) -> (usize, usize), swapped: bool) -> Rgb8 {
    let (width, height) = if swapped {
        (image.height, image.width)
    } else {
        (image.width, image.height)
    };
    let source = image.data.as_chunks::<3>().0;
    let mut data = Vec::with_capacity(source.len());
    for y in 0..height as usize {
        data.extend((0..width as usize).map(|x| {
            let (from_x, from_y) = from(x, y);
            source[from_y * image.width as usize + from_x]
        }));
    }
    let data = data.into_flattened();
    Rgb8 { width, height, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd;

    /// `exif` 1 to 8 and what an image of the pixels 1 2 3 / 4 5 6 becomes.
    fn check(exif: u8, width: u32, expected: &[u8]) {
        let data = (1..=6).flat_map(|value| [value, 0, 0]).collect();
        let upright = apply(
            Rgb8 {
                width: 3,
                height: 2,
                data,
            },
            Orientation::from_exif(exif).unwrap(),
        );
        let reds: Vec<u8> = upright.data.iter().step_by(3).copied().collect();
        assert_eq!(
            (upright.width, reds.as_slice()),
            (width, expected),
            "orientation {exif}"
        );
    }

    #[test]
    fn exif_goes_before_xmp() {
        let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
        let xmp = b"<tiff:Orientation/> tiff:Orientation=\"6\"";
        assert_eq!(stated(Some(exif), Some(xmp)), Orientation::Rotate180);
        assert_eq!(stated(Some(b"II*\0"), Some(xmp)), Orientation::Rotate90);
        assert_eq!(stated(None, Some(b"<tiff:Orientation>8<")), Orientation::Rotate270);
        assert_eq!(stated(None, Some(b"tiff:Orientation=\"9\"")), Orientation::NoTransforms);
        assert_eq!(stated(None, None), Orientation::NoTransforms);
    }

    #[test]
    fn any_number_states_it() {
        let check = |kind: u16, value: [u8; 4], expected| {
            let block = ifd::tests::file(&[(ORIENTATION, kind, 1, value)], &[]);
            let xmp = b"tiff:Orientation=\"3\"";
            assert_eq!(stated(Some(&block), Some(xmp)), expected, "kind {kind}");
            let marked = [&b"Exif\0\0Exif\0\0"[..], &block].concat();
            assert_eq!(stated(Some(&marked), Some(xmp)), expected, "kind {kind}, marked");
        };
        check(3, [0, 6, 0, 0], Orientation::Rotate90);
        check(4, [0, 0, 0, 6], Orientation::Rotate90);
        check(6, [6, 0, 0, 0], Orientation::Rotate90);
        check(8, [0, 6, 0, 0], Orientation::Rotate90);
        check(9, [0, 0, 0, 6], Orientation::Rotate90);
        check(11, 6_f32.to_be_bytes(), Orientation::Rotate90);
        check(11, 6.5_f32.to_be_bytes(), Orientation::NoTransforms);
        check(3, [0, 9, 0, 0], Orientation::NoTransforms);
        check(9, [0xff; 4], Orientation::NoTransforms);
        check(1, [6, 0, 0, 0], Orientation::NoTransforms);
        check(2, [b'6', 0, 0, 0], Orientation::NoTransforms);
        check(7, [6, 0, 0, 0], Orientation::NoTransforms);
        check(99, [6, 0, 0, 0], Orientation::Rotate180);
    }

    #[test]
    fn the_eight_orientations() {
        check(1, 3, &[1, 2, 3, 4, 5, 6]);
        check(2, 3, &[3, 2, 1, 6, 5, 4]);
        check(3, 3, &[6, 5, 4, 3, 2, 1]);
        check(4, 3, &[4, 5, 6, 1, 2, 3]);
        check(5, 2, &[1, 4, 2, 5, 3, 6]);
        check(6, 2, &[4, 1, 5, 2, 6, 3]);
        check(7, 2, &[6, 3, 5, 2, 4, 1]);
        check(8, 2, &[3, 6, 2, 5, 1, 4]);
    }
}
