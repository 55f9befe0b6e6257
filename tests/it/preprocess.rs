//! Preprocessing against what torchvision and Pillow make of the same images; `tests/vectors/preprocess.py` made the expected results.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Limits, Preprocess};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    made_with: String,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    width: u32,
    height: u32,
    kind: String,
    resize: Option<u32>,
    size: [u32; 2],
    interpolation: Interpolation,
}

/// The formula of `preprocess.py`.
fn picture(case: &Case) -> RgbImage {
    let value = |x: u64, y: u64, c: u64| match case.kind.as_str() {
        "noise" => (x * x * 31 + y * y * 17 + x * y * 7 + c * 101 + (x ^ y) * 53) * 37 / 8,
        "smooth" => (x * (3 + c) + y * (5 - c)) / 4,
        _ => ((x / 5 + y / 3 + c) % 2) * 255,
    };
    RgbImage::from_fn(case.width, case.height, |x, y| {
        Rgb([0, 1, 2].map(|c| (value(u64::from(x), u64::from(y), c) & 255) as u8))
    })
}

/// The largest and the mean distance from the expected bytes, in levels of 255.
fn check(case: &Case, expected: &[u8]) -> (u8, f64) {
    let mut file = Cursor::new(Vec::new());
    picture(case).write_to(&mut file, ImageFormat::Png).unwrap();
    let spec = InputSpec {
        size: case.size,
        resize: case.resize,
        interpolation: case.interpolation,
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let preprocess = Preprocess::try_from(spec).unwrap();
    let tensor = preprocess
        .apply(file.get_ref(), &Limits::default(), JpegDecode::Exact)
        .unwrap()
        .tensor;
    assert_eq!(tensor.len(), expected.len(), "{case:?}");
    let plane = tensor.len() / 3;
    let distances: Vec<u8> = (0..tensor.len())
        .map(|index| ((tensor[index % 3 * plane + index / 3] * 255.0).round() as u8).abs_diff(expected[index]))
        .collect();
    let max = distances.iter().copied().max().unwrap();
    let mean = distances.iter().map(|&distance| f64::from(distance)).sum::<f64>() / distances.len() as f64;
    assert!(max <= 1 && mean < 0.1, "{case:?}: max {max}, mean {mean:.4}");
    // Lanczos' sine may round differently on another machine; the rest is exact arithmetic.
    assert!(
        max == 0 || case.interpolation == Interpolation::Lanczos,
        "{case:?}: max {max}, mean {mean:.4}"
    );
    (max, mean)
}

#[test]
fn tensors_are_those_of_torchvision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let vectors: Vectors = serde_json::from_slice(&std::fs::read(folder.join("preprocess.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("preprocess.bin")).unwrap();
    let mut rest = bytes.as_slice();
    let mut worst = (0, 0.0_f64);
    for case in &vectors.cases {
        let (expected, after) = rest.split_at((case.size[0] * case.size[1] * 3) as usize);
        rest = after;
        let (max, mean) = check(case, expected);
        worst = (worst.0.max(max), worst.1.max(mean));
    }
    assert!(rest.is_empty());
    assert!(vectors.cases.len() >= 60);
    eprintln!(
        "against {}: at most {} of 255 in a pixel, {:.4} in the mean of an image",
        vectors.made_with, worst.0, worst.1
    );
}

/// The same coefficients in one scan, or in those of a progressive file.
#[cfg(feature = "jpeg-turbo")]
fn coded(picture: &image::RgbImage, subsampling: turbojpeg::Subsamp, progressive: bool) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let mut compressor = turbojpeg::Compressor::new().unwrap();
    compressor.set_progressive(progressive).unwrap();
    compressor.set_subsamp(subsampling).unwrap();
    let image = turbojpeg::Image {
        pixels: picture.as_raw().as_slice(),
        width: width as usize,
        pitch: width as usize * 3,
        height: height as usize,
        format: turbojpeg::PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}

#[cfg(feature = "jpeg-turbo")]
#[test]
fn a_progressive_picture_at_an_eighth_is_that_of_its_coefficients() {
    use repserve_preprocess::JpegDecode;
    use turbojpeg::Subsamp;
    let picture = image::RgbImage::from_fn(523, 397, |x, y| {
        let grain = (x * 31 + y * 17 + x * y * 7) % 64;
        image::Rgb([(x / 3) as u8, (y / 2 + grain) as u8, ((x + y) / 4 + grain) as u8])
    });
    let spec = InputSpec {
        size: [32, 32],
        resize: Some(32),
        interpolation: Interpolation::Bilinear,
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let preprocess = Preprocess::try_from(spec).unwrap();
    let limits = Limits::default();
    for subsampling in [
        Subsamp::None,
        Subsamp::Sub2x1,
        Subsamp::Sub1x2,
        Subsamp::Sub2x2,
        Subsamp::Sub4x1,
        Subsamp::Gray,
    ] {
        let [once, progressive] = [false, true].map(|progressive| coded(&picture, subsampling, progressive));
        let read = |file: &[u8]| preprocess.apply(file, &limits, JpegDecode::Scaled).unwrap().tensor;
        assert_eq!(read(&once), read(&progressive), "{subsampling:?}");
        let work = |file: &[u8], jpeg| preprocess.inspect(file, &limits, jpeg).unwrap().work_pixels;
        let (scaled, exact) = (
            work(&progressive, JpegDecode::Scaled),
            work(&progressive, JpegDecode::Exact),
        );
        assert!(scaled < exact, "{subsampling:?}: {scaled} of {exact}");
    }
}
