//! The first page of a TIFF.

mod palette;
mod samples;

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::decoder::{Decoder, DecodingResult, Limits as Memory};
use ::tiff::tags::{CompressionMethod, Tag};
use ::tiff::{ColorType, TiffError, TiffUnsupportedError};
use image::metadata::Orientation;

use self::palette::Palette;
use self::samples::Samples;
use super::jpeg;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::pixels::Rgb8;

/// What the decoder may allocate for tables and metadata, in bytes.
const OVERHEAD_BYTES_MAX: usize = 16 << 20;

/// The tag of an XMP packet.
const XMP: Tag = Tag::Unknown(700);

type File<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

/// Decodes the first page; the orientation is still to be applied.
pub(crate) fn read(encoded: &[u8], limits: &Limits) -> Result<(Rgb8, Orientation), ImageError> {
    let palette = Palette::find(encoded);
    // The decoder has no palettes: it is shown a gray image, whose levels are the indices.
    let shown = palette
        .as_ref()
        .map_or(Cow::Borrowed(encoded), |palette| Cow::Owned(palette.as_gray(encoded)));
    let mut decoder = Decoder::new(Cursor::new(shown)).map_err(refuse)?;
    let (width, height) = decoder.dimensions().map_err(refuse)?;
    limits.check_size(width, height)?;
    check_chunks(&mut decoder, encoded, limits)?;
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let xmp = decoder.get_tag_u8_vec(XMP).ok();
    let orientation = orientation.and_then(Orientation::from_exif);
    let orientation = orientation.unwrap_or_else(|| orientation::stated(None, xmp.as_deref()));

    let mut memory = Memory::default();
    memory.decoding_buffer_size = width as usize * height as usize * 16 + OVERHEAD_BYTES_MAX;
    memory.intermediate_buffer_size = memory.decoding_buffer_size;
    let mut decoder = decoder.with_limits(memory);
    let colours = match &palette {
        Some(_) => Some(palette::colours(
            &decoder.get_tag_u16_vec(Tag::ColorMap).map_err(refuse)?,
        )),
        None => None,
    };
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(refuse)?;
    let samples = Samples {
        colour: decoder.colortype().map_err(refuse)?,
        premultiplied: decoder
            .get_tag_u16_vec(Tag::ExtraSamples)
            .is_ok_and(|extra| extra.first() == Some(&1)),
        width: width as usize,
        planes: layout.planes,
        result,
    };
    let data = samples.into_rgb(colours.as_ref())?;
    if data.len() != width as usize * height as usize * 3 {
        return Err(corrupt("its strips or tiles do not fill the picture"));
    }
    Ok((Rgb8 { width, height, data }, orientation))
}

/// Refuses a file whose strips or tiles cost much more than the picture is worth: far larger than it, overlapping, or JPEGs of another size.
fn check_chunks(decoder: &mut File<'_>, encoded: &[u8], limits: &Limits) -> Result<(), ImageError> {
    let tiles = decoder.find_tag(Tag::TileOffsets).map_err(refuse)?.is_some();
    let [offsets, lengths] = if tiles {
        [Tag::TileOffsets, Tag::TileByteCounts]
    } else {
        [Tag::StripOffsets, Tag::StripByteCounts]
    };
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(refuse)?;
    let lengths = decoder.get_tag_u64_vec(lengths).map_err(refuse)?;
    let (width, height) = decoder.chunk_dimensions();
    let (across, down) = decoder.dimensions().map_err(refuse)?;
    let height = height.min(if tiles { u32::MAX } else { down });
    limits.check_size(width, height)?;
    let chunks = u64::from(across.div_ceil(width.max(1))) * u64::from(down.div_ceil(height.max(1)));
    if chunks * u64::from(width) * u64::from(height) > limits.pixels_max.saturating_mul(2) {
        return Err(corrupt("its tiles are far larger than the picture"));
    }
    let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).ok().flatten();
    let is_jpeg = compression == Some(CompressionMethod::ModernJPEG.to_u16());
    if is_jpeg
        && matches!(
            decoder.colortype(),
            Ok(ColorType::GrayA(_) | ColorType::Multiband { .. })
        )
    {
        return Err(unsupported(
            "a JPEG in it of other channels than gray, RGB, YCbCr or CMYK",
        ));
    }
    let mut total = 0;
    for (offset, length) in offsets.into_iter().zip(lengths) {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| encoded.get(offset..))
            .unwrap_or_default();
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        total += length;
        if total > encoded.len() * 2 {
            return Err(corrupt("its strips or tiles overlap"));
        }
        if is_jpeg && jpeg::stored_size(&rest[..length]).is_some_and(|(w, h)| w > width || h > height) {
            return Err(corrupt("a JPEG in it is larger than its strip or tile"));
        }
    }
    Ok(())
}

fn refuse(error: TiffError) -> ImageError {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::UnknownInterpretation) => unsupported("its pixels' meaning"),
        TiffError::UnsupportedError(what) => unsupported(&what.to_string()),
        TiffError::LimitsExceeded => corrupt("decoding it takes more memory than its pixels justify"),
        other => corrupt(&other.to_string()),
    }
}

fn unsupported(what: &str) -> ImageError {
    ImageError::Unsupported {
        format: Format::Tiff,
        what: what.into(),
    }
}

fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Tiff,
        part: part.into(),
    }
}
