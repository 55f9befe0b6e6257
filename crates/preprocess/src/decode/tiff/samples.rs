//! The samples of a TIFF to RGB, as Pillow makes it.

use ::tiff::ColorType;
use ::tiff::decoder::DecodingSampleType;
use ::tiff::tags::Tag;

use super::file::{File, corrupt, refuse, unsupported};
use crate::colour::{self, ToRgb};
use crate::error::ImageError;

/// The samples of one strip or tile in native byte order. Where channels are stored apart, each is a layer.
pub(super) struct Layers<'a> {
    /// The samples.
    pub bytes: &'a [u8],
    /// Bytes of a row in one layer.
    pub row_bytes: usize,
    /// Bytes of a layer.
    pub layer_bytes: usize,
    /// How many layers there are.
    pub layers: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// How samples become RGB.
pub(super) struct Samples {
    /// One sample to eight bits.
    narrow: Narrow,
    meaning: Meaning,
    /// A row of eight-bit samples, and the same with the channels of a pixel together.
    work: [Vec<u8>; 2],
}

/// How a sample becomes eight bits: gray of 16 bits and wider is clipped, every other loses its low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrow {
    /// It has eight, or several share them.
    None,
    High16,
    ClipU16,
    ClipU32,
    ClipI16,
    ClipI32,
    ClipF32,
}

/// What the samples of a pixel mean.
enum Meaning {
    /// Several pixels in a byte, of so many bits each.
    Packed(u8, Box<[[u8; 3]; 256]>),
    Pixels(ToRgb),
}

impl Samples {
    /// Finds out what the samples mean; with `colours`, gray levels are indices into them.
    pub(super) fn new(
        file: &mut File<'_>,
        sample: DecodingSampleType,
        colours: Option<[[u8; 3]; 256]>,
    ) -> Result<Self, ImageError> {
        let colour = file.colortype().map_err(refuse)?;
        let extra = file.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(refuse)?;
        let premultiplied = extra.is_some_and(|extra| extra.first() == Some(&1));
        Ok(Self {
            narrow: narrow(colour, sample)?,
            meaning: meaning(colour, premultiplied, colours)?,
            work: <[Vec<u8>; 2]>::default(),
        })
    }

    /// Whether the samples are indices or levels that are looked up.
    pub(super) fn has_colours(&self) -> bool {
        matches!(self.meaning, Meaning::Packed(..))
    }

    /// Turns one row into RGB.
    pub(super) fn row(&mut self, layers: &Layers<'_>, row: usize, out: &mut [u8]) -> Result<(), ImageError> {
        let [samples, pixels] = &mut self.work;
        samples.clear();
        for layer in 0..layers.layers {
            let start = layer * layers.layer_bytes + row * layers.row_bytes;
            let bytes = layers.bytes.get(start..start + layers.row_bytes);
            narrow_row(self.narrow, bytes.ok_or_else(|| corrupt("a row is missing"))?, samples);
        }
        let row: &[u8] = if layers.layers > 1 {
            interleave(samples, layers.layers, pixels);
            pixels
        } else {
            samples
        };
        match &self.meaning {
            Meaning::Packed(bits, colours) => unpack(row, *bits, colours, out),
            Meaning::Pixels(to_rgb) => to_rgb(row, out),
        }
        Ok(())
    }
}

fn narrow(colour: ColorType, sample: DecodingSampleType) -> Result<Narrow, ImageError> {
    use DecodingSampleType as S;
    let gray = matches!(colour, ColorType::Gray(_));
    Ok(match sample {
        S::U8 => Narrow::None,
        S::U16 if gray => Narrow::ClipU16,
        S::U16 => Narrow::High16,
        S::U32 if gray => Narrow::ClipU32,
        S::I16 if gray => Narrow::ClipI16,
        S::I32 if gray => Narrow::ClipI32,
        S::F32 if gray => Narrow::ClipF32,
        _ => {
            return Err(unsupported(&format!(
                "samples of another type than {colour:?} has in Pillow"
            )));
        }
    })
}

