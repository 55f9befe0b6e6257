use proptest::prelude::*;

use super::*;
use crate::geometry::centre;

const INTERPOLATIONS: [Interpolation; 4] = [
    Interpolation::Nearest,
    Interpolation::Bilinear,
    Interpolation::Bicubic,
    Interpolation::Lanczos,
];

fn resampled(
    picture: &Rgb8,
    orientation: Orientation,
    extent: [f64; 2],
    kept: Kept,
    interpolation: Interpolation,
) -> Rgb8 {
    let whole = Layout::whole(picture.width, picture.height, orientation);
    let layout = Layout { extent, ..whole };
    let mut resampler = Resampler::new(&layout, kept, interpolation);
    for row in picture.data.chunks_exact(picture.width as usize * 3) {
        resampler.row(row);
    }
    resampler.finish().unwrap()
}

/// Both passes over the whole picture, held in between: what the streamed one must equal.
fn plainly(picture: &Rgb8, extent: [f64; 2], kept: Kept, filter: Filter) -> Rgb8 {
    let pass = |picture: &Rgb8, weights: &Weights, transposed: bool| {
        let (width, height) = (picture.width as usize, picture.height as usize);
        let (lines, out_width, out_height) = if transposed {
            (width, width, weights.len())
        } else {
            (height, weights.len(), height)
        };
        let mut data = vec![0; out_width * out_height * 3];
        for line in 0..lines {
            for (index, (first, values)) in weights.iter().enumerate() {
                for channel in 0..3 {
                    let byte = |at: usize, width: usize, x: usize, y: usize| -> usize { (y * width + x) * 3 + at };
                    let sample = |k: usize| {
                        let (x, y) = if transposed {
                            (line, first + k)
                        } else {
                            (first + k, line)
                        };
                        i32::from(picture.data[byte(channel, width, x, y)])
                    };
                    let half = 1 << (weights::PRECISION_BITS - 1);
                    let sum = values
                        .iter()
                        .enumerate()
                        .fold(half, |sum, (k, weight)| sum + sample(k) * weight);
                    let (x, y) = if transposed { (line, index) } else { (index, line) };
                    data[byte(channel, out_width, x, y)] = (sum >> weights::PRECISION_BITS).clamp(0, 255) as u8;
                }
            }
        }
        Rgb8 {
            width: out_width as u32,
            height: out_height as u32,
            data,
        }
    };
    let down = Weights::new(picture.height, extent[0], kept.rows, filter);
    let across = Weights::new(picture.width, extent[1], kept.columns, filter);
    if down_first(
        [picture.height, picture.width],
        [kept.rows.resized, kept.columns.resized],
    ) {
        pass(&pass(picture, &down, true), &across, false)
    } else {
        pass(&pass(picture, &across, false), &down, true)
    }
}

prop_compose! {
    fn span()(resized in 1_u32..70, target in 1_u32..50) -> Span {
        centre(resized, target)
    }
}

proptest! {
    #[test]
    fn rows_give_what_the_whole_picture_gives(
        width in 1_u32..60, height in 1_u32..130, seed in any::<u64>(), orientation in 1_u8..9, rows in span(), columns in span(),
        interpolation in 0_usize..4, cut in prop::bool::ANY,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let data: Vec<u8> = (0..width * height * 3).map(|_| random.u8(..)).collect();
        let stored = Rgb8 { width, height, data };
        let orientation = Orientation::from_exif(orientation).unwrap();
        let turned = orientation::apply(stored.clone(), orientation);
        let less = if cut { 0.5 } else { 0.0 };
        let extent = [f64::from(turned.height) - less, f64::from(turned.width) - less];
        let (kept, interpolation) = (Kept { rows, columns }, INTERPOLATIONS[interpolation]);
        let got = resampled(&stored, orientation, extent, kept, interpolation);
        let same = resampled(&turned, Orientation::NoTransforms, extent, kept, interpolation);
        prop_assert_eq!(&got, &same);
        if let Some(filter) = filter(interpolation) {
            prop_assert_eq!(&got, &plainly(&turned, extent, kept, filter));
        }
    }
}
