//! The whole way of one image, and what it took.

use std::time::{Duration, Instant};

use super::decode::{self, JpegDecode};
use super::error::ImageError;
use super::geometry::{Frame, Span};
use super::inspect::Inspected;
use super::limits::Limits;
use super::pixels::Rgb8;
use super::resample::{Kept, Resampler};
use super::rows::{Layout, Rows};
use super::spec::{InputSpec, Interpolation, SpecError};

/// Turns encoded images into the input of one model. Made from an [`InputSpec`], valid by construction.
#[derive(Debug, Clone)]
pub struct Preprocess {
    spec: InputSpec,
    /// What a byte becomes, for each channel.
    normalised: Box<[[f32; 256]; 3]>,
    gray: bool,
}

/// One image as a model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Shape (3, height, width): R, G, B planes, normalised.
    pub tensor: Vec<f32>,
    /// Time spent on reading the file, up to upright RGB pixels.
    pub decode: Duration,
    /// Time spent on resizing, cropping and normalising.
    pub preprocess: Duration,
}

impl TryFrom<InputSpec> for Preprocess {
    type Error = SpecError;

    fn try_from(spec: InputSpec) -> Result<Self, SpecError> {
        spec.validate()?;
        let table = |channel: usize| {
            std::array::from_fn(|byte| (byte as f32 / spec.scale - spec.mean[channel]) / spec.std[channel])
        };
        let normalised = Box::new(std::array::from_fn(table));
        Ok(Self {
            spec,
            normalised,
            gray: false,
        })
    }
}

impl Preprocess {
    /// The specification it was made from.
    pub fn spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Height and width of the tensor.
    pub fn size(&self) -> [u32; 2] {
        self.spec.size
    }

    /// The same for pictures that have the tensor's size already.
    #[must_use]
    pub fn of_pictures(&self) -> Self {
        let mut same = self.clone();
        same.spec.resize = None;
        same
    }

    /// The same for a model of one channel: its luma, as Pillow's `convert("L")` computes it, normalised as the first channel is.
    #[must_use]
    pub fn gray(mut self) -> Self {
        self.gray = true;
        self
    }

    /// What a byte of a channel (0 to 2) becomes.
    pub fn value(&self, channel: usize, byte: u8) -> f32 {
        self.normalised[channel.min(2)][usize::from(byte)]
    }

    fn frame(&self) -> Frame {
        Frame {
            resize: self.spec.resize,
            size: self.spec.size,
        }
    }

    /// Reads the header of one image file: what [`Self::apply`] with the same arguments will take. Costs little, whatever the file is.
    ///
    /// # Errors
    /// See [`ImageError`]; what is refused here is refused by [`Self::apply`] too.
    pub fn inspect(&self, encoded: &[u8], limits: &Limits, jpeg: JpegDecode) -> Result<Inspected, ImageError> {
        let frame = self.frame();
        let (format, header) = decode::header(encoded, limits, (jpeg == JpegDecode::Scaled).then_some(&frame))?;
        Ok(Inspected::new(format, &header, &frame, self.spec.interpolation))
    }

    /// Decodes and preprocesses one image file.
    ///
    /// # Errors
    /// See [`ImageError`]; limits are checked before anything is allocated.
    pub fn apply(&self, encoded: &[u8], limits: &Limits, jpeg: JpegDecode) -> Result<Decoded, ImageError> {
        let started = Instant::now();
        let frame = self.frame();
        let mut rows = Resampling {
            frame,
            interpolation: self.spec.interpolation,
            luma: self.gray.then(Vec::new),
            resampler: None,
            spent: Duration::ZERO,
        };
        let scaled = (jpeg == JpegDecode::Scaled).then_some(&frame);
        let format = decode::decode(encoded, limits, scaled, &mut rows)?;
        let decode = started.elapsed().saturating_sub(rows.spent);
        let (kept, pixels) = rows.finish().ok_or_else(|| decode::no_rows(format))?;
        let tensor = self.normalise(&pixels.data, kept.rows, kept.columns);
        Ok(Decoded {
            tensor,
            decode,
            preprocess: started.elapsed().saturating_sub(decode),
        })
    }

