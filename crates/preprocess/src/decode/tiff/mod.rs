//! The first page of a TIFF, strip by strip or one row of tiles after the other.

mod chunks;
mod directory;
mod file;
mod palette;
mod samples;

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::decoder::{Decoder, Limits as Memory, TiffCodingUnit};
use ::tiff::tags::Tag;
use image::metadata::Orientation;

use self::chunks::Chunks;
use self::file::{File, corrupt, refuse};
use self::palette::Palette;
use self::samples::{Layers, Samples};
use super::header::{Header, Work};
use super::raster;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::orientation;
use crate::rows::{Layout, Rows};

/// The tag of an XMP packet.
const XMP: Tag = Tag::Unknown(700);

/// A file whose header has been read and found good.
struct Page<'a> {
    file: File<'a>,
    layout: Layout,
    chunks: Chunks,
    samples: Samples,
}

/// What the header says.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let Page {
        layout,
        chunks,
        samples,
        ..
    } = open(encoded, limits)?;
    let [_, width] = layout.stored.map(u64::from);
    let band = if chunks.across > 1 {
        width * u64::from(chunks.height) * 3
    } else {
        0
    };
    // A file with a palette is copied; the rest is tables.
    let copies = if samples.has_colours() { 2 } else { 1 } * encoded.len() as u64;
    Ok(Header {
        bytes: chunks.bytes + chunks.unpacking_bytes + band + width * 16 + copies + directory::TABLES_BYTES_MAX,
        layout,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let mut page = open(encoded, limits)?;
    rows.begin(&page.layout);
    if page.chunks.across > 1 {
        tiles(&mut page, rows)
    } else {
        strips(&mut page, rows)
    }
}

fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<Page<'a>, ImageError> {
    directory::check(encoded).map_err(|part| corrupt(&part))?;
    let palette = Palette::find(encoded);
    // The decoder has no palettes: it is shown a gray image, whose levels are the indices.
    let shown = palette
        .as_ref()
        .map_or(Cow::Borrowed(encoded), |palette| Cow::Owned(palette.as_gray(encoded)));
    let mut file = Decoder::new(Cursor::new(shown)).map_err(refuse)?;
    let (width, height) = file.dimensions().map_err(refuse)?;
    limits.check_size(width, height)?;
    raster::check_sides(Format::Tiff, width, height)?;
    let chunks = chunks::check(&mut file, encoded, limits)?;
    let colours = match &palette {
        Some(_) => Some(palette::colours(&file.get_tag_u16_vec(Tag::ColorMap).map_err(refuse)?)),
        None => None,
    };
    let samples = Samples::new(&mut file, chunks.sample_type, colours)?;
    let orientation = stated_orientation(&mut file);
    let mut memory = Memory::default();
    memory.decoding_buffer_size = usize::try_from(chunks.bytes).unwrap_or(usize::MAX);
    memory.intermediate_buffer_size = encoded.len();
    Ok(Page {
        file: file.with_limits(memory),
        layout: Layout::whole(width, height, orientation),
        chunks,
        samples,
    })
}

fn stated_orientation(file: &mut File<'_>) -> Orientation {
    let tag = file.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    tag.and_then(Orientation::from_exif).unwrap_or_else(|| {
        let xmp = file.get_tag_u8_vec(XMP).ok();
        orientation::stated(None, xmp.as_deref())
    })
}

/// The samples of all layers of one strip or tile, and how they lie.
fn chunk<'b>(file: &mut File<'_>, index: u32, buffer: &'b mut Vec<u8>) -> Result<Layers<'b>, ImageError> {
    let unit = TiffCodingUnit(index);
    let layout = file.image_coding_unit_layout(unit).map_err(refuse)?;
    buffer.resize(layout.complete_len, 0);
    file.read_coding_unit_bytes(unit, buffer).map_err(refuse)?;
    let (width, height) = file.chunk_data_dimensions(index);
    Ok(Layers {
        bytes: buffer,
        row_bytes: layout.row_stride.map_or(0, std::num::NonZeroUsize::get),
        layer_bytes: layout.plane_stride.map_or(0, std::num::NonZeroUsize::get),
        layers: layout.planes,
        width: width as usize,
        height: height as usize,
    })
}

fn strips(page: &mut Page<'_>, rows: &mut impl Rows) -> Result<(), ImageError> {
    let [height, width] = page.layout.stored.map(|side| side as usize);
    let mut rgb = vec![0; width * 3];
    let (mut buffer, mut come) = (Vec::new(), 0);
    for index in 0..page.chunks.down {
        let layers = chunk(&mut page.file, index, &mut buffer)?;
        if layers.width != width {
            break;
        }
        for row in 0..layers.height {
            page.samples.row(&layers, row, &mut rgb)?;
            rows.row(&rgb);
            come += 1;
        }
    }
    filled(come == height)
}

fn tiles(page: &mut Page<'_>, rows: &mut impl Rows) -> Result<(), ImageError> {
    let [height, width] = page.layout.stored.map(|side| side as usize);
    let stride = width * 3;
    let (mut buffer, mut band, mut come) = (Vec::new(), Vec::new(), 0);
    for y in 0..page.chunks.down {
        let (mut left, mut band_height) = (0, 0);
        for x in 0..page.chunks.across {
            let layers = chunk(&mut page.file, y * page.chunks.across + x, &mut buffer)?;
            if x == 0 {
                band_height = layers.height;
                band.resize(stride * band_height, 0);
            }
            let right = left + layers.width * 3;
            if right > stride || layers.height != band_height {
                return filled(false);
            }
            for (row, line) in band.chunks_exact_mut(stride).enumerate() {
                page.samples.row(&layers, row, &mut line[left..right])?;
            }
            left = right;
        }
        if left != stride {
            return filled(false);
        }
        band.chunks_exact(stride).for_each(|row| rows.row(row));
        come += band_height;
    }
    filled(come == height)
}

fn filled(whole: bool) -> Result<(), ImageError> {
    if whole {
        Ok(())
    } else {
        Err(corrupt("its strips or tiles do not fill the picture"))
    }
}
