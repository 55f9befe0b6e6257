//! A model's input as an image file again, for what keeps inputs to run them later.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::error::ImageError;
use super::format::Format;
use super::preprocess::Preprocess;

impl Preprocess {
    /// A JPEG of the input's size that shows what `tensor`, of shape (3, height, width), holds; `quality` is 1 to 100.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub fn picture(&self, tensor: &[f32], quality: u8) -> Result<Vec<u8>, ImageError> {
        let spec = self.spec();
        let [height, width] = self.size();
        let plane = height as usize * width as usize;
        let byte = |i: usize| {
            let (pixel, channel) = (i / 3, i % 3);
            let value = tensor.get(channel * plane + pixel).copied().unwrap_or(0.0);
            ((value * spec.std[channel] + spec.mean[channel]) * spec.scale).round() as u8
        };
        let pixels: Vec<u8> = (0..3 * plane).map(byte).collect();
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, quality)
            .encode(&pixels, width, height, ExtendedColorType::Rgb8)
            .map_err(|e| ImageError::Unsupported {
                format: Format::Jpeg,
                what: e.to_string(),
            })?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputSpec, Interpolation, JpegDecode, Limits};

    #[test]
    fn a_picture_of_an_input_gives_the_input_again() {
        let spec = InputSpec {
            size: [24, 32],
            resize: Some(40),
            interpolation: Interpolation::Bilinear,
            scale: 255.0,
            mean: [0.4, 0.5, 0.6],
            std: [0.2, 0.25, 0.3],
        };
        let preprocess = Preprocess::try_from(spec).unwrap();
        let wave = |i: usize| (0.01 * i as f32).sin();
        let input: Vec<f32> = (0..3 * 24 * 32).map(wave).collect();
        let file = preprocess.picture(&input, 95).unwrap();
        let again = preprocess
            .of_pictures()
            .apply(&file, &Limits::default(), JpegDecode::Exact);
        let again = again.unwrap().tensor;
        let off = input.iter().zip(&again).map(|(a, b)| (a - b).abs()).sum::<f32>() / input.len() as f32;
        assert!(again.len() == input.len() && off < 0.05, "{off}");
    }
}
