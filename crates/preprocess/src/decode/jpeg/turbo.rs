//! JPEG through libjpeg-turbo, the decoder that Pillow uses, with its reduced scales.

use super::eighth::Eighth;
use super::library::{Library, Pixels};
use super::markers::{FrameHeader, Markers};
use crate::colour;
use crate::error::ImageError;
use crate::format::Format;
use crate::rows::{Layout, Rows};

/// What this decoder is called. The version is that of the source in the crate `turbojpeg-sys`, which is linked statically.
pub(crate) const NAME: &str = if cfg!(feature = "jpeg-turbo-simd") {
    "libjpeg-turbo 3.1 with SIMD"
} else {
    "libjpeg-turbo 3.1"
};

/// The scales it is used at, in eighths: those whose inverse transforms have SIMD code.
pub(super) const EIGHTHS: &[u32] = &[1, 2, 4, 8];

/// Whether the whole picture is kept besides what comes out even if it is coded in one scan.
pub(super) const KEEPS_ALWAYS: bool = false;

/// What it holds however large the picture is, in bytes.
pub(crate) fn bytes(_encoded: &[u8]) -> u64 {
    1 << 20
}

/// Scans that are decoded of a progressive picture at `eighths`/8 of its size, and bytes that are held for leaving out the others.
pub(super) fn scans(encoded: &[u8], markers: &Markers, eighths: u32) -> (usize, u64) {
    match reduced(encoded, markers, eighths) {
        Some(eighth) => (eighth.scans, encoded.len() as u64),
        None => (markers.scans, 0),
    }
}

fn reduced(encoded: &[u8], markers: &Markers, eighths: u32) -> Option<Eighth> {
    (markers.frame.progressive && eighths == 1).then(|| Eighth::of(encoded))?
}

/// Decodes the picture at `eighths`/8 of its size and hands its rows over.
pub(super) fn decode(
    encoded: &[u8],
    markers: &Markers,
    layout: Layout,
    eighths: u32,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let smaller = reduced(encoded, markers, eighths).map(|eighth| eighth.file(encoded));
    let file = Library::open(smaller.as_deref().unwrap_or(encoded)).map_err(refuse)?;
    let FrameHeader { width, height, .. } = markers.frame;
    if file.sides != [width, height] || file.lossless != markers.frame.lossless {
        return Err(refuse("it has several frame headers".into()));
    }
    let ink = file.has_ink;
    let format = if ink { Pixels::Ink } else { Pixels::Rgb };
    let pixels = file.decode(eighths, format).map_err(refuse)?;
    let width = layout.stored[1] as usize;
    rows.begin(&layout);
    let mut rgb = vec![0; width * 3];
    for row in pixels.chunks_exact(width * format.bytes()) {
        if ink {
            colour::inverted_cmyk_to_rgb(row, &mut rgb);
            rows.row(&rgb);
        } else {
            rows.row(row);
        }
    }
    Ok(())
}

/// Every pixel of a picture of `sides`, width and height, with so many components, which is part of another file. Three of them come
/// out as R, G, B, four as they are stored.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn pixels(encoded: &[u8], sides: [u32; 2], components: usize) -> Result<Vec<u8>, String> {
    let file = Library::open(encoded)?;
    let pixels = match components {
        1 => Pixels::Gray,
        3 => Pixels::Rgb,
        _ => Pixels::Ink,
    };
    if file.sides != sides || file.has_ink != (pixels == Pixels::Ink) {
        return Err("it has several frame headers".into());
    }
    file.decode(8, pixels)
}

fn refuse(message: String) -> ImageError {
    let format = Format::Jpeg;
    if message.contains("nsupported") || message.contains("not implemented") {
        return ImageError::Unsupported { format, what: message };
    }
    ImageError::Corrupt { format, part: message }
}
