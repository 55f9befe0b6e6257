//! Images that a formula defines, encoded.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

/// A pattern of waves; `seed` shifts it.
pub fn pattern(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |a: f32, b: f32| {
            let phase = a * x as f32 + b * y as f32 + seed as f32;
            (127.5 + 127.5 * phase.sin()) as u8
        };
        image::Rgb([wave(0.31, 0.07), wave(0.05, 0.23), wave(0.17, 0.19)])
    })
}

pub fn encode(image: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A PNG of 32x32 pixels.
pub fn png(seed: u32) -> Vec<u8> {
    encode(pattern(32, 32, seed), ImageFormat::Png)
}
