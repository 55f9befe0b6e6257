//! Any pixel layout to RGB, exactly as Pillow's `convert('RGB')` does it: alpha is dropped, not composited.

use image::ColorType;

/// Turns a row of pixels into RGB, three bytes each.
pub(crate) type ToRgb = fn(&[u8], &mut [u8]);

/// How pixels of layout `colour` become RGB; `None` for a layout that Pillow does not read. Samples of 16 bits are big-endian, as PNG
/// has them; no other format that comes here has such.
///
/// Pillow keeps 16-bit gray (its mode `I;16`) and clips it to 255 on conversion; every other 16-bit layout loses its low byte.
pub(crate) fn to_rgb(colour: ColorType) -> Option<ToRgb> {
    Some(match colour {
        ColorType::Rgb8 => |row, out| out.copy_from_slice(row),
        ColorType::L8 => |row, out| map(row, out, |[gray]| [gray; 3]),
        ColorType::La8 => |row, out| map(row, out, |[gray, _]| [gray; 3]),
        ColorType::Rgba8 => |row, out| map(row, out, |[r, g, b, _]| [r, g, b]),
        ColorType::L16 => |row, out| map(row, out, |gray| [clipped(gray); 3]),
        ColorType::La16 => |row, out| map(row, out, |[gray, ..]: [u8; 4]| [gray; 3]),
        ColorType::Rgb16 => |row, out| map(row, out, |[r, _, g, _, b, _]| [r, g, b]),
        ColorType::Rgba16 => |row, out| map(row, out, |[r, _, g, _, b, ..]: [u8; 8]| [r, g, b]),
        _ => return None,
    })
}

/// The colours of values of up to eight bits, of which several share a byte, the first one in its highest bits.
pub(crate) struct Palette {
    bits: u8,
    /// Bytes of a pixel where it has more than its value, 1 elsewhere.
    stride: usize,
    colours: Box<[[u8; 3]; 256]>,
}

impl Palette {
    /// Levels of gray of so many bits, 1 to 8.
    pub(crate) fn levels(bits: u8) -> Self {
        let step = 255 / ((1_u16 << bits) - 1);
        Self::new(bits, |value| [(u16::from(value) * step).min(255) as u8; 3])
    }

    /// The same where zero is white.
    pub(crate) fn levels_from_white(bits: u8) -> Self {
        let mut levels = Self::levels(bits);
        levels
            .colours
            .iter_mut()
            .flatten()
            .for_each(|level| *level = 255 - *level);
        levels
    }

    /// The colours of indices of so many bits, R, G, B of each. As in Pillow, those that are not given are black, and all are gray where
    /// none is given.
    pub(crate) fn of_rgb(bits: u8, given: &[u8]) -> Self {
        let given = given.as_chunks::<3>().0;
        Self::new(bits, |value| match given {
            [] => [value; 3],
            given => given.get(usize::from(value)).copied().unwrap_or_default(),
        })
    }

    /// The colour of each value of so many bits.
    pub(crate) fn new(bits: u8, colour: impl Fn(u8) -> [u8; 3]) -> Self {
        let colours = Box::new(std::array::from_fn(|value| colour(value as u8)));
        let stride = 1;
        Self { bits, stride, colours }
    }

    /// The same where each value has a byte of alpha after it.
    pub(crate) fn with_alpha(mut self) -> Self {
        self.stride = 2;
        self
    }

    /// Turns a row into RGB, three bytes for each pixel.
    pub(crate) fn unpack(&self, row: &[u8], out: &mut [u8]) {
        let bits = usize::from(self.bits);
        let each = 8 / bits;
        for (column, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let shift = 8 - bits * (column % each + 1);
            let value = row.get(column / each * self.stride).map_or(0, |byte| byte >> shift) & (0xff_u8 >> (8 - bits));
            *out = self.colours[usize::from(value)];
        }
    }
}

fn clipped([high, low]: [u8; 2]) -> u8 {
    if high > 0 { u8::MAX } else { low }
}

