//! Palettes of a TIFF, which the `tiff` crate does not read.

use super::directory;

/// Where the first page of a TIFF says that it has a palette.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Palette {
    /// Position of the value of the tag `PhotometricInterpretation`.
    position: usize,
    little_endian: bool,
}

/// The tag `PhotometricInterpretation` and its values for gray and for a palette.
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

impl Palette {
    /// Finds the palette's mark in the first image file directory.
    pub(super) fn find(encoded: &[u8]) -> Option<Self> {
        directory::entries(encoded)
            .find(|entry| entry.tag == u64::from(PHOTOMETRIC))
            .filter(|entry| entry.number == u64::from(PALETTE))
            .map(|entry| Self {
                position: entry.value,
                little_endian: encoded.starts_with(b"II"),
            })
    }

    /// The file with its indices declared as levels of gray.
    pub(super) fn as_gray(&self, encoded: &[u8]) -> Vec<u8> {
        let mut gray = encoded.to_vec();
        let value = if self.little_endian {
            BLACK_IS_ZERO.to_le_bytes()
        } else {
            BLACK_IS_ZERO.to_be_bytes()
        };
        if let Some(place) = gray.get_mut(self.position..self.position + 2) {
            place.copy_from_slice(&value);
        }
        gray
    }
}

/// The colours of a `ColorMap`: all reds, all greens, all blues, of 16 bits, of which Pillow takes the high byte.
pub(super) fn colours(map: &[u16]) -> [[u8; 3]; 256] {
    let count = map.len() / 3;
    let mut colours = [[0; 3]; 256];
    for (index, colour) in colours.iter_mut().take(count).enumerate() {
        *colour = [0, 1, 2].map(|channel| (map[channel * count + index] >> 8) as u8);
    }
    colours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_and_replaced() {
        let file = b"II*\0\x08\0\0\0\x01\0\x06\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
        let palette = Palette::find(file).unwrap();
        assert_eq!(
            palette,
            Palette {
                position: 18,
                little_endian: true
            }
        );
        assert_eq!(Palette::find(&palette.as_gray(file)), None);
        assert_eq!(Palette::find(b"MM\0*\xff\xff\xff\xff"), None);
    }

    #[test]
    fn colours_take_the_high_byte() {
        assert_eq!(colours(&[0x1234, 0xff00, 0xffff])[..2], [[0x12, 0xff, 0xff], [0; 3]]);
    }
}
