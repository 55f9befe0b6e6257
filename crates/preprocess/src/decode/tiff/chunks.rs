//! The strips or tiles of a TIFF: what each costs, judged before any is read.

use ::tiff::ColorType;
use ::tiff::decoder::{DecodingSampleType, TiffCodingUnit};
use ::tiff::tags::{CompressionMethod, Tag};

use super::file::{File, corrupt, refuse, unsupported};
use crate::decode::jpeg;
use crate::error::ImageError;
use crate::limits::Limits;

/// How the picture is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    /// Tiles in a row of tiles; strips are one across.
    pub across: u32,
    /// Rows of tiles, or strips.
    pub down: u32,
    /// Rows of pixels in each, the last one possibly with fewer.
    pub height: u32,
    /// What the samples of one take, all layers together, in bytes.
    pub bytes: u64,
    /// What unpacking one takes besides, in bytes.
    pub unpacking_bytes: u64,
    /// What a sample is.
    pub sample_type: DecodingSampleType,
}

/// Refuses a file whose strips or tiles cost much more than the picture is worth: far larger than it, overlapping, or JPEGs of another size.
pub(super) fn check(file: &mut File<'_>, encoded: &[u8], limits: &Limits) -> Result<Chunks, ImageError> {
    let tiles = file.find_tag(Tag::TileOffsets).map_err(refuse)?.is_some();
    let (across, down) = file.dimensions().map_err(refuse)?;
    let (width, height) = file.chunk_dimensions();
    let height = height.min(if tiles { u32::MAX } else { down });
    limits.check_size(width, height)?;
    let (columns, rows) = (across.div_ceil(width.max(1)), down.div_ceil(height.max(1)));
    let pixels = u64::from(columns) * u64::from(rows) * u64::from(width) * u64::from(height);
    if pixels > limits.pixels_max.saturating_mul(2) {
        return Err(corrupt("its tiles are far larger than the picture"));
    }
    let compression = compression(file)?;
    let is_jpeg = compression == CompressionMethod::ModernJPEG;
    let jpeg_bytes = chunk_bytes(file, encoded, tiles, is_jpeg.then_some((width, height)))?;
    let samples = file.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).map_err(refuse)?;
    let bits = file.colortype().map_err(refuse)?.bit_depth();
    let row = u64::from(width) * u64::from(samples.unwrap_or(1)) * u64::from(bits) / 8;
    // The first one has no padding that is cut off unless it is the only one.
    let layout = file.image_coding_unit_layout(TiffCodingUnit(0)).map_err(refuse)?;
    let sample_type = layout
        .sample_type
        .ok_or_else(|| unsupported("samples of no common type"))?;
    Ok(Chunks {
        across: columns,
        down: rows,
        height: height.min(down),
        bytes: layout.complete_len as u64,
        // A row with all its samples, also those that are not read; a JPEG is copied and then held whole.
        unpacking_bytes: row * 2
            + if is_jpeg {
                jpeg_bytes + encoded.len() as u64 * 2
            } else {
                1 << 18
            },
        sample_type,
    })
}

/// How the samples are packed.
fn compression(file: &mut File<'_>) -> Result<CompressionMethod, ImageError> {
    use CompressionMethod as C;
    let stated = file.find_tag_unsigned::<u16>(Tag::Compression).map_err(refuse)?;
    let compression = stated.map_or(C::None, C::from_u16_exhaustive);
    let read = matches!(
        compression,
        C::None | C::LZW | C::PackBits | C::Deflate | C::OldDeflate | C::ModernJPEG | C::Fax4
    );
    if !read {
        return Err(unsupported(&format!("samples packed by {compression:?}")));
    }
    let other = matches!(file.colortype(), Ok(ColorType::GrayA(_) | ColorType::Multiband { .. }));
    if compression == C::ModernJPEG && other {
        return Err(unsupported(
            "a JPEG in it of other channels than gray, RGB, YCbCr or CMYK",
        ));
    }
    Ok(compression)
}

/// Refuses strips or tiles that overlap and, in one that is a JPEG, another size than `jpeg_sides`, width and height. What unpacking the
/// costliest JPEG among them holds, in bytes.
fn chunk_bytes(
    file: &mut File<'_>,
    encoded: &[u8],
    tiles: bool,
    jpeg_sides: Option<(u32, u32)>,
) -> Result<u64, ImageError> {
    let [offsets, lengths] = if tiles {
        [Tag::TileOffsets, Tag::TileByteCounts]
    } else {
        [Tag::StripOffsets, Tag::StripByteCounts]
    };
    let offsets = file.get_tag_u64_vec(offsets).map_err(refuse)?;
    let lengths = file.get_tag_u64_vec(lengths).map_err(refuse)?;
    let (mut total, mut costliest) = (0, 0);
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
        let Some((width, height)) = jpeg_sides else { continue };
        if let Some(frame) = jpeg::first_frame(&rest[..length]) {
            if frame.width > width || frame.height > height {
                return Err(corrupt("a JPEG in it is larger than its strip or tile"));
            }
            // Coefficients of two bytes, samples of one, and what comes out.
            costliest = costliest.max(frame.samples() * 4);
        }
    }
    Ok(costliest)
}
