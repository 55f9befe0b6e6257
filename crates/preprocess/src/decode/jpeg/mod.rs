//! JPEG, with the decoder that is built in.

#[cfg(feature = "jpeg-turbo")]
mod eighth;
mod embedded;
#[cfg(feature = "jpeg-turbo")]
mod library;
mod markers;
#[cfg(feature = "jpeg-turbo")]
mod turbo;

#[cfg(feature = "jpeg-turbo")]
use turbo as backend;
#[cfg(not(feature = "jpeg-turbo"))]
mod pure;
#[cfg(not(feature = "jpeg-turbo"))]
use pure as backend;

pub(crate) use backend::{NAME, bytes, pixels};
pub(crate) use embedded::embedded;
pub(crate) use markers::first_frame;

use self::markers::{FrameHeader, Markers};
use super::header::{Header, Work};
use crate::error::ImageError;
use crate::geometry::Frame;
use crate::limits::Limits;
use crate::rows::{Layout, Rows, upright};

/// What the header says of a picture that is decoded as [`read`] does.
pub(super) fn header(encoded: &[u8], limits: &Limits, frame: Option<&Frame>) -> Result<Header, ImageError> {
    let (markers, layout, eighths) = open(encoded, limits, frame)?;
    let (scans, copy) = backend::scans(encoded, &markers, eighths);
    let FrameHeader { width, progressive, .. } = markers.frame;
    let samples = markers.frame.samples();
    let kept = if backend::KEEPS_ALWAYS || progressive || markers.scans > 1 {
        // A coefficient has two bytes.
        samples * 2
    } else {
        0
    };
    // Four components of the rows that are unpacked together: the tallest block and its neighbours.
    let rows = (u64::from(width) + 64) * 4 * 4 * 32;
    let [decoded_height, decoded_width] = layout.stored.map(u64::from);
    // Ink has a fourth channel; each row has a pointer.
    let pixel = if markers.frame.has_ink() { 4 } else { 3 };
    Ok(Header {
        bytes: kept + copy + rows + decoded_height * (decoded_width * pixel + 8) + backend::bytes(encoded),
        layout,
        work: if progressive || markers.scans > 1 {
            Work::Scans(scans as u64)
        } else {
            Work::Once
        },
    })
}

/// Hands the rows over, at a reduced scale if `frame` allows one.
pub(super) fn read(
    encoded: &[u8],
    limits: &Limits,
    frame: Option<&Frame>,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let (markers, layout, eighths) = open(encoded, limits, frame)?;
    backend::decode(encoded, &markers, layout, eighths, rows)
}

fn open(encoded: &[u8], limits: &Limits, frame: Option<&Frame>) -> Result<(Markers, Layout, u32), ImageError> {
    let markers = markers::read(encoded)?;
    let FrameHeader { width, height, .. } = markers.frame;
    limits.check_size(width, height)?;
    let whole = Layout::whole(width, height, markers.orientation);
    let stored = whole.stored;
    let needed = frame.map(|frame| upright(frame.resized(whole.full[0], whole.full[1]), markers.orientation));
    let eighths = match needed {
        Some(needed) if !markers.frame.lossless => eighths(stored, needed),
        _ => 8,
    };
    Ok((markers, scaled(whole, eighths), eighths))
}

/// The layout of the same picture at `eighths`/8 of its size, each side rounded up.
fn scaled(whole: Layout, eighths: u32) -> Layout {
    let stored = whole.stored.map(|side| (side * eighths).div_ceil(8));
    if stored == whole.stored {
        return whole;
    }
    Layout {
        stored,
        extent: whole.full.map(|side| f64::from(side) * f64::from(eighths) / 8.0),
        ..whole
    }
}

/// A reduced picture's sides are at least this much longer than what is needed, in quarters: resampling needs some detail to average.
const MARGIN_QUARTERS: u64 = 5;

/// The scale, in eighths, at which a picture is decoded: the smallest that covers `needed` with the margin on both axes, else all of it.
fn eighths(stored: [u32; 2], needed: [u32; 2]) -> u32 {
    let covers = |eighths: &u32| {
        let enough = |(side, wanted): (&u32, u32)| {
            u64::from(*side) * u64::from(*eighths) * 4 >= u64::from(wanted) * 8 * MARGIN_QUARTERS
        };
        stored.iter().zip(needed).all(enough)
    };
    backend::EIGHTHS.iter().copied().find(covers).unwrap_or(8)
}

#[cfg(all(test, feature = "jpeg-turbo"))]
mod tests {
    use super::*;

    #[test]
    fn the_scale_covers_what_is_needed() {
        let check = |stored, needed, expected| assert_eq!(eighths(stored, needed), expected, "{stored:?} {needed:?}");
        check([3000, 4000], [256, 341], 1);
        check([375, 500], [256, 341], 8);
        check([640, 853], [256, 341], 4);
        check([639, 853], [256, 341], 8);
        check([2560, 2560], [256, 256], 1);
        check([2559, 2559], [256, 256], 2);
        check([375, 500], [32, 42], 1);
        check([32, 32], [32, 32], 8);
        check([16, 16], [32, 32], 8);
    }
}
