//! Times decoding and preprocessing: `cargo bench --bench image [-- FILTER]`, with `--features jpeg-turbo` for the fast decoder.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Cursor;

use divan::Bencher;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Limits, Preprocess, decode_rgb};

const SIZES: [(u32, u32); 2] = [(500, 375), (4000, 3000)];

fn main() {
    divan::main();
}

/// Something between a photograph and noise.
fn picture((width, height): (u32, u32)) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |k: u32| ((x * k / 3 + y) as f32 / 29.0).sin() * 80.0 + 128.0;
        let grain = (x * 31 + y * 17 + x * y * 7) % 16;
        image::Rgb([1, 2, 3].map(|k| (wave(k) as u32 + grain) as u8))
    })
}

fn jpeg(size: (u32, u32)) -> Vec<u8> {
    let mut file = Vec::new();
    picture(size)
        .write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90))
        .unwrap();
    file
}

fn preprocess(interpolation: Interpolation) -> Preprocess {
    let spec = InputSpec {
        size: [224, 224],
        resize: Some(256),
        interpolation,
        scale: 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    Preprocess::try_from(spec).unwrap()
}

fn apply(bencher: Bencher, file: &[u8], interpolation: Interpolation, jpeg: JpegDecode) {
    let preprocess = preprocess(interpolation);
    bencher.bench_local(|| preprocess.apply(file, &Limits::default(), jpeg).unwrap());
}

#[divan::bench(args = SIZES)]
fn jpeg_scaled(bencher: Bencher, size: (u32, u32)) {
    apply(bencher, &jpeg(size), Interpolation::Bilinear, JpegDecode::Scaled);
}

/// The same picture in several scans.
#[cfg(feature = "jpeg-turbo")]
fn progressive(size: (u32, u32)) -> Vec<u8> {
    let picture = picture(size);
    let mut compressor = turbojpeg::Compressor::new().unwrap();
    compressor.set_progressive(true).unwrap();
    compressor.set_quality(90).unwrap();
    compressor.set_subsamp(turbojpeg::Subsamp::Sub2x2).unwrap();
    let (width, height) = (size.0 as usize, size.1 as usize);
    let image = turbojpeg::Image {
        pixels: picture.as_raw().as_slice(),
        width,
        pitch: width * 3,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}

#[cfg(feature = "jpeg-turbo")]
#[divan::bench(args = SIZES)]
fn jpeg_progressive_scaled(bencher: Bencher, size: (u32, u32)) {
    apply(bencher, &progressive(size), Interpolation::Bilinear, JpegDecode::Scaled);
}

#[divan::bench(args = SIZES)]
fn jpeg_exact(bencher: Bencher, size: (u32, u32)) {
    apply(bencher, &jpeg(size), Interpolation::Bilinear, JpegDecode::Exact);
}

#[divan::bench(args = SIZES)]
fn jpeg_exact_bicubic(bencher: Bencher, size: (u32, u32)) {
    apply(bencher, &jpeg(size), Interpolation::Bicubic, JpegDecode::Exact);
}

#[divan::bench(args = SIZES)]
fn jpeg_decode_only(bencher: Bencher, size: (u32, u32)) {
    let file = jpeg(size);
    bencher.bench_local(|| decode_rgb(&file, &Limits::default()).unwrap());
}

#[divan::bench]
fn png_500x375(bencher: Bencher) {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(picture(SIZES[0]))
        .write_to(&mut file, ImageFormat::Png)
        .unwrap();
    apply(bencher, file.get_ref(), Interpolation::Bilinear, JpegDecode::Exact);
}
