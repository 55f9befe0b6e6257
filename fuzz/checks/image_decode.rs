//! Any bytes as an image: an error or pixels within the limits, never a panic and never a huge allocation.

use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Limits, Preprocess, decode_rgb};

const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    pixels_max: 1 << 20,
};

/// Checks one input; its last byte chooses the interpolation.
pub fn check(data: &[u8]) {
    if let Ok(image) = decode_rgb(data, &LIMITS) {
        assert_eq!(image.data.len(), image.width as usize * image.height as usize * 3);
        assert!(u64::from(image.width) * u64::from(image.height) <= LIMITS.pixels_max);
    }
    let interpolation = match data.last().map(|byte| byte % 4) {
        Some(0) => Interpolation::Nearest,
        Some(1) => Interpolation::Bilinear,
        Some(2) => Interpolation::Bicubic,
        _ => Interpolation::Lanczos,
    };
    let spec = InputSpec {
        size: [7, 9],
        resize: Some(11),
        interpolation,
        scale: 255.0,
        mean: [0.5; 3],
        std: [0.25; 3],
    };
    let preprocess = Preprocess::try_from(spec).expect("the specification is valid");
    if let Ok(decoded) = preprocess.apply(data, &LIMITS, JpegDecode::Scaled) {
        assert_eq!(decoded.tensor.len(), 3 * 7 * 9);
        assert!(decoded.tensor.iter().all(|value| value.is_finite()));
    }
}
