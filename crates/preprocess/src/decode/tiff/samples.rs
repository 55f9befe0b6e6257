//! The samples of a TIFF to RGB, as Pillow makes it.

use super::errors::{corrupt, unsupported};
use super::fields::{Compression, Fields, Numbers, Photometric, tag};
use crate::colour::{self, Palette, ToRgb};
use crate::error::ImageError;

/// The samples of one strip or tile, as they are stored. Where channels are stored apart, each is a layer.
pub(super) struct Layers<'a> {
    /// The samples.
    pub bytes: &'a [u8],
    /// Bytes of a row in one layer.
    pub row_bytes: usize,
    /// Bytes of a layer.
    pub layer_bytes: usize,
    /// How many layers there are.
    pub layers: usize,
}

/// How samples become RGB.
pub(super) struct Samples {
    /// One sample to eight bits.
    narrow: Narrow,
    little_endian: bool,
    meaning: Meaning,
    /// A row of eight-bit samples, and the same with the channels of a pixel together.
    work: [Vec<u8>; 2],
}

/// How a sample becomes eight bits: gray of more than eight bits is clipped, every other loses its low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrow {
    /// It has eight, or several share them.
    None,
    High16,
    ClipU12,
    ClipU16,
    ClipI16,
    ClipI32,
    ClipF32,
}

/// What the samples of a pixel mean.
enum Meaning {
    /// One that is looked up, of which several may share a byte.
    Looked(Palette),
    /// Several of eight bits.
    Pixels(ToRgb),
}

impl Samples {
    /// Finds out what the samples mean.
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, ImageError> {
        Ok(Self {
            narrow: narrow(fields)?,
            little_endian: fields.directory.little_endian(),
            meaning: meaning(fields)?,
            work: <[Vec<u8>; 2]>::default(),
        })
    }

    /// Turns one row into RGB.
    pub(super) fn row(&mut self, layers: &Layers<'_>, row: usize, out: &mut [u8]) -> Result<(), ImageError> {
        let [samples, pixels] = &mut self.work;
        samples.clear();
        for layer in 0..layers.layers {
            let start = layer * layers.layer_bytes + row * layers.row_bytes;
            let bytes = layers.bytes.get(start..start + layers.row_bytes);
            let bytes = bytes.ok_or_else(|| corrupt("a row is missing"))?;
            narrow_row(self.narrow, self.little_endian, bytes, samples);
        }
        let row: &[u8] = if layers.layers > 1 {
            interleave(samples, layers.layers, pixels);
            pixels
        } else {
            samples
        };
        match &self.meaning {
            Meaning::Looked(palette) => palette.unpack(row, out),
            Meaning::Pixels(to_rgb) => to_rgb(row, out),
        }
        Ok(())
    }
}

fn narrow(fields: &Fields<'_>) -> Result<Narrow, ImageError> {
    let gray = fields.samples == 1 && matches!(fields.photometric, Photometric::BlackIsZero | Photometric::WhiteIsZero);
    Ok(match (fields.bits, fields.numbers) {
        (1 | 2 | 4 | 8, Numbers::Unsigned) => Narrow::None,
        // Pillow takes them for unsigned.
        (8, Numbers::Signed) if gray => Narrow::None,
        (12, Numbers::Unsigned) if gray => Narrow::ClipU12,
        (16, Numbers::Unsigned) if gray => Narrow::ClipU16,
        (16, Numbers::Unsigned) => Narrow::High16,
        (16, Numbers::Signed) if gray => Narrow::ClipI16,
        // Pillow keeps both in signed numbers.
        (32, Numbers::Unsigned | Numbers::Signed) if gray => Narrow::ClipI32,
        (32, Numbers::Float) if gray => Narrow::ClipF32,
        (bits, numbers) => {
            return Err(unsupported(format!(
                "{:?} pixels of {bits} bits a sample, {numbers:?}",
                fields.photometric
            )));
        }
    })
}

