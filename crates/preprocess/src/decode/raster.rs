//! The formats that the `image` crate decodes: PNG, WebP, BMP, and JPEG where libjpeg-turbo is not built in.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder};
use image::error::{ImageError as Failure, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageResult};

use crate::colour;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::pixels::Rgb8;

/// What a decoder may allocate for tables and metadata, in bytes.
const OVERHEAD_BYTES_MAX: u64 = 16 << 20;

/// Decodes the default image of a PNG.
pub(crate) fn png(encoded: &[u8], limits: &Limits) -> Result<(Rgb8, Orientation), ImageError> {
    let decoder = PngDecoder::with_limits(Cursor::new(encoded), memory(0, 0));
    // Bit depth and colour type in the header: 16-bit gray, to which a transparent level makes the decoder add alpha.
    let gray16 = encoded.get(24..26) == Some(&[16, 0]);
    finish(
        decoder,
        Format::Png,
        limits,
        if gray16 { colour::clipped_to_rgb } else { colour::to_rgb },
    )
}

/// Decodes the first frame of a WebP.
pub(crate) fn webp(encoded: &[u8], limits: &Limits) -> Result<(Rgb8, Orientation), ImageError> {
    finish(
        WebPDecoder::new(Cursor::new(encoded)),
        Format::WebP,
        limits,
        colour::to_rgb,
    )
}

/// Decodes a BMP.
pub(crate) fn bmp(encoded: &[u8], limits: &Limits) -> Result<(Rgb8, Orientation), ImageError> {
    finish(
        BmpDecoder::new(Cursor::new(encoded)),
        Format::Bmp,
        limits,
        colour::to_rgb,
    )
}

/// Decodes a JPEG as it is stored.
#[cfg(not(feature = "jpeg-turbo"))]
pub(crate) fn jpeg(encoded: &[u8], limits: &Limits) -> Result<Rgb8, ImageError> {
    let decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(encoded));
    finish(decoder, Format::Jpeg, limits, colour::to_rgb).map(|(stored, _)| stored)
}

/// 16 bytes a pixel, twice the widest layout, and some room for tables.
fn memory(width: u32, height: u32) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(u64::from(width) * u64::from(height) * 16 + OVERHEAD_BYTES_MAX);
    memory
}

fn finish<D: ImageDecoder>(
    decoder: ImageResult<D>,
    format: Format,
    limits: &Limits,
    to_rgb: fn(Vec<u8>, ColorType) -> Option<Vec<u8>>,
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
    decoder.set_limits(memory(width, height)).map_err(failed)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = orientation::stated(exif.as_deref(), xmp.as_deref());
    let colour = decoder.color_type();
    let mut bytes = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder.read_image(&mut bytes).map_err(failed)?;
    let what = || format!("pixels of type {colour:?}");
    let data = to_rgb(bytes, colour).ok_or_else(|| ImageError::Unsupported { format, what: what() })?;
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