    /// RGB pixels into planes, all three or, of gray ones, the first; what the pixels leave of the frame is black.
    fn normalise(&self, pixels: &[u8], rows: Span, columns: Span) -> Vec<f32> {
        let [height, width] = self.spec.size.map(|side| side as usize);
        let tables = if self.gray {
            &self.normalised[..1]
        } else {
            &self.normalised[..]
        };
        let mut tensor = Vec::with_capacity(tables.len() * height * width);
        for table in tables {
            tensor.resize(tensor.len() + height * width, table[0]);
        }
        let (length, padding) = (columns.length as usize, columns.padding as usize);
        for (y, row) in pixels.as_chunks::<3>().0.chunks_exact(length.max(1)).enumerate() {
            let start = (y + rows.padding as usize) * width + padding;
            for (channel, table) in tables.iter().enumerate() {
                let out = &mut tensor[channel * height * width + start..][..length];
                for (value, pixel) in out.iter_mut().zip(row) {
                    *value = table[usize::from(pixel[channel])];
                }
            }
        }
        tensor
    }
}

/// Luma of ITU-R BT.601, rounded as Pillow rounds it.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

/// Resamples the rows that a decoder hands over.
struct Resampling {
    frame: Frame,
    interpolation: Interpolation,
    /// The last row as gray pixels, where the picture becomes gray: before it is resampled, as in Pillow.
    luma: Option<Vec<u8>>,
    resampler: Option<(Kept, Resampler)>,
    /// Time spent here, which is not the decoder's.
    spent: Duration,
}

impl Rows for Resampling {
    fn begin(&mut self, layout: &Layout) {
        let began = Instant::now();
        let kept = Kept::of(layout.full, &self.frame);
        self.resampler = Some((kept, Resampler::new(layout, kept, self.interpolation)));
        self.spent += began.elapsed();
    }

    fn row(&mut self, rgb: &[u8]) {
        let began = Instant::now();
        let row = match &mut self.luma {
            Some(gray) => {
                gray.clear();
                gray.extend(rgb.as_chunks::<3>().0.iter().flat_map(|pixel| [luma(*pixel); 3]));
                gray.as_slice()
            }
            None => rgb,
        };
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.row(row);
        }
        self.spent += began.elapsed();
    }
}

impl Resampling {
    fn finish(self) -> Option<(Kept, Rgb8)> {
        let (kept, resampler) = self.resampler?;
        Some((kept, resampler.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::*;

    fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(x, y)));
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner()
    }

    fn check(file: &[u8], resize: Option<u32>, size: [u32; 2], expected: &[f32]) {
        let spec = InputSpec {
            size,
            resize,
            interpolation: Interpolation::Bilinear,
            scale: 255.0,
            mean: [0.0, 0.5, 0.0],
            std: [1.0, 0.5, 1.0],
        };
        let preprocess = Preprocess::try_from(spec).unwrap();
        let decoded = preprocess
            .apply(file, &Limits::default(), JpegDecode::default())
            .unwrap();
        assert_eq!(decoded.tensor, expected);
    }

    #[test]
    fn planes_are_normalised_by_channel() {
        check(&png(1, 1, |_, _| [255, 255, 0]), None, [1, 1], &[1.0, 1.0, 0.0]);
    }

    #[test]
    fn the_crop_takes_the_centre() {
        let file = png(3, 1, |x, _| [if x == 1 { 255 } else { 0 }, 0, 0]);
        check(&file, Some(1), [1, 1], &[1.0, -1.0, 0.0]);
    }

    #[test]
    fn a_small_image_is_padded_with_black() {
        let file = png(1, 1, |_, _| [255, 255, 255]);
        let red = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let green = [-1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0];
        check(&file, Some(1), [3, 3], &[red, green, red].concat());
    }

    #[test]
    fn gray_is_made_before_resampling() {
        let file = png(2, 1, |x, _| if x == 0 { [0; 3] } else { [0, 0, 200] });
        let spec = InputSpec {
            size: [1, 1],
            resize: None,
            interpolation: Interpolation::Bilinear,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let gray = Preprocess::try_from(spec).unwrap().gray();
        let decoded = gray.apply(&file, &Limits::default(), JpegDecode::Exact).unwrap();
        // The lumas are 0 and 23; that of the mean colour is 11.
        assert_eq!(decoded.tensor, [12.0]);
    }

    #[test]
    fn the_header_is_enough_to_refuse() {
        let limits = Limits {
            pixels_max: 5,
            ..Limits::default()
        };
        let spec = InputSpec {
            size: [1, 1],
            resize: None,
            interpolation: Interpolation::Nearest,
            scale: 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        let refused = Preprocess::try_from(spec)
            .unwrap()
            .apply(&png(3, 2, |_, _| [0; 3]), &limits, JpegDecode::Exact);
        assert_eq!(
            refused,
            Err(ImageError::TooManyPixels {
                width: 3,
                height: 2,
                pixels_max: 5
            })
        );
    }
}
