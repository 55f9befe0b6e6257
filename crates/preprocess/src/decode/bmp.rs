//! BMP.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;
use image::metadata::Orientation;

use super::header::{Header, Work};
use super::raster;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::rows::{Layout, Rows};

/// What the header says.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let (decoder, layout) = open(encoded, limits)?;
    Ok(Header {
        bytes: decoder.total_bytes().saturating_add(u64::from(layout.stored[1]) * 8),
        layout,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let (decoder, layout) = open(encoded, limits)?;
    raster::rows(decoder, Format::Bmp, &layout, rows)
}

type Decoder<'a> = BmpDecoder<Cursor<&'a [u8]>>;

fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<(Decoder<'a>, Layout), ImageError> {
    let decoder = BmpDecoder::new(Cursor::new(encoded)).map_err(|failure| raster::refuse(failure, Format::Bmp))?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    raster::check_sides(Format::Bmp, width, height)?;
    Ok((decoder, Layout::whole(width, height, Orientation::NoTransforms)))
}
