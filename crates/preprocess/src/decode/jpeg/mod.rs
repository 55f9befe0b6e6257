//! JPEG, with the decoder that is built in.

mod markers;
#[cfg(feature = "jpeg-turbo")]
mod turbo;

#[cfg(feature = "jpeg-turbo")]
use turbo as backend;
#[cfg(not(feature = "jpeg-turbo"))]
mod pure;
#[cfg(not(feature = "jpeg-turbo"))]
use pure as backend;

pub(crate) use backend::NAME;
pub(crate) use markers::stored_size;

use super::Picture;
use crate::error::ImageError;
use crate::geometry::Frame;
use crate::limits::Limits;
use crate::orientation;

/// Decodes a JPEG, at a reduced scale if `frame` allows one.
pub(crate) fn read(encoded: &[u8], limits: &Limits, frame: Option<&Frame>) -> Result<Picture, ImageError> {
    let markers = markers::read(encoded)?;
    limits.check_size(markers.width, markers.height)?;
    let stored = [markers.height, markers.width];
    let swapped = orientation::swaps_sides(markers.orientation);
    let upright = |[height, width]: [u32; 2]| if swapped { [width, height] } else { [height, width] };
    let full = upright(stored);
    let needed = frame.map(|frame| upright(frame.resized(full[0], full[1])));
    let eighths = needed.map_or(8, |needed| eighths(stored, needed));
    let rgb = backend::decode(encoded, limits, &markers, eighths)?;
    let extent = if [rgb.height, rgb.width] == stored {
        full.map(f64::from)
    } else {
        scaled_extent(full, eighths)
    };
    Ok(Picture {
        rgb: orientation::apply(rgb, markers.orientation),
        full,
        extent,
    })
}

/// A reduced picture's sides are at least this much longer than what is needed, in quarters: resampling wants some detail to average.
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

fn scaled_extent(full: [u32; 2], eighths: u32) -> [f64; 2] {
    full.map(|side| f64::from(side) * f64::from(eighths) / 8.0)
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