/// Turns CMYK as Adobe stores it in a JPEG, where 255 is no ink, into RGB. Pillow takes every CMYK JPEG for one of these.
#[cfg(feature = "jpeg-turbo")]
pub(crate) fn inverted_cmyk_to_rgb(row: &[u8], out: &mut [u8]) {
    map(row, out, |[c, m, y, k]| {
        [c, m, y].map(|ink| cmyk_channel(255 - ink, 255 - k))
    });
}

/// Turns CMYK, where 255 is full ink, into RGB.
pub(crate) fn cmyk_to_rgb(row: &[u8], out: &mut [u8]) {
    map(row, out, |[c, m, y, k]| [c, m, y].map(|ink| cmyk_channel(ink, k)));
}

/// Turns YCbCr of full range (ITU-T T.871) into RGB, with Pillow's rounding: each product to 1/64, half up, then towards zero; their
/// sum to the next lower whole number.
pub(crate) fn ycbcr_to_rgb(row: &[u8], out: &mut [u8]) {
    let part = |factor: f64, chroma: u8| (factor * (f64::from(chroma) - 128.0) * 64.0 + 0.5) as i32;
    map(row, out, |[y, blue, red]| {
        [
            part(1.402, red),
            part(-0.344_14, blue) + part(-0.714_14, red),
            part(1.772, blue),
        ]
        .map(|sum| (i32::from(y) + (sum >> 6)).clamp(0, 255) as u8)
    });
}

/// One channel of Pillow's conversion from CMYK: `(255 - k) - ink * (255 - k) / 255`, rounded.
fn cmyk_channel(ink: u8, black: u8) -> u8 {
    let light = u32::from(255 - black);
    let product = u32::from(ink) * light + 128;
    (light - (((product >> 8) + product) >> 8)) as u8
}

/// Maps each pixel of `N` bytes to RGB.
pub(crate) fn map<const N: usize>(row: &[u8], out: &mut [u8], rgb: impl Fn([u8; N]) -> [u8; 3]) {
    for (pixel, out) in row.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<3>().0) {
        *out = rgb(*pixel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(colour: ColorType, samples: &[u8], rgb: [u8; 3]) {
        let mut out = [0; 3];
        to_rgb(colour).unwrap()(samples, &mut out);
        assert_eq!(out, rgb, "{colour:?}");
    }

    fn wide(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_be_bytes()).collect()
    }

    #[test]
    fn like_pillow() {
        check(ColorType::L8, &[7], [7; 3]);
        check(ColorType::La8, &[7, 0], [7; 3]);
        check(ColorType::Rgba8, &[1, 2, 3, 0], [1, 2, 3]);
        check(ColorType::L16, &wide(&[100]), [100; 3]);
        check(ColorType::L16, &wide(&[256]), [255; 3]);
        check(ColorType::La16, &wide(&[0x1234, 0]), [0x12; 3]);
        check(ColorType::Rgb16, &wide(&[0x1234, 0xff, 0xff80]), [0x12, 0, 0xff]);
        check(ColorType::Rgba16, &wide(&[0x1234, 0xff, 0xff80, 0]), [0x12, 0, 0xff]);
        assert!(to_rgb(ColorType::Rgb32F).is_none());
    }

    #[test]
    fn packed_values_are_looked_up() {
        let check = |palette: Palette, row: &[u8], expected: &[[u8; 3]]| {
            let mut out = vec![0; expected.len() * 3];
            palette.unpack(row, &mut out);
            assert_eq!(out, expected.concat());
        };
        check(Palette::levels(1), &[0b1010_0000], &[[255; 3], [0; 3], [255; 3]]);
        check(Palette::levels(2), &[0b0111_0000], &[[85; 3], [255; 3]]);
        check(Palette::levels(4), &[0x5f, 0xf0], &[[85; 3], [255; 3], [255; 3]]);
        check(Palette::levels(8), &[7], &[[7; 3]]);
        check(Palette::levels_from_white(2), &[0b0111_0000], &[[170; 3], [0; 3]]);
        check(Palette::of_rgb(4, &[1, 2, 3, 4]), &[0x02], &[[1, 2, 3], [0; 3]]);
        check(Palette::of_rgb(4, &[]), &[0x02], &[[0; 3], [2; 3]]);
        check(Palette::levels(8).with_alpha(), &[7, 0, 9, 1], &[[7; 3], [9; 3]]);
    }
}
