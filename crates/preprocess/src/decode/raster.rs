//! The formats that are decoded whole: BMP, WebP, and JPEG where libjpeg-turbo is not built in.

use image::error::{ImageError as Failure, LimitErrorKind};
use image::{ColorType, ImageDecoder};

use crate::colour;
use crate::error::ImageError;
use crate::format::Format;
use crate::rows::{Layout, Rows};

/// What a decoder may allocate for tables and metadata, in bytes.
pub(super) const OVERHEAD_BYTES_MAX: u64 = 16 << 20;

/// Decodes all pixels and hands their rows over.
pub(super) fn rows(
    mut decoder: impl ImageDecoder,
    format: Format,
    layout: &Layout,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let [height, width] = layout.stored;
    let pixels = u64::from(width) * u64::from(height);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(pixels * 16 + OVERHEAD_BYTES_MAX);
    decoder.set_limits(memory).map_err(|failure| refuse(failure, format))?;
    let colour = decoder.color_type();
    let mut bytes = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
    decoder
        .read_image(&mut bytes)
        .map_err(|failure| refuse(failure, format))?;
    hand_over(&bytes, colour, format, layout, rows)
}

/// Hands the rows of a decoded picture over as RGB.
pub(super) fn hand_over(
    bytes: &[u8],
    colour: ColorType,
    format: Format,
    layout: &Layout,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let to_rgb = colour::to_rgb(colour).ok_or_else(|| ImageError::Unsupported {
        format,
        what: format!("pixels of type {colour:?}"),
    })?;
    let width = layout.stored[1] as usize;
    rows.begin(layout);
    let mut rgb = vec![0; width * 3];
    for row in bytes.chunks_exact(width * usize::from(colour.bytes_per_pixel())) {
        to_rgb(row, &mut rgb);
        rows.row(&rgb);
    }
    Ok(())
}

/// Refuses a picture without pixels.
pub(super) fn check_sides(format: Format, width: u32, height: u32) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt {
            format,
            part: format!("the header announces {width}x{height} pixels"),
        });
    }
    Ok(())
}

pub(super) fn refuse(failure: Failure, format: Format) -> ImageError {
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
