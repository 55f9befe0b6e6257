//! The first frame of a GIF, laid on its canvas as Pillow lays it.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::pixels::Rgb8;

/// Decodes the first frame. The canvas is the logical screen, enlarged if the frame leaves it; what the frame does not cover has
/// the transparent colour, or colour 0 if there is none.
pub(crate) fn read(encoded: &[u8], limits: &Limits) -> Result<Rgb8, ImageError> {
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
    let [width, height] = [screen[0].max(left + columns), screen[1].max(top + rows)];
    limits.check_size(width as u32, height as u32)?;
    if columns == 0 || rows == 0 {
        return Err(corrupt("its first frame has no pixels"));
    }
    let background = frame.transparent.unwrap_or(0);
    let local = frame.palette.clone();
    let colours = colours(local.as_deref().or(decoder.global_palette()));

    let mut indices = vec![0; columns * rows];
    decoder.read_into_buffer(&mut indices).map_err(refuse)?;
    let mut data = colours[usize::from(background)].repeat(width * height);
    for (row, indices) in indices.chunks_exact(columns).enumerate() {
        let start = ((top + row) * width + left) * 3;
        let pixels = data[start..][..columns * 3].as_chunks_mut::<3>().0;
        for (pixel, index) in pixels.iter_mut().zip(indices) {
            *pixel = colours[usize::from(*index)];
        }
    }
    Ok(Rgb8 {
        width: width as u32,
        height: height as u32,
        data,
    })
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
