//! Other views of an image: mirrored, and magnified around its centre.
//!
//! A hundred images that a calibration was made without say little of an agreement near one: three of them more or less are chance. Views
//! of them are no further evidence, for they are not independent, but they are predicted with other margins; a mean over them moves less.

/// What of the sides remains visible, by the number of the magnification.
const VISIBLE: [f32; 4] = [1.0, 0.9, 0.8, 0.7];

/// How many views of an image there are, itself left out.
pub const VIEWS_MAX: usize = 2 * VISIBLE.len() - 1;

/// View `number` (from 1 to [`VIEWS_MAX`]) of an image of shape (channels, height, width): odd ones are mirrored.
pub(super) fn view(image: &[f32], [height, width]: [usize; 2], number: usize) -> Vec<f32> {
    let visible = VISIBLE[(number / 2).min(VISIBLE.len() - 1)];
    let mirrored = number % 2 == 1;
    let [rows, columns] = [height, width].map(|extent| taps(extent, visible));
    let mut seen = Vec::with_capacity(image.len());
    for plane in image.chunks((height * width).max(1)) {
        for [top, bottom] in &rows {
            for x in 0..width {
                let [left, right] = &columns[if mirrored { width - 1 - x } else { x }];
                let at = |row: &Tap, column: &Tap| plane[row.place * width + column.place] * row.share * column.share;
                seen.push(at(top, left) + at(top, right) + at(bottom, left) + at(bottom, right));
            }
        }
    }
    seen
}

/// A pixel and its share of an interpolated one.
struct Tap {
    place: usize,
    share: f32,
}

/// For each pixel of an axis the two between which it lies in the image, when `visible` of it is magnified to the whole.
fn taps(extent: usize, visible: f32) -> Vec<[Tap; 2]> {
    let last = extent.saturating_sub(1) as f32;
    let tap = |i: usize| {
        let at = last / 2.0 + (i as f32 - last / 2.0) * visible;
        let place = at.floor().clamp(0.0, last) as usize;
        let share = (at - place as f32).clamp(0.0, 1.0);
        let next = (place + 1).min(extent.saturating_sub(1));
        [
            Tap {
                place,
                share: 1.0 - share,
            },
            Tap { place: next, share },
        ]
    };
    (0..extent).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_views_are_mirrored_and_later_ones_magnified() {
        let image: Vec<f32> = (0..12).map(|n| n as f32).collect();
        assert_eq!(view(&image, [2, 3], 0), image);
        assert_eq!(
            view(&image, [2, 3], 1),
            [2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 8.0, 7.0, 6.0, 11.0, 10.0, 9.0]
        );
        let row: Vec<f32> = (0..11).map(|n| n as f32).collect();
        let magnified = view(&row, [1, 11], 4);
        assert!(
            (magnified[0] - 1.0).abs() < 1e-5 && (magnified[5] - 5.0).abs() < 1e-5,
            "{magnified:?}"
        );
        let mirrored = view(&row, [1, 11], 5);
        assert!((mirrored[0] - 9.0).abs() < 1e-5, "{mirrored:?}");
    }

    #[test]
    fn an_image_without_pixels_has_views_without_pixels() {
        assert!(view(&[], [0, 0], VIEWS_MAX).is_empty());
        assert_eq!(view(&[3.0], [1, 1], VIEWS_MAX), [3.0]);
    }
}
