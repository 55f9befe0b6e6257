//! Pictures that a formula defines, encoded as JPEG: something to send without a file at hand.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageError, Rgb, RgbImage};

/// Quality that photographs usually come with.
const QUALITY: u8 = 90;

/// A colourful picture with edges and gradients, about as hard to decode as a photograph of its size.
///
/// # Errors
/// Where the encoder refuses the size.
pub fn jpeg(width: u32, height: u32) -> Result<Vec<u8>, ImageError> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let wave = |a: f64, b: f64, c: f64| (127.5 + 127.5 * (a * u + b * v + c * u * v).sin()) as u8;
        let texture = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519) >> 28;
        Rgb([wave(9.0, 4.0, 31.0), wave(3.0, 17.0, 12.0), wave(25.0, 6.0, 3.0)]
            .map(|c| c.saturating_add(texture as u8)))
    });
    let mut bytes = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
    Ok(bytes)
}
