//! What decoding holds at its peak against what the header was said to cost. One test, alone in its process: it reads the process's
//! own high-water mark.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[path = "it/support/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod support;

use repserve_preprocess::{ImageError, InputSpec, Interpolation, JpegDecode, Limits, Preprocess};
use repserve_runtime::{return_freed_memory, return_large_blocks};
use support::costly;
use support::images::{encode, pattern};

/// What a process gains and loses by itself, in bytes.
const NOISE_BYTES: u64 = 2 << 20;
/// What is charged beyond pixels: tables, metadata, rows.
const CONSTANT_BYTES: u64 = 24 << 20;

const LIMITS: Limits = Limits {
    bytes_max: 64 << 20,
    pixels_max: 50_000_000,
};

fn status_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Whether the high-water mark can be set back; else it only grows, and large pictures must come after small ones.
fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

struct Case {
    name: &'static str,
    file: Vec<u8>,
}

fn preprocess(interpolation: Interpolation) -> Preprocess {
    let spec = InputSpec {
        size: [224, 224],
        resize: Some(256),
        interpolation,
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    Preprocess::try_from(spec).unwrap()
}

/// Decodes, and compares the peak with what was charged.
fn check(case: &Case, preprocess: &Preprocess, jpeg: JpegDecode) {
    let charged = match preprocess.inspect(&case.file, &LIMITS, jpeg) {
        Ok(inspected) => inspected.bytes,
        Err(error) => panic!("{}: {error}", case.name),
    };
    return_freed_memory();
    let exact = forget_peak();
    let before = status_bytes("VmRSS:");
    let decoded = preprocess.apply(&case.file, &LIMITS, jpeg);
    let peak = status_bytes("VmHWM:").saturating_sub(before);
    assert!(decoded.is_ok(), "{}: {:?}", case.name, decoded.err());
    eprintln!(
        "{:<28} {:>6.1} MB charged, {:>6.1} MB held at the peak",
        case.name,
        charged as f64 / 1e6,
        peak as f64 / 1e6
    );
    if exact {
        assert!(peak <= charged + NOISE_BYTES, "{}: {peak} of {charged}", case.name);
        let most = 2 * peak + CONSTANT_BYTES;
        assert!(charged <= most, "{}: {charged} charged for {peak}", case.name);
    }
}

fn cases() -> Vec<Case> {
    use png::{BitDepth::*, ColorType::*};
    use tiff::encoder::colortype as tiff_colour;

    let case = |name, file| Case { name, file };
    vec![
        case("png, gray, 1 bit", costly::png(3000, 2500, Grayscale, One, false)),
        case(
            "png, RGB, 8 bits",
            encode(pattern(2000, 1500, 1), image::ImageFormat::Png),
        ),
        case("png, RGBA, 16 bits", costly::png(3000, 2500, Rgba, Sixteen, false)),
        case(
            "png, RGBA, 16 bits, wide",
            costly::png(65_535, 300, Rgba, Sixteen, false),
        ),
        case(
            "png, RGBA, 16 bits, tall",
            costly::png(300, 65_535, Rgba, Sixteen, false),
        ),
        case("png, RGB, interlaced", costly::png(3000, 2500, Rgb, Eight, true)),
        case("webp, lossless", costly::webp(3000, 2500)),
        case("webp, lossy", costly::webp_lossy(3000, 2500)),
        case("gif", costly::gif(3000, 2500)),
        case("bmp", costly::bmp(3000, 2000)),
        case(
            "tiff, RGBA, 16 bits",
            costly::tiff::<tiff_colour::RGBA16>(3000, 2000, 0),
        ),
        case(
            "tiff, gray, floats",
            costly::tiff::<tiff_colour::Gray32Float>(3000, 2000, 0.0),
        ),
        case("tiff, fax", costly::fax(8000, 6000)),
        case("tiff, 12 bits", costly::tiff_of_twelve_bits(3000, 2000)),
        #[cfg(feature = "jpeg-turbo")]
        case("tiff, JPEG", costly::tiff_of_jpeg(3000, 2000)),
        case("png, much text", costly::png_of_much_text(300, 200)),
        case("jpeg", costly::jpeg(4000, 3000)),
        #[cfg(feature = "jpeg-turbo")]
        case("jpeg, progressive", costly::progressive(4000, 3000)),
    ]
}

#[test]
fn no_picture_holds_more_than_its_header_was_said_to_cost() {
    return_large_blocks();
    for case in cases() {
        check(&case, &preprocess(Interpolation::Lanczos), JpegDecode::Scaled);
        if case.name.starts_with("jpeg") {
            check(&case, &preprocess(Interpolation::Nearest), JpegDecode::Exact);
        }
    }
    corpora();
    refused_by_their_headers();
}

/// Odd and broken files: what is decoded after all has cost no more than was said.
fn corpora() {
    let Some(archive) = support::beside("hostile/corpora.tar") else {
        return;
    };
    let preprocess = preprocess(Interpolation::Bilinear);
    for (name, file) in support::tar::files(&archive).into_iter().step_by(2) {
        let inspected = preprocess.inspect(&file, &LIMITS, JpegDecode::Scaled);
        return_freed_memory();
        let exact = forget_peak();
        let before = status_bytes("VmRSS:");
        let decoded = preprocess.apply(&file, &LIMITS, JpegDecode::Scaled);
        let peak = status_bytes("VmHWM:").saturating_sub(before);
        match inspected {
            Ok(inspected) if exact => {
                let charged = inspected.bytes;
                assert!(peak <= charged + NOISE_BYTES, "{name}: {peak} of {charged}");
            }
            Ok(_) => {}
            Err(error) => assert_eq!(Some(error), decoded.err(), "{name}: refused by its header alone"),
        }
    }
}

/// What is not read, or is not what it announces, is refused before its pixels are looked at.
fn refused_by_their_headers() {
    use tiff::encoder::colortype as tiff_colour;
    let preprocess = preprocess(Interpolation::Bilinear);
    let refused = |file: &[u8]| preprocess.inspect(file, &LIMITS, JpegDecode::Scaled).unwrap_err();
    let floats = costly::tiff::<tiff_colour::RGBA32Float>(200, 100, 0.0);
    assert!(
        matches!(refused(&floats), ImageError::Unsupported { .. }),
        "{}",
        refused(&floats)
    );
    let other = costly::webp_of_other_sides(5000, 4000);
    let text = refused(&other).to_string();
    assert!(text.contains("larger than the picture"), "{text}");
}
