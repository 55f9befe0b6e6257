//! Whether a model's images are normalized once: in the graph or by `model.toml`, and not in neither or both.

use repserve_graph::InputNormalization;
use repserve_preprocess::{BYTE_MAX, InputSpec};

/// Mean and standard deviation of ImageNet's pixels, of 0..1.
pub(super) const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// How far, relative to the range of what a graph takes, the range of what it gets may lie beside it.
const RANGE_TOLERANCE: f64 = 0.02;
/// A graph whose mean is above this takes pixels that are not divided.
const UNDIVIDED_MEAN_MIN: f64 = 1.5;
/// A graph that divides by at least this takes pixels that are not divided.
const UNDIVIDED_DEVIATION_MIN: f64 = 20.0;
/// Standard deviations of divided pixels are at least this.
const DIVIDED_DEVIATION_MIN: f64 = 0.05;
/// Standard deviations of values between two limits, relative to their distance: from nearly one colour to half at each limit.
const DEVIATIONS: [f64; 2] = [0.02, 0.75];

/// The largest pixel that a graph with this normalization takes, 1 or 255; `None` where that does not follow from it.
pub(super) fn pixel_max(own: &InputNormalization) -> Option<f64> {
    let most = |numbers: &[f64]| numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = |numbers: &[f64]| numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let ([low, high], [narrow, wide]) = (
        [least(&own.mean), most(&own.mean)],
        [least(&own.deviation), most(&own.deviation)],
    );
    let bytes = f64::from(BYTE_MAX);
    if low < 0.0 || narrow <= 0.0 || high > bytes || wide > bytes * (1.0 + RANGE_TOLERANCE) {
        return None;
    }
    if high > UNDIVIDED_MEAN_MIN || (narrow >= UNDIVIDED_DEVIATION_MIN && !own.learned) {
        return Some(bytes);
    }
    let divided = high <= 1.0 && narrow >= DIVIDED_DEVIATION_MIN && wide <= 1.0 && (low, narrow) != (0.0, 1.0);
    (divided && !own.learned).then_some(1.0)
}

/// What is doubtful of `spec` for images that a graph with the normalization `own` takes as floats.
pub(super) fn doubt(spec: &InputSpec, own: Option<&InputNormalization>) -> Option<String> {
    let Some(own) = own else {
        return missing(spec);
    };
    if own.learned {
        return unlike_training(spec, own);
    }
    let max = pixel_max(own)?;
    let near = |a: f64, b: f64| (a - b).abs() <= RANGE_TOLERANCE * max;
    let fits = ranges(spec)
        .iter()
        .all(|[low, high]| near(*low, 0.0) && near(*high, max));
    (!fits).then(|| {
        format!(
            "the graph begins with a normalization of its own ({}) of pixels of 0..{max}, and model.toml gives it {}: {}",
            own.operator,
            shown(&ranges(spec)),
            plain_pixels(max)
        )
    })
}

/// Pixels that nothing normalizes.
fn missing(spec: &InputSpec) -> Option<String> {
    let plain = spec.mean == [0.0; 3] && spec.std == [1.0; 3];
    plain.then(|| {
        let [mean, std] = IMAGENET;
        format!(
            "neither the graph nor model.toml normalizes images: the graph gets pixels of 0..{}. If it was trained with normalized ones, \
             set input.mean and input.std; ImageNet's are {mean:?} and {std:?}",
            BYTE_MAX / spec.scale
        )
    })
}

/// Pixels that are unlike those of which a batch normalization at the input has statistics.
fn unlike_training(spec: &InputSpec, own: &InputNormalization) -> Option<String> {
    let ranges = ranges(spec);
    let of = |numbers: &[f64], channel: usize| numbers[channel.min(numbers.len() - 1)];
    let fits = ranges.iter().enumerate().any(|(channel, [low, high])| {
        let (mean, deviation, width) = (of(&own.mean, channel), of(&own.deviation, channel), high - low);
        let [narrow, wide] = DEVIATIONS.map(|share| share * width);
        (*low..=*high).contains(&mean) && (narrow..=wide).contains(&deviation)
    });
    (!fits).then(|| {
        let advice = pixel_max(own).map_or_else(
            || "set input.scale, input.mean and input.std to those of its training".to_owned(),
            plain_pixels,
        );
        format!(
            "the graph begins with a batch normalization that was trained on values around {:.3?} with standard deviations {:.3?}, and \
             model.toml gives it {}: {advice}",
            own.mean,
            own.deviation,
            shown(&ranges)
        )
    })
}

