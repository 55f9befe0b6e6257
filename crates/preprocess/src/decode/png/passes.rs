//! The seven passes of an interlaced PNG (Adam7: ISO/IEC 15948, section 8).

use super::chunks::Header;
use crate::error::ImageError;

/// First column, first row, and the distances between columns and rows of each pass.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// The whole picture, R, G, B of each pixel. `next` gives a row of a pass, of so many pixels.
pub(super) fn read(
    header: &Header,
    mut next: impl FnMut(&mut [u8], usize) -> Result<(), ImageError>,
) -> Result<Vec<u8>, ImageError> {
    let [width, height] = [header.width, header.height].map(|side| side as usize);
    let mut whole = vec![0; width * height * 3];
    let mut row = vec![0; width * 3];
    for [left, top, across, down] in PASSES {
        let pixels = width.saturating_sub(left).div_ceil(across);
        if pixels == 0 {
            continue;
        }
        for y in (top..height).step_by(down) {
            next(&mut row, pixels)?;
            let line = &mut whole[y * width * 3..][..width * 3];
            let places = line.as_chunks_mut::<3>().0.iter_mut().skip(left).step_by(across);
            places
                .zip(row.as_chunks::<3>().0)
                .for_each(|(place, pixel)| *place = *pixel);
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_written_once() {
        for (width, height) in [(1, 1), (3, 2), (5, 9), (8, 8), (17, 11)] {
            let header = Header {
                width,
                height,
                depth: 8,
                colour: 2,
                interlaced: true,
            };
            let mut come = 0;
            let whole = read(&header, |row, pixels| {
                row[..pixels * 3].fill(1);
                come += pixels;
                Ok(())
            });
            assert_eq!(whole, Ok(vec![1; (width * height * 3) as usize]));
            assert_eq!(come, (width * height) as usize);
        }
    }
}
