//! Palettes of a TIFF, which the `tiff` crate does not read.

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
    /// Finds the palette's mark in the first image file directory, of a classic or a big TIFF.
    pub(super) fn find(encoded: &[u8]) -> Option<Self> {
        let little_endian = encoded.starts_with(b"II");
        let at = |position: usize, length: usize| {
            let bytes = encoded.get(position..position.checked_add(length)?)?;
            let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            Some(if little_endian {
                bytes.iter().rev().fold(0, fold)
            } else {
                bytes.iter().fold(0, fold)
            })
        };
        let big = at(2, 2)? == 43;
        let [directory, count_length, entry_length, value] = if big {
            [at(8, 8)?, 8, 20, 12]
        } else {
            [at(4, 4)?, 2, 12, 8]
        };
        let directory = usize::try_from(directory).ok()?;
        let first = directory.checked_add(count_length as usize)?;
        (first..encoded.len())
            .step_by(entry_length as usize)
            .take(usize::try_from(at(directory, count_length as usize)?).ok()?)
            .find(|&entry| at(entry, 2) == Some(u64::from(PHOTOMETRIC)))
            .map(|entry| entry + value as usize)
            .filter(|&position| at(position, 2) == Some(u64::from(PALETTE)))
            .map(|position| Self {
                position,
                little_endian,
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