fn meaning(fields: &Fields<'_>) -> Result<Meaning, ImageError> {
    let (photometric, bits, samples) = (fields.photometric, fields.bits, fields.samples);
    let wide = bits == 8 || bits == 16;
    let premultiplied = fields.extra == Some(1);
    let alpha = premultiplied || fields.extra == Some(2);
    if samples == 1 && bits <= 8 {
        match photometric {
            Photometric::Palette => return Ok(Meaning::Looked(colours(fields)?)),
            Photometric::BlackIsZero if bits < 8 => return Ok(Meaning::Looked(Palette::levels(bits))),
            Photometric::WhiteIsZero => return Ok(Meaning::Looked(Palette::levels_from_white(bits))),
            _ => {}
        }
    }
    let to_rgb: ToRgb = match (photometric, samples) {
        (Photometric::BlackIsZero | Photometric::WhiteIsZero, 1) => {
            |row, out| colour::map(row, out, |[gray]| [gray; 3])
        }
        (Photometric::BlackIsZero, 2) if bits == 8 && !premultiplied => {
            |row, out| colour::map(row, out, |[gray, _]| [gray; 3])
        }
        (Photometric::Palette, 2) if bits == 8 && !premultiplied => {
            return Ok(Meaning::Looked(colours(fields)?.with_alpha()));
        }
        (Photometric::Rgb, 3) if wide => |row, out| colour::map(row, out, |rgb| rgb),
        (Photometric::Rgb, 4) if wide && premultiplied => |row, out| colour::map(row, out, divided::<4>),
        (Photometric::Rgb, 5) if bits == 8 && premultiplied => |row, out| colour::map(row, out, divided::<5>),
        (Photometric::Rgb, 6) if bits == 8 && premultiplied => |row, out| colour::map(row, out, divided::<6>),
        (Photometric::Rgb, 4) if wide => |row, out| colour::map(row, out, |[r, g, b, _]| [r, g, b]),
        (Photometric::Rgb, 5) if bits == 8 => |row, out| colour::map(row, out, |[r, g, b, ..]: [u8; 5]| [r, g, b]),
        (Photometric::Rgb, 6) if bits == 8 => |row, out| colour::map(row, out, |[r, g, b, ..]: [u8; 6]| [r, g, b]),
        (Photometric::Cmyk, 4) if wide => colour::cmyk_to_rgb,
        (Photometric::Cmyk, 5) if bits == 8 && !alpha => |row, out| colour::map(row, out, ink::<5>),
        (Photometric::Cmyk, 6) if bits == 8 && !alpha => |row, out| colour::map(row, out, ink::<6>),
        (Photometric::YCbCr, 1) if bits == 8 => |row, out| colour::map(row, out, |[gray]| [gray; 3]),
        (Photometric::YCbCr, 3) if bits == 8 => ycbcr(fields)?,
        _ => {
            return Err(unsupported(format!(
                "{photometric:?} pixels of {samples} samples of {bits} bits"
            )));
        }
    };
    Ok(Meaning::Pixels(to_rgb))
}

/// A JPEG's decoder makes RGB of it, whatever its sampling.
fn ycbcr(fields: &Fields<'_>) -> Result<ToRgb, ImageError> {
    if fields.compression == Compression::Jpeg && !fields.planar {
        return Ok(|row, out| colour::map(row, out, |rgb| rgb));
    }
    let sampling = fields.directory.entry_of(tag::CHROMA_SAMPLING);
    let whole = sampling.is_some_and(|sampling| sampling.unsigned().eq([1, 1]));
    if whole || fields.compression == Compression::None {
        return Ok(colour::ycbcr_to_rgb);
    }
    Err(unsupported("chroma that is sampled more coarsely, without JPEG"))
}

/// The colours of indices: all reds, all greens, all blues, of 16 bits, of which Pillow takes the high byte.
fn colours(fields: &Fields<'_>) -> Result<Palette, ImageError> {
    let map = fields.directory.entry_of(tag::COLOURS);
    let map = map.ok_or_else(|| corrupt("its palette is missing"))?;
    let count = map.count() / 3;
    let level = |index: usize| map.unsigned_at(index).map(|level| (level >> 8) as u8);
    Ok(Palette::new(fields.bits, |value| {
        let index = usize::from(value);
        let channel = |channel: usize| (index < count).then(|| level(channel * count + index)).flatten();
        // Those that are not given are black, as in Pillow.
        [0, 1, 2].map(|c| channel(c).unwrap_or(0))
    }))
}

/// A colour that was multiplied by the alpha after it.
fn divided<const N: usize>(pixel: [u8; N]) -> [u8; 3] {
    [0, 1, 2].map(|channel| divide(pixel[channel], pixel[3]))
}

/// Undoes the multiplication by alpha, as Pillow does.
fn divide(channel: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        255 => channel,
        _ => (u16::from(channel) * 255 / u16::from(alpha)).min(255) as u8,
    }
}

