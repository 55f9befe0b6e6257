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

/// Like [`to_rgb`] for what is gray of 16 bits in its file, even if a decoder made alpha of its transparent level.
pub(crate) fn clipped_to_rgb(colour: ColorType) -> Option<ToRgb> {
    match colour {
        ColorType::La16 => Some(|row, out| map(row, out, |[high, low, _, _]| [clipped([high, low]); 3])),
        _ => to_rgb(colour),
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

/// Turns YCbCr of full range (ITU-T T.871) into RGB.
pub(crate) fn ycbcr_to_rgb(row: &[u8], out: &mut [u8]) {
    map(row, out, |[y, blue, red]| {
        let (y, blue, red) = (f32::from(y), f32::from(blue) - 128.0, f32::from(red) - 128.0);
        [
            y + 1.402 * red,
            y - 0.344_136 * blue - 0.714_136 * red,
            y + 1.772 * blue,
        ]
        .map(|channel| channel.round() as u8)
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
        let mut out = [0; 3];
        clipped_to_rgb(ColorType::La16).unwrap()(&wide(&[0x1234, 0]), &mut out);
        assert_eq!(out, [255; 3]);
    }
}
