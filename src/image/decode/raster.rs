//! The formats that the `image` crate decodes.

use std::io::Cursor;

use image::codecs::{
    bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder,
};
use image::error::{ImageError as Failure, LimitErrorKind};
use image::metadata::Orientation;
use image::{ImageDecoder, ImageResult};

use crate::image::colour;
use crate::image::error::ImageError;
use crate::image::format::Format;
use crate::image::limits::Limits;
use crate::image::pixels::Rgb8;

/// Decodes the (first) image of a file; the orientation is still to be applied.
pub(crate) fn read(encoded: &[u8], format: Format, limits: &Limits) -> Result<(Rgb8, Orientation), ImageError> {
    let input = Cursor::new(encoded);
    match format {
        Format::Jpeg => finish(JpegDecoder::new(input), format, limits),
        Format::Png => finish(PngDecoder::with_limits(input, memory(limits)), format, limits),
        Format::WebP => finish(WebPDecoder::new(input), format, limits),
        Format::Gif => finish(GifDecoder::new(input), format, limits),
        Format::Bmp => finish(BmpDecoder::new(input), format, limits),
        Format::Tiff => finish(TiffDecoder::new(input), format, limits),
    }
}

/// What a decoder may allocate beside its input: 16 bytes a pixel at most, and some room for tables.
fn memory(limits: &Limits) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.pixels_max.saturating_mul(16).saturating_add(16 << 20));
    memory
}

fn finish<D: ImageDecoder>(
    decoder: ImageResult<D>,
    format: Format,
    limits: &Limits,
) -> Result<(Rgb8, Orientation), ImageError> {
    let failed = |failure| refuse(failure, format);
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt {
            format,
            part: format!("the header announces {width}x{height} pixels"),
        });
    }
    decoder.set_limits(memory(limits)).map_err(failed)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let colour = decoder.color_type();
    let mut bytes = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut bytes).map_err(failed)?;
    let data = colour::to_rgb(bytes, colour).ok_or_else(|| ImageError::Unsupported {
        format,
        what: format!("pixels of type {colour:?}"),
    })?;
    Ok((Rgb8 { width, height, data }, orientation))
}

fn refuse(failure: Failure, format: Format) -> ImageError {
    match failure {
        Failure::Unsupported(what) => ImageError::Unsupported {
            format,
            what: what.to_string(),
        },
        Failure::Limits(limit) if matches!(limit.kind(), LimitErrorKind::InsufficientMemory) => ImageError::Corrupt {
            format,
            part: "decoding it takes more memory than its pixels justify".into(),
        },
        other => ImageError::Corrupt {
            format,
            part: other.to_string(),
        },
    }
}