/// Inks and what comes after them.
fn ink<const N: usize>(pixel: [u8; N]) -> [u8; 3] {
    let mut rgb = [0; 3];
    colour::cmyk_to_rgb(&pixel[..4], &mut rgb);
    rgb
}

/// Appends a row's samples, converted to eight bits.
fn narrow_row(narrow: Narrow, little_endian: bool, row: &[u8], out: &mut Vec<u8>) {
    let in_order = |mut sample: [u8; 4]| {
        if !little_endian {
            sample.reverse();
        }
        sample
    };
    let of_two = |value: fn(u16) -> u8, out: &mut Vec<u8>| {
        let number = |s: &[u8; 2]| {
            if little_endian {
                u16::from_le_bytes(*s)
            } else {
                u16::from_be_bytes(*s)
            }
        };
        out.extend(row.as_chunks().0.iter().map(|s| value(number(s))));
    };
    let of_four = |value: fn([u8; 4]) -> u8, out: &mut Vec<u8>| {
        out.extend(row.as_chunks().0.iter().map(|s| value(in_order(*s))));
    };
    match narrow {
        Narrow::None => out.extend_from_slice(row),
        Narrow::High16 => of_two(|s| (s >> 8) as u8, out),
        Narrow::ClipU12 => clip_12(row, out),
        Narrow::ClipU16 => of_two(|s| s.min(255) as u8, out),
        Narrow::ClipI16 => of_two(|s| s.cast_signed().clamp(0, 255) as u8, out),
        Narrow::ClipI32 => of_four(|s| i32::from_le_bytes(s).clamp(0, 255) as u8, out),
        Narrow::ClipF32 => of_four(|s| f32::from_le_bytes(s) as u8, out),
    }
}

/// Two samples in three bytes, the highest bits first.
fn clip_12(row: &[u8], out: &mut Vec<u8>) {
    for bytes in row.chunks(3) {
        let byte = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
        out.push((byte(0) << 4 | byte(1) >> 4).min(255) as u8);
        if bytes.len() == 3 {
            out.push(((byte(1) & 15) << 8 | byte(2)).min(255) as u8);
        }
    }
}

/// Brings the channels of a pixel together.
fn interleave(bytes: &[u8], layers: usize, out: &mut Vec<u8>) {
    let pixels = bytes.len() / layers;
    out.clear();
    out.extend((0..pixels * layers).map(|index| bytes[index % layers * pixels + index / layers]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_interleaved() {
        let mut out = Vec::new();
        interleave(&[1, 2, 3, 4, 5, 6], 3, &mut out);
        assert_eq!(out, [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn alpha_is_divided_out() {
        assert_eq!(divided([16, 16, 0, 16]), [255, 255, 0]);
        assert_eq!(divided([9, 9, 9, 0, 7]), [0; 3]);
        assert_eq!(divided([9, 8, 7, 255]), [9, 8, 7]);
    }

    #[test]
    fn samples_are_brought_to_eight_bits() {
        let check = |narrow, little: &[u8], expected: &[u8]| {
            let mut out = Vec::new();
            narrow_row(narrow, true, little, &mut out);
            let mut big = little.to_vec();
            if narrow != Narrow::ClipU12 {
                big.reverse();
            }
            let mut reversed = Vec::new();
            narrow_row(narrow, false, &big, &mut reversed);
            if narrow != Narrow::ClipU12 {
                reversed.reverse();
            }
            assert_eq!((&*out, &*reversed), (expected, expected), "{narrow:?}");
        };
        check(Narrow::High16, &0x1234_u16.to_le_bytes(), &[0x12]);
        check(Narrow::ClipU12, &[0x0f, 0xf0, 0x07, 0x10, 0x00], &[255, 7, 255]);
        check(Narrow::ClipU16, &256_u16.to_le_bytes(), &[255]);
        check(Narrow::ClipI16, &(-5_i16).to_le_bytes(), &[0]);
        check(Narrow::ClipI32, &(1_i32 << 20).to_le_bytes(), &[255]);
        check(Narrow::ClipI32, &u32::MAX.to_le_bytes(), &[0]);
        check(
            Narrow::ClipF32,
            &[1e9_f32.to_le_bytes(), (-1_f32).to_le_bytes()].concat(),
            &[255, 0],
        );
    }
}
