//! Formats that people send and that are not read, so that an error can name them.

/// A format's name, with its article, by a file's first bytes.
pub(crate) fn name(encoded: &[u8]) -> Option<&'static str> {
    Some(match encoded {
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => container(brands),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => "a JPEG XL image",
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => "a JPEG 2000 image",
        [b'%', b'P', b'D', b'F', b'-', ..] => "a PDF document",
        [b'%', b'!', b'P', b'S', ..] | [0xc5, 0xd0, 0xd3, 0xc6, ..] => "a PostScript document",
        [b'8', b'B', b'P', b'S', ..] => "a Photoshop document",
        [0, 0, 1, 0, _, _, ..] => "an icon (ICO)",
        [b'q', b'o', b'i', b'f', ..] => "a QOI image",
        [b'D', b'D', b'S', b' ', ..] => "a DDS texture",
        [0x76, 0x2f, 0x31, 0x01, ..] => "an OpenEXR image",
        [b'#', b'?', b'R', b'A' | b'G', ..] => "a Radiance image",
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\n' | b'\r' | b'#', ..] => "a Netpbm image",
        [0x1f, 0x8b, ..] => "a gzip archive",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "a WebM or Matroska video",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => "an AVI video",
        _ => return text(encoded),
    })
}

/// Bytes of a file type box that are searched for brands; files have far fewer.
const BRANDS_BYTES: usize = 256;

/// What a file of boxes (ISO/IEC 14496-12) holds, by the brands in its first one. Brands have four bytes; the second says a version.
fn container(brands: &[u8]) -> &'static str {
    let brands = &brands[..brands.len().min(BRANDS_BYTES)];
    let has = |names: &[&[u8; 4]]| {
        let mut brands = brands.as_chunks::<4>().0.iter();
        brands.any(|brand| names.contains(&brand))
    };
    if has(&[b"avif", b"avis"]) {
        "an AVIF image"
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        "a HEIC image"
    } else if has(&[b"crx "]) {
        "a camera's raw image"
    } else {
        "an MP4 or QuickTime video"
    }
}

/// Bytes of a text in which its root element is looked for.
const TEXT_BYTES: usize = 4096;

/// What a text in marks is.
fn text(encoded: &[u8]) -> Option<&'static str> {
    let text = encoded
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(encoded)
        .trim_ascii_start();
    let text = &text[..text.len().min(TEXT_BYTES)];
    let starts = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with))
    };
    let is_svg = starts(b"<svg")
        || (starts(b"<?xml") || starts(b"<!--") || starts(b"<!doctype svg")) && {
            memchr::memmem::find(text, b"<svg").is_some()
        };
    if is_svg {
        return Some("an SVG drawing");
    }
    (starts(b"<!doctype html") || starts(b"<html")).then_some("an HTML page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_named() {
        let check = |bytes: &[u8], expected| assert_eq!(name(bytes), expected, "{bytes:?}");
        check(b"\0\0\0 ftypavif\0\0\0\0avifmif1", Some("an AVIF image"));
        check(b"\0\0\0 ftypmif1\0\0\0\0mif1avif", Some("an AVIF image"));
        check(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some("a HEIC image"));
        check(b"\0\0\0\x18ftypisom\0\0\0\0", Some("an MP4 or QuickTime video"));
        check(b"\xff\x0a\xfa\x1f", Some("a JPEG XL image"));
        check(b"\0\0\0\x0cJXL \r\n\x87\n", Some("a JPEG XL image"));
        check(b"%PDF-1.7", Some("a PDF document"));
        check(b"<svg xmlns=", Some("an SVG drawing"));
        check(
            b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- x --><svg>",
            Some("an SVG drawing"),
        );
        check(b"<?xml version='1.0'?><rss>", None);
        check(b"<!DOCTYPE html>", Some("an HTML page"));
        check(b"P6\n3 2\n255\n", Some("a Netpbm image"));
        check(b"Ph", None);
        check(b"ftypavif", None);
        check(b"", None);
    }
}
