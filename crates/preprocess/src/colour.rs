//! Any pixel layout to RGB, exactly as Pillow's `convert('RGB')` does it: alpha is dropped, not composited.

use image::ColorType;

/// Turns `bytes`, pixels of layout `colour` in native byte order, into RGB; `None` for a layout that Pillow does not read.
///
/// Pillow keeps 16-bit gray (its mode `I;16`) and clips it to 255 on conversion; every other 16-bit layout loses its low byte.
pub(crate) fn to_rgb(bytes: Vec<u8>, colour: ColorType) -> Option<Vec<u8>> {
    Some(match colour {
        ColorType::Rgb8 => bytes,
        ColorType::L8 => map(&bytes, |[gray]| [gray; 3]),
        ColorType::La8 => map(&bytes, |[gray, _]| [gray; 3]),
        ColorType::Rgba8 => map(&bytes, |[r, g, b, _]| [r, g, b]),
        ColorType::L16 => map(&bytes, |gray| [u16::from_ne_bytes(gray).min(255) as u8; 3]),
        ColorType::La16 => map(&bytes, |[g0, g1, _, _]| [high([g0, g1]); 3]),
        ColorType::Rgb16 => map(&bytes, |[r0, r1, g0, g1, b0, b1]| {
            [high([r0, r1]), high([g0, g1]), high([b0, b1])]
        }),
        ColorType::Rgba16 => map(&bytes, |[r0, r1, g0, g1, b0, b1, _, _]| {
            [high([r0, r1]), high([g0, g1]), high([b0, b1])]
        }),
        _ => return None,
    })
}

/// Like [`to_rgb`] for what is gray of 16 bits in its file, even if a decoder made alpha of its transparent level.
pub(crate) fn clipped_to_rgb(bytes: Vec<u8>, colour: ColorType) -> Option<Vec<u8>> {
    match colour {
        ColorType::La16 => Some(map(&bytes, |[g0, g1, _, _]| {
            [u16::from_ne_bytes([g0, g1]).min(255) as u8; 3]
        })),
        _ => to_rgb(bytes, colour),
    }
}

/// Turns CMYK as Adobe stores it in a JPEG, where 255 is no ink, into RGB. Pillow takes every CMYK JPEG for one of these.
#[cfg(feature = "jpeg-turbo")]
pub(crate) fn inverted_cmyk_to_rgb(bytes: &[u8]) -> Vec<u8> {
    map(bytes, |[c, m, y, k]| {
        [c, m, y].map(|ink| cmyk_channel(255 - ink, 255 - k))
    })
}

/// Turns CMYK, where 255 is full ink, into RGB.
pub(crate) fn cmyk_to_rgb(bytes: &[u8]) -> Vec<u8> {
    map(bytes, |[c, m, y, k]| [c, m, y].map(|ink| cmyk_channel(ink, k)))
}

/// Turns YCbCr of full range (ITU-T T.871) into RGB.
pub(crate) fn ycbcr_to_rgb(bytes: &[u8]) -> Vec<u8> {
    map(bytes, |[y, blue, red]| {
        let (y, blue, red) = (f32::from(y), f32::from(blue) - 128.0, f32::from(red) - 128.0);
        [
            y + 1.402 * red,
            y - 0.344_136 * blue - 0.714_136 * red,
            y + 1.772 * blue,
        ]
        .map(|channel| channel.round() as u8)
    })
}

/// One channel of Pillow's conversion from CMYK: `(255 - k) - ink * (255 - k) / 255`, rounded.
fn cmyk_channel(ink: u8, black: u8) -> u8 {
    let light = u32::from(255 - black);
    let product = u32::from(ink) * light + 128;
    (light - (((product >> 8) + product) >> 8)) as u8
}

fn high(sample: [u8; 2]) -> u8 {
    (u16::from_ne_bytes(sample) >> 8) as u8
}

/// Maps each pixel of `N` bytes to RGB.
pub(crate) fn map<const N: usize>(bytes: &[u8], rgb: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|pixel| rgb(*pixel))
        .collect::<Vec<_>>()
        .into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(colour: ColorType, samples: &[u8], rgb: [u8; 3]) {
        assert_eq!(
            to_rgb(samples.to_vec(), colour).as_deref(),
            Some(&rgb[..]),
            "{colour:?}"
        );
    }

    fn wide(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect()
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
        assert_eq!(to_rgb(vec![0; 12], ColorType::Rgb32F), None);
    }
}
