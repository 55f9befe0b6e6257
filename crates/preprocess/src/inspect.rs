//! What decoding an image will take, known from its header before anything of its size is allocated.

use image::metadata::Orientation;

use super::decode::{Header, Work};
use super::format::Format;
use super::geometry::Frame;
use super::resample::{self, Kept};
use super::rows::Layout;
use super::spec::Interpolation;

/// Bytes of a model's input for each pixel: three numbers of four bytes.
const TENSOR_PIXEL_BYTES: u64 = 12;

/// A pixel that is unpacked costs about as much as so many of a JPEG that is decoded in one pass.
const UNPACKED_PIXEL_WORK: u64 = 4;

/// Scans of a JPEG that cost as much as decoding it in one: each goes over all blocks, few have much to say.
const SCANS_PER_WORK: u64 = 2;

/// What decoding an image and making a model's input of it will take, as the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// The file's format.
    pub format: Format,
    /// Pixels in a row of the upright picture.
    pub width: u32,
    /// Rows of the upright picture.
    pub height: u32,
    /// What is held at the peak, in bytes; never less than it will be, the encoded file not counted.
    pub bytes: u64,
    /// How long it will take, as the number of pixels of an ordinary JPEG that take as long.
    pub work_pixels: u64,
}

impl Inspected {
    pub(super) fn new(format: Format, header: &Header, frame: &Frame, interpolation: Interpolation) -> Self {
        let layout = header.layout;
        let [height, width] = layout.full;
        let resample = |layout: &Layout| resample::bytes_max(layout, Kept::of(layout.full, frame), interpolation);
        let turned = match format {
            // A PNG may say only later that it is turned.
            Format::Png => resample(&Layout::whole(width, height, Orientation::Rotate90)),
            _ => 0,
        };
        let tensor = u64::from(frame.size[0]) * u64::from(frame.size[1]) * TENSOR_PIXEL_BYTES;
        let pixels = u64::from(width) * u64::from(height);
        Self {
            format,
            width,
            height,
            bytes: header.bytes + resample(&layout).max(turned) + tensor,
            work_pixels: match header.work {
                Work::Once => pixels,
                Work::Scans(scans) => pixels * scans.div_ceil(SCANS_PER_WORK).max(1),
                Work::EveryPixel => pixels * UNPACKED_PIXEL_WORK,
            },
        }
    }
}
