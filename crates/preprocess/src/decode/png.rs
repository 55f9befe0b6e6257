//! The default image of a PNG, row by row.

use std::io::Cursor;

use ::png::{
    BitDepth, ColorType as Colour, Decoder, DecodingError, InterlaceInfo, Limits as Memory, Reader, Transformations,
};
use image::ColorType;
use image::metadata::Orientation;

use super::header::{Header, Work};
use super::raster::{self, OVERHEAD_BYTES_MAX};
use crate::colour::{self, ToRgb};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::rows::{Layout, Rows};

type File<'a> = Reader<Cursor<&'a [u8]>>;

/// Where the metadata of an XMP packet is.
const XMP: &str = "XML:com.adobe.xmp";

/// What metadata may unpack to, in bytes; the `png` crate's own limit.
const UNPACKED_BYTES_MAX: u64 = 2 << 20;

/// What the header says; nothing is unpacked.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let mut decoder = decoder(encoded);
    let info = decoder.read_header_info().map_err(refuse)?;
    let (width, height, interlaced) = (info.width, info.height, info.interlaced);
    limits.check_size(width, height)?;
    raster::check_sides(Format::Png, width, height)?;
    let row = info.raw_row_length() as u64;
    let pixels = u64::from(width) * u64::from(height);
    // The `png` crate holds what it has unpacked and not yet passed on, in steps of four rows and 128 KiB, and grows by doubling.
    let rows = row * 12 + u64::from(width) * (8 + 3) + (1 << 20);
    let whole = if interlaced { pixels * 3 } else { 0 };
    let metadata = (encoded.len() as u64).min(OVERHEAD_BYTES_MAX) * 2 + UNPACKED_BYTES_MAX * 2;
    Ok(Header {
        layout: Layout::whole(width, height, Orientation::NoTransforms),
        bytes: rows + whole + metadata,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    // What is gray of 16 bits stays so, though its transparent level becomes alpha.
    let mut decoder = decoder(encoded);
    let info = decoder.read_header_info().map_err(refuse)?;
    limits.check_size(info.width, info.height)?;
    raster::check_sides(Format::Png, info.width, info.height)?;
    let gray = info.color_type == Colour::Grayscale;
    let mut reader = decoder.read_info().map_err(refuse)?;
    let colour = colour(&reader)?;
    let to_rgb = if gray { colour::clipped_to_rgb } else { colour::to_rgb };
    let to_rgb = to_rgb(colour).ok_or_else(|| unsupported(colour))?;
    let (width, height) = reader.info().size();
    let layout = Layout::whole(width, height, orientation(&reader));
    rows.begin(&layout);
    if reader.info().interlaced {
        interlaced(&mut reader, &layout, colour, to_rgb, rows)
    } else {
        straight(&mut reader, &layout, colour, to_rgb, rows)
    }
}

fn decoder(encoded: &[u8]) -> Decoder<Cursor<&[u8]>> {
    let memory = Memory {
        bytes: OVERHEAD_BYTES_MAX as usize,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(encoded), memory);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

/// The layout of the rows that the reader hands out.
fn colour(reader: &File<'_>) -> Result<ColorType, ImageError> {
    Ok(match reader.output_color_type() {
        (Colour::Grayscale, BitDepth::Eight) => ColorType::L8,
        (Colour::Grayscale, BitDepth::Sixteen) => ColorType::L16,
        (Colour::GrayscaleAlpha, BitDepth::Eight) => ColorType::La8,
        (Colour::GrayscaleAlpha, BitDepth::Sixteen) => ColorType::La16,
        (Colour::Rgb, BitDepth::Eight) => ColorType::Rgb8,
        (Colour::Rgb, BitDepth::Sixteen) => ColorType::Rgb16,
        (Colour::Rgba, BitDepth::Eight) => ColorType::Rgba8,
        (Colour::Rgba, BitDepth::Sixteen) => ColorType::Rgba16,
        other => return Err(unsupported(other)),
    })
}

/// What the metadata before the pixels say; metadata that is broken or too large says nothing.
fn orientation(reader: &File<'_>) -> Orientation {
    let info = reader.info();
    let xmp = info.utf8_text.iter().find(|chunk| chunk.keyword.contains(XMP));
    let xmp = xmp.and_then(|chunk| {
        let mut chunk = chunk.clone();
        chunk.decompress_text().ok()?;
        chunk.get_text().ok()
    });
    orientation::stated(info.exif_metadata.as_deref(), xmp.as_deref().map(str::as_bytes))
}

fn straight(
    reader: &mut File<'_>,
    layout: &Layout,
    colour: ColorType,
    to_rgb: ToRgb,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let [height, width] = layout.stored.map(|side| side as usize);
    let mut rgb = vec![0; width * 3];
    let mut come = 0;
    while let Some(row) = reader.next_row().map_err(refuse)? {
        if row.data().len() != width * usize::from(colour.bytes_per_pixel()) || come == height {
            return Err(corrupt("its default image has other sides than its header says"));
        }
        to_rgb(row.data(), &mut rgb);
        rows.row(&rgb);
        come += 1;
    }
    if come < height {
        return Err(corrupt("its default image has other sides than its header says"));
    }
    Ok(())
}

/// Seven passes over the picture: its RGB pixels are held, three bytes each.
fn interlaced(
    reader: &mut File<'_>,
    layout: &Layout,
    colour: ColorType,
    to_rgb: ToRgb,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let [height, width] = layout.stored.map(|side| side as usize);
    let pixel = usize::from(colour.bytes_per_pixel());
    let mut whole = vec![0; width * height * 3];
    let mut rgb = vec![0; width * 3];
    while let Some(row) = reader.next_interlaced_row().map_err(refuse)? {
        let pixels = row.data().len() / pixel;
        let InterlaceInfo::Adam7(info) = row.interlace() else {
            continue;
        };
        if pixels > width {
            return Err(corrupt("its default image has other sides than its header says"));
        }
        let rgb = &mut rgb[..pixels * 3];
        to_rgb(row.data(), rgb);
        ::png::expand_interlaced_row(&mut whole, width * 3, rgb, info, 24);
    }
    whole.chunks_exact(width * 3).for_each(|row| rows.row(row));
    Ok(())
}

fn refuse(error: DecodingError) -> ImageError {
    match error {
        DecodingError::LimitsExceeded => corrupt("decoding it takes more memory than its pixels justify"),
        other => corrupt(&other.to_string()),
    }
}

fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Png,
        part: part.into(),
    }
}

fn unsupported(colour: impl std::fmt::Debug) -> ImageError {
    ImageError::Unsupported {
        format: Format::Png,
        what: format!("pixels of type {colour:?}"),
    }
}
