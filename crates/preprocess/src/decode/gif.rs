//! The first frame of a GIF, laid on its canvas as Pillow lays it.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, MemoryLimit};
use image::metadata::Orientation;

use super::header::{Header, Work};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::rows::{Layout, Rows};

/// The first frame's place on its canvas, in pixels.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
}

/// What the header says.
pub(super) fn header(encoded: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let (_, layout, place) = open(encoded, limits)?;
    let indices = place.columns.saturating_mul(place.rows) as u64;
    Ok(Header {
        // Metadata before the frame is kept too.
        bytes: indices + u64::from(layout.stored[1]) * 6 + encoded.len() as u64 * 2 + (1 << 18),
        layout,
        work: Work::EveryPixel,
    })
}

/// Hands the rows over. The canvas is the logical screen, enlarged if the frame leaves it; what the frame does not cover has
/// the transparent colour, or colour 0 if there is none.
pub(super) fn read(encoded: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), ImageError> {
    let (mut decoder, layout, place) = open(encoded, limits)?;
    let frame = decoder.current_frame_info().ok_or_else(|| corrupt("it has no frame"))?;
    let background = frame.transparent.unwrap_or(0);
    let local = frame.palette.clone();
    let colours = colours(local.as_deref().or(decoder.global_palette()));

    let mut indices = vec![0; place.columns * place.rows];
    decoder.read_into_buffer(&mut indices).map_err(refuse)?;
    let [height, width] = layout.stored.map(|side| side as usize);
    let empty = colours[usize::from(background)].repeat(width);
    let mut rgb = empty.clone();
    rows.begin(&layout);
    for y in 0..height {
        match y.checked_sub(place.top).filter(|row| *row < place.rows) {
            None => rows.row(&empty),
            Some(row) => {
                let indices = &indices[row * place.columns..][..place.columns];
                let pixels = rgb[place.left * 3..].as_chunks_mut::<3>().0;
                for (pixel, index) in pixels.iter_mut().zip(indices) {
                    *pixel = colours[usize::from(*index)];
                }
                rows.row(&rgb);
            }
        }
    }
    Ok(())
}

/// Reads up to the pixels of the first frame.
fn open<'a>(encoded: &'a [u8], limits: &Limits) -> Result<(Decoder<&'a [u8]>, Layout, Place), ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        NonZeroU64::new(limits.pixels_max).unwrap_or(NonZeroU64::MIN),
    ));
    let mut decoder = options.read_info(encoded).map_err(refuse)?;
    let screen = [decoder.width(), decoder.height()].map(usize::from);
    let frame = decoder
        .next_frame_info()
        .map_err(refuse)?
        .ok_or_else(|| corrupt("it has no frame"))?;
    let [left, top, columns, rows] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let [width, height] = [screen[0].max(left + columns), screen[1].max(top + rows)].map(|side| side as u32);
    limits.check_size(width, height)?;
    if columns == 0 || rows == 0 {
        return Err(corrupt("its first frame has no pixels"));
    }
    let place = Place {
        left,
        top,
        columns,
        rows,
    };
    Ok((decoder, Layout::whole(width, height, Orientation::NoTransforms), place))
}

/// The 256 colours; those that the palette does not define are gray, as in Pillow.
fn colours(palette: Option<&[u8]>) -> [[u8; 3]; 256] {
    let mut colours = std::array::from_fn(|gray| [gray as u8; 3]);
    for (colour, given) in colours.iter_mut().zip(palette.unwrap_or_default().as_chunks::<3>().0) {
        *colour = *given;
    }
    colours
}

fn refuse(error: DecodingError) -> ImageError {
    corrupt(&error.to_string())
}

fn corrupt(part: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Gif,
        part: part.into(),
    }
}
