//! The samples of a TIFF to RGB, as Pillow makes it.

use ::tiff::ColorType;
use ::tiff::decoder::DecodingResult;

use super::unsupported;
use crate::colour;
use crate::error::ImageError;

/// A decoded page.
pub(super) struct Samples {
    /// What the samples mean.
    pub colour: ColorType,
    /// Whether the colours were multiplied by alpha.
    pub premultiplied: bool,
    /// Pixels in a row.
    pub width: usize,
    /// More than one if the channels lie one after the other.
    pub planes: usize,
    /// The samples.
    pub result: DecodingResult,
}

impl Samples {
    /// To RGB; with `colours`, gray levels are indices into them.
    pub(super) fn into_rgb(self, colours: Option<&[[u8; 3]; 256]>) -> Result<Vec<u8>, ImageError> {
        let Self {
            colour,
            premultiplied,
            width,
            planes,
            result,
        } = self;
        let bytes = interleave(to_bytes(result, colour)?, planes);
        Ok(match (colour, colours) {
            (ColorType::Gray(bits @ (1 | 2 | 4 | 8)), Some(colours)) => unpack(&bytes, bits, width)
                .flat_map(|index| colours[usize::from(index)])
                .collect(),
            (ColorType::Gray(bits @ (1 | 2 | 4)), None) => {
                let step = 255 / ((1_u8 << bits) - 1);
                unpack(&bytes, bits, width)
                    .flat_map(|level| [level * step; 3])
                    .collect()
            }
            (ColorType::Gray(8 | 16 | 32), None) => colour::map(&bytes, |[gray]| [gray; 3]),
            (
                ColorType::GrayA(8)
                | ColorType::Multiband {
                    bit_depth: 8,
                    num_samples: 2,
                },
                None,
            ) => colour::map(&bytes, |[gray, _]| [gray; 3]),
            (ColorType::RGB(8 | 16), None) => bytes,
            (ColorType::RGBA(8 | 16), None) if premultiplied => colour::map(&bytes, |[r, g, b, alpha]| {
                [r, g, b].map(|channel| divide(channel, alpha))
            }),
            (ColorType::RGBA(8 | 16), None) => colour::map(&bytes, |[r, g, b, _]| [r, g, b]),
            (ColorType::CMYK(8 | 16), None) => colour::cmyk_to_rgb(&bytes),
            (ColorType::YCbCr(8), None) => colour::ycbcr_to_rgb(&bytes),
            _ => return Err(unsupported(&format!("pixels of type {colour:?}"))),
        })
    }
}

/// Brings samples to eight bits: 16-bit and wider gray is clipped, every other loses its low byte.
fn to_bytes(result: DecodingResult, colour: ColorType) -> Result<Vec<u8>, ImageError> {
    let gray = matches!(colour, ColorType::Gray(_));
    Ok(match result {
        DecodingResult::U8(samples) => samples,
        DecodingResult::U16(samples) if gray => samples.into_iter().map(|sample| sample.min(255) as u8).collect(),
        DecodingResult::U16(samples) => samples.into_iter().map(|sample| (sample >> 8) as u8).collect(),
        DecodingResult::U32(samples) if gray => samples.into_iter().map(|sample| sample.min(255) as u8).collect(),
        DecodingResult::I16(samples) if gray => samples.into_iter().map(|sample| sample.clamp(0, 255) as u8).collect(),
        DecodingResult::I32(samples) if gray => samples.into_iter().map(|sample| sample.clamp(0, 255) as u8).collect(),
        DecodingResult::F32(samples) if gray => samples.into_iter().map(|sample| sample as u8).collect(),
        _ => {
            return Err(unsupported(&format!(
                "samples of another type than {colour:?} has in Pillow"
            )));
        }
    })
}

/// Brings the channels of a pixel together.
fn interleave(bytes: Vec<u8>, planes: usize) -> Vec<u8> {
    if planes < 2 {
        return bytes;
    }
    let pixels = bytes.len() / planes;
    (0..pixels * planes)
        .map(|index| bytes[index % planes * pixels + index / planes])
        .collect()
}

/// The values of packed rows, each of which starts at a byte.
fn unpack(bytes: &[u8], bits: u8, width: usize) -> impl Iterator<Item = u8> {
    let each = 8 / usize::from(bits);
    bytes.chunks(width.div_ceil(each).max(1)).flat_map(move |row| {
        let value = move |column: usize| {
            let shift = 8 - usize::from(bits) * (column % each + 1);
            row.get(column / each).map_or(0, |byte| byte >> shift) & (0xff_u8 >> (8 - bits))
        };
        (0..width).map(value)
    })
}

/// Undoes the multiplication by alpha, as Pillow does.
fn divide(channel: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => channel,
        _ => (u16::from(channel) * 255 / u16::from(alpha)).min(255) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(colour: ColorType, width: usize, planes: usize, bytes: &[u8], expected: &[u8]) {
        let result = DecodingResult::U8(bytes.to_vec());
        let samples = Samples {
            colour,
            premultiplied: true,
            width,
            planes,
            result,
        };
        assert_eq!(samples.into_rgb(None).unwrap(), expected);
    }

    #[test]
    fn rows_are_unpacked() {
        check(
            ColorType::Gray(1),
            3,
            1,
            &[0b1010_0000, 0b0100_0000],
            &[[255; 3], [0; 3], [255; 3], [0; 3], [255; 3], [0; 3]].concat(),
        );
        check(ColorType::Gray(4), 1, 1, &[0x5f, 0xf0], &[85, 85, 85, 255, 255, 255]);
    }

    #[test]
    fn planes_are_interleaved() {
        check(ColorType::RGB(8), 2, 3, &[1, 2, 3, 4, 5, 6], &[1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn alpha_is_divided_out() {
        check(
            ColorType::RGBA(8),
            1,
            1,
            &[16, 16, 0, 16, 9, 9, 9, 0],
            &[255, 255, 0, 0, 0, 0],
        );
    }
}
