//! Truncated and altered images of every format: an error or pixels, never a panic, and limits that hold.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use repserve_preprocess::{Format, ImageError, InputSpec, Interpolation, JpegDecode, Limits, Preprocess, decode_rgb};

const WIDTH: u32 = 40;
const HEIGHT: u32 = 30;

fn picture() -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        image::Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8])
    })
}

/// The picture in every format that is read.
fn files() -> Vec<(Format, Vec<u8>)> {
    let picture = picture();
    let mut files = Vec::new();
    let formats = [
        (Format::Jpeg, ImageFormat::Jpeg),
        (Format::Png, ImageFormat::Png),
        (Format::WebP, ImageFormat::WebP),
        (Format::Bmp, ImageFormat::Bmp),
    ];
    for (format, encoder) in formats {
        let mut file = Cursor::new(Vec::new());
        DynamicImage::from(picture.clone())
            .write_to(&mut file, encoder)
            .unwrap();
        files.push((format, file.into_inner()));
    }
    let palette: Vec<u8> = (0..=255).flat_map(|level| [level, level, level]).collect();
    let indices: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
    let mut file = Vec::new();
    let frame = gif::Frame::from_indexed_pixels(WIDTH as u16, HEIGHT as u16, indices, None);
    gif::Encoder::new(&mut file, WIDTH as u16, HEIGHT as u16, &palette)
        .unwrap()
        .write_frame(&frame)
        .unwrap();
    files.push((Format::Gif, file));
    let mut file = Cursor::new(Vec::new());
    tiff::encoder::TiffEncoder::new(&mut file)
        .unwrap()
        .with_compression(tiff::encoder::Compression::Lzw)
        .write_image::<tiff::encoder::colortype::RGB8>(WIDTH, HEIGHT, &picture)
        .unwrap();
    files.push((Format::Tiff, file.into_inner()));
    files
}

fn preprocess() -> Preprocess {
    let spec = InputSpec {
        size: [8, 8],
        resize: Some(9),
        interpolation: Interpolation::Bilinear,
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    Preprocess::try_from(spec).unwrap()
}

#[test]
fn whole_files_are_read() {
    for (format, file) in files() {
        assert_eq!(Format::sniff(&file), Ok(format));
        let image = decode_rgb(&file, &Limits::default()).unwrap();
        assert_eq!((image.width, image.height), (WIDTH, HEIGHT), "{format}");
    }
}

#[test]
fn truncated_files_are_corrupt() {
    for (format, file) in files() {
        for length in (16..file.len() / 2).step_by(3).chain([file.len() - 3]) {
            let refused = decode_rgb(&file[..length], &Limits::default());
            // The pixels may all be there; Pillow still refuses a JPEG without its end marker, and so does this.
            let complete = length > file.len() / 2 && format != Format::Jpeg;
            match refused {
                Err(ImageError::Corrupt { format: named, part }) => assert!(named == format && !part.is_empty()),
                Ok(_) if complete => {}
                other => panic!("{format} cut to {length} of {}: {:?}", file.len(), other.err()),
            }
        }
    }
}

#[test]
fn limits_hold_for_every_format() {
    for (format, file) in files() {
        let limits = Limits {
            pixels_max: u64::from(WIDTH * HEIGHT) - 1,
            ..Limits::default()
        };
        let refused = decode_rgb(&file, &limits).unwrap_err();
        assert!(
            matches!(
                refused,
                ImageError::TooManyPixels {
                    width: WIDTH,
                    height: HEIGHT,
                    ..
                }
            ),
            "{format}: {refused}"
        );
        let limits = Limits {
            bytes_max: file.len() - 1,
            ..Limits::default()
        };
        let refused = decode_rgb(&file, &limits).unwrap_err();
        assert!(
            matches!(refused, ImageError::TooManyBytes { .. }),
            "{format}: {refused}"
        );
    }
}

#[test]
fn altered_files_never_panic() {
    let limits = Limits {
        bytes_max: 1 << 20,
        pixels_max: 1_000_000,
    };
    let preprocess = preprocess();
    let mut random = fastrand::Rng::with_seed(7);
    for (format, file) in files() {
        for _ in 0..400 {
            let mut altered = file.clone();
            for _ in 0..random.usize(1..6) {
                // Most of what matters stands at the start.
                let end = if random.bool() { 64.min(file.len()) } else { file.len() };
                let any = random.u8(..);
                altered[random.usize(..end)] = random.choice([0, 1, 0x7f, 0x80, 0xff, any]).unwrap();
            }
            match preprocess.apply(&altered, &limits, JpegDecode::Scaled) {
                Ok(decoded) => assert_eq!(decoded.tensor.len(), 3 * 8 * 8),
                Err(ImageError::Corrupt { part, .. }) => assert_ne!(part, "the decoder gave up on it", "{format}"),
                Err(_) => {}
            }
        }
    }
}
