//! The default image of a PNG, row by row.

mod chunks;
mod passes;
mod shown;
mod texts;

use ::png::{BitDepth, ColorType as Colour, Decoder, DecodingError, Limits as Memory, Reader};
use image::ColorType;
use image::metadata::Orientation;

use self::chunks::{Chunks, Header as Ihdr};
use self::shown::Shown;
use super::header::{Header, Work};
use super::raster::{self, OVERHEAD_BYTES_MAX};
use crate::colour::{self, Palette, ToRgb};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::rows::{Layout, Rows};

type File<'a> = Reader<Shown<'a>>;

/// What the header says; nothing is unpacked, so that the orientation may be missing.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let chunks = open(encoded, limits)?;
    let Ihdr {
        width,
        height,
        interlaced,
        ..
    } = chunks.header;
    let row = chunks.header.row_bytes();
    let pixels = u64::from(width) * u64::from(height);
    // The `png` crate holds what it has unpacked and not yet passed on, in steps of four rows and 128 KiB, and grows by doubling.
    let rows = row * 12 + u64::from(width) * (8 + 3) + (1 << 20);
    let whole = if interlaced { pixels * 3 } else { 0 };
    Ok(Header {
        layout: Layout::whole(width, height, Orientation::NoTransforms),
        bytes: rows + whole + texts::BYTES_MAX,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let chunks = open(encoded, limits)?;
    let memory = Memory {
        bytes: OVERHEAD_BYTES_MAX as usize,
    };
    let mut decoder = Decoder::new_with_limits(Shown::new(&chunks), memory);
    // Pillow looks at neither of the checksums of pixels; those of the chunks before them are checked in `chunks`.
    decoder.ignore_checksums(true);
    let mut reader = decoder.read_info().map_err(refuse)?;
    let samples = samples(&chunks)?;
    let layout = Layout::whole(chunks.header.width, chunks.header.height, chunks.orientation());
    if chunks.header.interlaced {
        let whole = passes::read(&chunks.header, |row, pixels| next(&mut reader, &samples, pixels, row))?;
        rows.begin(&layout);
        whole
            .chunks_exact(chunks.header.width as usize * 3)
            .for_each(|row| rows.row(row));
        return Ok(());
    }
    rows.begin(&layout);
    let width = chunks.header.width as usize;
    let mut rgb = vec![0; width * 3];
    for _ in 0..chunks.header.height {
        next(&mut reader, &samples, width, &mut rgb)?;
        rows.row(&rgb);
    }
    Ok(())
}

fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<Chunks<'a>, ImageError> {
    let chunks = Chunks::read(encoded).map_err(corrupt)?;
    let Ihdr { width, height, .. } = chunks.header;
    limits.check_size(width, height)?;
    raster::check_sides(Format::Png, width, height)?;
    Ok(chunks)
}

/// What the samples of a row are.
enum Samples {
    /// Several pixels in a byte, or one that is looked up.
    Packed(Palette),
    Pixels(ToRgb),
}

fn samples(chunks: &Chunks<'_>) -> Result<Samples, ImageError> {
    let header = &chunks.header;
    let unsupported = || ImageError::Unsupported {
        format: Format::Png,
        what: format!("pixels of colour type {} with {} bits", header.colour, header.depth),
    };
    let colour = Colour::from_u8(header.colour).ok_or_else(unsupported)?;
    let depth = BitDepth::from_u8(header.depth).ok_or_else(unsupported)?;
    let layout = match (colour, depth) {
        (Colour::Indexed, BitDepth::Sixteen) => return Err(unsupported()),
        (Colour::Indexed, _) => return Ok(Samples::Packed(Palette::of_rgb(header.depth, chunks.palette))),
        (Colour::Grayscale, BitDepth::Eight) => ColorType::L8,
        (Colour::Grayscale, BitDepth::Sixteen) => ColorType::L16,
        (Colour::Grayscale, _) => return Ok(Samples::Packed(Palette::levels(header.depth))),
        (Colour::GrayscaleAlpha, BitDepth::Eight) => ColorType::La8,
        (Colour::GrayscaleAlpha, BitDepth::Sixteen) => ColorType::La16,
        (Colour::Rgb, BitDepth::Eight) => ColorType::Rgb8,
        (Colour::Rgb, BitDepth::Sixteen) => ColorType::Rgb16,
        (Colour::Rgba, BitDepth::Eight) => ColorType::Rgba8,
        (Colour::Rgba, BitDepth::Sixteen) => ColorType::Rgba16,
        _ => return Err(unsupported()),
    };
    colour::to_rgb(layout).map(Samples::Pixels).ok_or_else(unsupported)
}

/// Reads the next row, which has so many pixels.
fn next(reader: &mut File<'_>, samples: &Samples, pixels: usize, rgb: &mut [u8]) -> Result<(), ImageError> {
    let row = reader.next_interlaced_row().map_err(refuse)?;
    let row = row.ok_or_else(|| corrupt("it has fewer rows than its header says"))?;
    let rgb = &mut rgb[..pixels * 3];
    match samples {
        Samples::Packed(palette) => palette.unpack(row.data(), rgb),
        Samples::Pixels(to_rgb) => to_rgb(row.data(), rgb),
    }
    Ok(())
}

fn refuse(error: DecodingError) -> ImageError {
    match error {
        DecodingError::LimitsExceeded => corrupt("decoding it takes more memory than its pixels justify"),
        DecodingError::IoError(_) => corrupt("the file ends within its pixels"),
        other => corrupt(&other.to_string()),
    }
}

fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Png,
        part: part.into(),
    }
}
