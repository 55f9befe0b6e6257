//! Which format a file is, by its content.

use super::error::ImageError;
use super::foreign;
use super::format::Format;

impl Format {
    /// Reads the format off a file's first bytes; no header or file name is believed.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::OtherFormat`], [`ImageError::UnknownFormat`].
    pub fn sniff(encoded: &[u8]) -> Result<Self, ImageError> {
        match encoded {
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            // The two bytes of 42 are exchanged by some writers.
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            [b'I', b'I', 0, 42, ..] | [b'M', b'M', 42, 0, ..] => Ok(Self::Tiff),
            [] => Err(ImageError::Empty),
            _ => {
                if let Some(name) = foreign::name(encoded) {
                    return Err(ImageError::OtherFormat { name });
                }
                let head = encoded
                    .iter()
                    .take(8)
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<Vec<_>>()
                    .join(" ");
                Err(ImageError::UnknownFormat { head })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Format, &str>) {
        match (Format::sniff(bytes), expected) {
            (Ok(format), Ok(wanted)) => assert_eq!(format, wanted),
            (Err(error), Err(text)) => assert!(error.to_string().ends_with(text), "{error}"),
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn content_decides() {
        check(b"\xff\xd8\xff\xe0", Ok(Format::Jpeg));
        check(b"\x89PNG\r\n\x1a\n", Ok(Format::Png));
        check(b"RIFF\0\0\0\0WEBPVP8 ", Ok(Format::WebP));
        check(b"GIF87a", Ok(Format::Gif));
        check(b"BM", Ok(Format::Bmp));
        check(b"II*\0", Ok(Format::Tiff));
        check(b"MM\0*", Ok(Format::Tiff));
        check(b"RIFF\0\0\0\0WAVEfmt ", Err("52 49 46 46 00 00 00 00"));
        check(b"MM*\0", Ok(Format::Tiff));
        check(b"hello", Err("68 65 6c 6c 6f"));
        check(
            b"\0\0\0 ftypavif",
            Err("an AVIF image, which is not read here: convert it to one of JPEG, PNG, WebP, GIF, BMP, TIFF"),
        );
        check(b"", Err("the file is empty; send the bytes of an image"));
    }
}
