//! A JPEG that is part of a TIFF: its tables may stand apart, and the TIFF says what its colours are, not its own markers.

use super::markers;

/// A marker by which a decoder takes three components for R, G, B (0) or for YCbCr (1), and four for inks: Adobe's (ITU-T T.872).
fn colours(is_ycbcr: bool) -> [u8; 16] {
    let transform = u8::from(is_ycbcr);
    let [mut marker, head] = [[0; 16], *b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"];
    marker.copy_from_slice(&head);
    marker[15] = transform;
    marker
}

/// A file of the tables and the picture, without what else their headers hold.
pub(crate) fn embedded(tables: &[u8], picture: &[u8], is_ycbcr: bool) -> Vec<u8> {
    let mut file = Vec::with_capacity(tables.len() + picture.len() + 32);
    file.extend(b"\xff\xd8");
    file.extend(colours(is_ycbcr));
    for part in [tables, picture] {
        let scan = markers::each_segment(part, |marker, whole| {
            if !matches!(marker, 0xe0..=0xef | 0xfe) {
                file.extend_from_slice(whole);
            }
        });
        file.extend_from_slice(scan);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_picture_become_one_file() {
        let tables = b"\xff\xd8\xff\xdb\0\x03T\xff\xd9";
        let picture = b"\xff\xd8\xff\xe0\0\x04JF\xff\xc0\0\x03S\xff\xda\0\x03Pdata\xff\xd9";
        let adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x01";
        let expected = [
            &b"\xff\xd8"[..],
            adobe,
            b"\xff\xdb\0\x03T\xff\xc0\0\x03S\xff\xda\0\x03Pdata\xff\xd9",
        ];
        assert_eq!(embedded(tables, picture, true), expected.concat());
        assert_eq!(embedded(b"", b"\xff\xd8\xff", false).len(), 18);
    }
}