/// Smallest and largest value of each channel that `spec` makes of pixels.
fn ranges(spec: &InputSpec) -> [[f64; 2]; 3] {
    std::array::from_fn(|channel| {
        [0.0, BYTE_MAX / spec.scale].map(|pixel| f64::from((pixel - spec.mean[channel]) / spec.std[channel]))
    })
}

fn shown(ranges: &[[f64; 2]; 3]) -> String {
    let low = ranges.iter().map(|[low, _]| *low).fold(f64::INFINITY, f64::min);
    let high = ranges.iter().map(|[_, high]| *high).fold(f64::NEG_INFINITY, f64::max);
    format!("{low:.3}..{high:.3}")
}

/// What gives a graph the pixels as they are, up to `max`.
fn plain_pixels(max: f64) -> String {
    let scale = f64::from(BYTE_MAX) / max;
    format!("set input.scale = {scale:?}, input.mean = [0, 0, 0] and input.std = [1, 1, 1]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_preprocess::Interpolation;

    fn spec(scale: f32, mean: f32, std: f32) -> InputSpec {
        InputSpec {
            size: [32, 32],
            resize: None,
            interpolation: Interpolation::Bilinear,
            scale,
            mean: [mean; 3],
            std: [std; 3],
        }
    }

    fn own(mean: &[f64], deviation: f64, learned: bool) -> InputNormalization {
        InputNormalization {
            operator: "Sub".to_owned(),
            mean: mean.to_vec(),
            deviation: vec![deviation],
            learned,
        }
    }

    #[track_caller]
    fn check(spec: &InputSpec, own: Option<&InputNormalization>, expected: Option<&str>) {
        let doubt = doubt(spec, own);
        let matches = match (&doubt, expected) {
            (Some(doubt), Some(part)) => doubt.contains(part),
            (doubt, expected) => doubt.is_none() && expected.is_none(),
        };
        assert!(matches, "{doubt:?}");
    }

    #[test]
    fn images_that_nothing_normalizes_are_named() {
        check(&spec(255.0, 0.5, 0.5), None, None);
        check(&spec(255.0, 0.0, 1.0), None, Some("pixels of 0..1. If"));
        check(&spec(1.0, 0.0, 1.0), None, Some("pixels of 0..255. If"));
    }

    #[test]
    fn images_that_are_normalized_twice_are_named() {
        let unit = own(&[0.485, 0.456, 0.406], 0.225, false);
        check(&spec(255.0, 0.0, 1.0), Some(&unit), None);
        check(&spec(255.0, 0.5, 0.5), Some(&unit), Some("gives it -1.000..1.000"));
        check(
            &spec(1.0, 0.0, 1.0),
            Some(&unit),
            Some("set input.scale = 255.0, input.mean"),
        );
        let bytes = own(&[127.5], 127.5, false);
        check(&spec(1.0, 0.0, 1.0), Some(&bytes), None);
        check(&spec(255.0, 0.0, 1.0 / 255.0), Some(&bytes), None);
        check(
            &spec(255.0, 0.0, 1.0),
            Some(&bytes),
            Some("set input.scale = 1.0, input.mean"),
        );
        let divided = own(&[0.0], 255.0, false);
        check(&spec(1.0, 0.0, 1.0), Some(&divided), None);
        check(&spec(255.0, 0.5, 0.5), Some(&divided), Some("pixels of 0..255, and"));
    }

    #[test]
    fn a_graph_that_normalizes_what_is_normalized_is_left_alone() {
        let other = own(&[0.0655], 2.18, false);
        check(&spec(255.0, 0.5, 0.25), Some(&other), None);
        check(&spec(255.0, 0.5, 0.25), Some(&own(&[-1.0], 2.0, false)), None);
        check(&spec(255.0, 0.5, 0.25), Some(&own(&[0.0], 0.02, false)), None);
    }

    #[test]
    fn statistics_of_the_training_tell_what_it_was() {
        let bytes = own(&[120.0, 115.0, 104.0], 64.0, true);
        check(&spec(1.0, 0.0, 1.0), Some(&bytes), None);
        check(&spec(255.0, 0.5, 0.25), Some(&bytes), Some("set input.scale = 1.0"));
        let normalized = own(&[0.02, -0.1, 0.3], 1.1, true);
        check(&spec(255.0, 0.45, 0.225), Some(&normalized), None);
        check(
            &spec(1.0, 0.45, 0.225),
            Some(&normalized),
            Some("to those of its training"),
        );
    }
}