fn meaning(colour: ColorType, premultiplied: bool, colours: Option<[[u8; 3]; 256]>) -> Result<Meaning, ImageError> {
    Ok(match (colour, colours) {
        (ColorType::Gray(bits @ (1 | 2 | 4 | 8)), Some(colours)) => Meaning::Packed(bits, Box::new(colours)),
        (ColorType::Gray(bits @ (1 | 2 | 4)), None) => {
            let step = 255 / ((1_u16 << bits) - 1);
            let levels = std::array::from_fn(|level| [(level as u16 * step).min(255) as u8; 3]);
            Meaning::Packed(bits, Box::new(levels))
        }
        (ColorType::Gray(8 | 16 | 32), None) => Meaning::Pixels(|row, out| colour::map(row, out, |[gray]| [gray; 3])),
        (
            ColorType::GrayA(8)
            | ColorType::Multiband {
                bit_depth: 8,
                num_samples: 2,
            },
            None,
        ) => Meaning::Pixels(|row, out| colour::map(row, out, |[gray, _]| [gray; 3])),
        (ColorType::RGB(8 | 16), None) => Meaning::Pixels(|row, out| colour::map(row, out, |rgb| rgb)),
        (ColorType::RGBA(8 | 16), None) if premultiplied => Meaning::Pixels(|row, out| {
            colour::map(row, out, |[r, g, b, alpha]| {
                [r, g, b].map(|channel| divide(channel, alpha))
            });
        }),
        (ColorType::RGBA(8 | 16), None) => Meaning::Pixels(|row, out| colour::map(row, out, |[r, g, b, _]| [r, g, b])),
        (ColorType::CMYK(8 | 16), None) => Meaning::Pixels(colour::cmyk_to_rgb),
        (ColorType::YCbCr(8), None) => Meaning::Pixels(colour::ycbcr_to_rgb),
        _ => return Err(unsupported(&format!("pixels of type {colour:?}"))),
    })
}

/// Appends a row's samples, converted to eight bits.
fn narrow_row(narrow: Narrow, row: &[u8], out: &mut Vec<u8>) {
    let of_two =
        |value: fn([u8; 2]) -> u8, out: &mut Vec<u8>| out.extend(row.as_chunks::<2>().0.iter().map(|s| value(*s)));
    let of_four =
        |value: fn([u8; 4]) -> u8, out: &mut Vec<u8>| out.extend(row.as_chunks::<4>().0.iter().map(|s| value(*s)));
    match narrow {
        Narrow::None => out.extend_from_slice(row),
        Narrow::High16 => of_two(|s| (u16::from_ne_bytes(s) >> 8) as u8, out),
        Narrow::ClipU16 => of_two(|s| u16::from_ne_bytes(s).min(255) as u8, out),
        Narrow::ClipI16 => of_two(|s| i16::from_ne_bytes(s).clamp(0, 255) as u8, out),
        Narrow::ClipU32 => of_four(|s| u32::from_ne_bytes(s).min(255) as u8, out),
        Narrow::ClipI32 => of_four(|s| i32::from_ne_bytes(s).clamp(0, 255) as u8, out),
        Narrow::ClipF32 => of_four(|s| f32::from_ne_bytes(s) as u8, out),
    }
}

/// Brings the channels of a pixel together.
fn interleave(bytes: &[u8], layers: usize, out: &mut Vec<u8>) {
    let pixels = bytes.len() / layers;
    out.clear();
    out.extend((0..pixels * layers).map(|index| bytes[index % layers * pixels + index / layers]));
}

/// The colours of the values in a packed row.
fn unpack(row: &[u8], bits: u8, colours: &[[u8; 3]; 256], out: &mut [u8]) {
    let each = 8 / usize::from(bits);
    for (column, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let shift = 8 - usize::from(bits) * (column % each + 1);
        let value = row.get(column / each).map_or(0, |byte| byte >> shift) & (0xff_u8 >> (8 - bits));
        *out = colours[usize::from(value)];
    }
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

    fn check(colour: ColorType, width: usize, layers: usize, bytes: &[u8], expected: &[u8]) {
        let mut samples = Samples {
            narrow: narrow(colour, DecodingSampleType::U8).unwrap(),
            meaning: meaning(colour, true, None).unwrap(),
            work: <[Vec<u8>; 2]>::default(),
        };
        let height = expected.len() / (width * 3);
        let row_bytes = bytes.len() / (layers * height);
        let layers = Layers {
            bytes,
            row_bytes,
            layer_bytes: row_bytes * height,
            layers,
            width,
            height,
        };
        let mut out = vec![0; expected.len()];
        for (row, out) in out.chunks_exact_mut(width * 3).enumerate() {
            samples.row(&layers, row, out).unwrap();
        }
        assert_eq!(out, expected);
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
    fn layers_are_interleaved() {
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

    #[test]
    fn samples_are_brought_to_eight_bits() {
        let check = |narrow, bytes: &[u8], expected: &[u8]| {
            let mut out = Vec::new();
            narrow_row(narrow, bytes, &mut out);
            assert_eq!(out, expected, "{narrow:?}");
        };
        check(Narrow::High16, &0x1234_u16.to_ne_bytes(), &[0x12]);
        check(Narrow::ClipU16, &256_u16.to_ne_bytes(), &[255]);
        check(Narrow::ClipI16, &(-5_i16).to_ne_bytes(), &[0]);
        check(Narrow::ClipU32, &7_u32.to_ne_bytes(), &[7]);
        check(Narrow::ClipI32, &(1_i32 << 20).to_ne_bytes(), &[255]);
        check(
            Narrow::ClipF32,
            &[1e9_f32.to_ne_bytes(), (-1_f32).to_ne_bytes()].concat(),
            &[255, 0],
        );
    }
}
