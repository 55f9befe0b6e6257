//! The first page of a TIFF, strip by strip or one row of tiles after the other.

mod chunks;
mod errors;
mod fax;
mod fields;
mod packbits;
mod predictor;
mod samples;
mod unpack;

use self::chunks::Chunks;
use self::fields::{Fields, tag};
use self::samples::{Layers, Samples};
use super::header::{Header, Work};
use super::raster;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::rows::{Layout, Rows};

/// A file whose directory has been read and found good.
struct Page<'a> {
    fields: Fields<'a>,
    layout: Layout,
    chunks: Chunks<'a>,
    samples: Samples,
}

/// What the header says.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let Page { layout, chunks, .. } = open(encoded, limits)?;
    let [_, width] = layout.stored.map(u64::from);
    let band = if chunks.tiles {
        width * u64::from(chunks.height) * 3
    } else {
        0
    };
    Ok(Header {
        bytes: chunks.bytes + chunks.unpacking_bytes + band + width * 16 + chunks::TABLES_BYTES_MAX,
        layout,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let mut page = open(encoded, limits)?;
    rows.begin(&page.layout);
    if page.chunks.tiles {
        tiles(&mut page, rows)
    } else {
        strips(&mut page, rows)
    }
}

fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<Page<'a>, ImageError> {
    let fields = Fields::read(encoded)?;
    let (width, height) = (fields.width, fields.height);
    limits.check_size(width, height)?;
    raster::check_sides(Format::Tiff, width, height)?;
    let samples = Samples::new(&fields)?;
    let chunks = Chunks::read(encoded, &fields, limits)?;
    let xmp = fields.directory.entry_of(tag::XMP).map(|xmp| xmp.data);
    let orientation = orientation::of_directory(Some(fields.directory), xmp);
    Ok(Page {
        fields,
        layout: Layout::whole(width, height, orientation),
        chunks,
        samples,
    })
}

/// The samples of all layers of one strip or tile, of so many rows.
fn chunk<'b>(page: &Page<'_>, index: u32, rows: u32, buffer: &'b mut Vec<u8>) -> Result<Layers<'b>, ImageError> {
    let (fields, chunks) = (&page.fields, &page.chunks);
    let layers = if fields.planar { fields.samples } else { 1 };
    let row_bytes = fields.row_bytes(chunks.width);
    let layer_bytes = row_bytes * rows as usize;
    buffer.clear();
    buffer.resize(layer_bytes * layers, 0);
    for (layer, out) in buffer.chunks_exact_mut(layer_bytes).enumerate() {
        unpack::unpack(fields, chunks.stored(layer, index)?, chunks.width, out)?;
    }
    Ok(Layers {
        bytes: buffer,
        row_bytes,
        layer_bytes,
        layers,
    })
}

fn strips(page: &mut Page<'_>, rows: &mut impl Rows) -> Result<(), ImageError> {
    let [height, width] = page.layout.stored;
    let mut rgb = vec![0; width as usize * 3];
    let mut buffer = Vec::new();
    for index in 0..page.chunks.down {
        let count = page.chunks.height.min(height - index * page.chunks.height);
        let layers = chunk(page, index, count, &mut buffer)?;
        for row in 0..count as usize {
            page.samples.row(&layers, row, &mut rgb)?;
            rows.row(&rgb);
        }
    }
    Ok(())
}

fn tiles(page: &mut Page<'_>, rows: &mut impl Rows) -> Result<(), ImageError> {
    let [height, width] = page.layout.stored;
    let stride = width as usize * 3;
    let (tile_width, tile_height) = (page.chunks.width as usize, page.chunks.height);
    let (mut buffer, mut band) = (Vec::new(), vec![0; stride * tile_height.min(height) as usize]);
    let mut line = vec![0; tile_width * 3];
    for y in 0..page.chunks.down {
        let count = tile_height.min(height - y * tile_height) as usize;
        for x in 0..page.chunks.across {
            let layers = chunk(page, y * page.chunks.across + x, tile_height, &mut buffer)?;
            let left = x as usize * tile_width * 3;
            let kept = line.len().min(stride - left);
            for (row, place) in band.chunks_exact_mut(stride).take(count).enumerate() {
                page.samples.row(&layers, row, &mut line)?;
                place[left..left + kept].copy_from_slice(&line[..kept]);
            }
        }
        band.chunks_exact(stride).take(count).for_each(|row| rows.row(row));
    }
    Ok(())
}
