//! Pictures that are small on the wire and large in memory.

use std::io::Cursor;

use image::ImageFormat;

use super::images::{encode, pattern};

/// A lossless WebP of one colour: every code has one symbol, so that pixels take no bits.
pub fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0x2f, 8);
    bits.push(width - 1, 14);
    bits.push(height - 1, 14);
    // No alpha, version 0; no transform, no colour cache, one group of codes.
    bits.push(0, 1 + 3 + 3);
    for code in 0..5 {
        // A simple code of one symbol: the distance's has one bit, the others eight.
        bits.push(0b01, 2);
        bits.push(u32::from(code < 4), 1);
        bits.push(0, if code < 4 { 8 } else { 1 });
    }
    riff(&[(b"VP8L", bits.bytes)])
}

/// A lossy WebP without a detail.
pub fn webp_lossy(width: u16, height: u16) -> Vec<u8> {
    riff(&[(b"VP8 ", vp8(width, height))])
}

/// A WebP that announces few pixels and holds a lossy frame of many.
pub fn webp_of_other_sides(width: u16, height: u16) -> Vec<u8> {
    let mut canvas = vec![0; 10];
    canvas[4] = 9;
    canvas[7] = 9;
    riff(&[(b"VP8X", canvas), (b"VP8 ", vp8(width, height))])
}

fn vp8(width: u16, height: u16) -> Vec<u8> {
    // Zeros say for every block that nothing is special about it; there are enough of them.
    let partition = vec![0; usize::from(width / 16 + 1) * usize::from(height / 16 + 1) + 1000];
    let first = 500_000.min(partition.len()) as u32;
    let tag = (first << 5) | (1 << 4);
    let mut frame = tag.to_le_bytes()[..3].to_vec();
    frame.extend([0x9d, 0x01, 0x2a]);
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend(&partition[..first as usize]);
    frame.extend(partition);
    frame
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, content) in chunks {
        body.extend(*name);
        body.extend((content.len() as u32).to_le_bytes());
        body.extend(content);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for at in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            *self.bytes.last_mut().unwrap() |= bit << (self.count % 8);
            self.count += 1;
        }
    }
}

/// A PNG of zeros.
pub fn png(width: u32, height: u32, colour: png::ColorType, depth: png::BitDepth, interlaced: bool) -> Vec<u8> {
    let mut file = Vec::new();
    // Its passes have more rows than the picture, each with a byte for its filter.
    let rows = if interlaced { height + height / 8 + 16 } else { height };
    let mut encoder = png::Encoder::new(&mut file, width, rows);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_filter(png::Filter::NoFilter);
    let row = vec![0; (width as usize * colour.samples() * depth as usize).div_ceil(8)];
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    for _ in 0..rows {
        std::io::Write::write_all(&mut stream, &row).unwrap();
    }
    stream.finish().unwrap();
    writer.finish().unwrap();
    if interlaced {
        file[20..24].copy_from_slice(&height.to_be_bytes());
        file[28] = 1;
        let checksum = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&checksum.to_be_bytes());
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, byte)
}

/// A GIF of one colour.
pub fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let indices = vec![0; usize::from(width) * usize::from(height)];
    let frame = gif::Frame::from_indexed_pixels(width, height, indices, None);
    gif::Encoder::new(&mut file, width, height, &[7, 8, 9])
        .unwrap()
        .write_frame(&frame)
        .unwrap();
    file
}

/// A TIFF of zeros, packed, in one strip.
pub fn tiff<C: tiff::encoder::colortype::ColorType>(width: u32, height: u32, zero: C::Inner) -> Vec<u8>
where
    C::Inner: Copy,
    [C::Inner]: tiff::encoder::TiffValue,
{
    let samples = vec![zero; width as usize * height as usize * C::BITS_PER_SAMPLE.len()];
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file)
        .unwrap()
        .with_compression(tiff::encoder::Compression::Deflate(Default::default()));
    let mut image = encoder.new_image::<C>(width, height).unwrap();
    image.rows_per_strip(height).unwrap();
    image.write_data(&samples).unwrap();
    file.into_inner()
}

/// A TIFF of white fax rows (ITU-T T.6): one bit says that a row is like the one before.
pub fn fax(width: u32, height: u32) -> Vec<u8> {
    let rows = vec![0xff; (height as usize).div_ceil(8)];
    plain_tiff(
        &[(256, width), (257, height), (258, 1), (259, 4), (262, 0), (273, 8)],
        &rows,
    )
}

/// A TIFF of 12 bits a pixel, not packed.
pub fn tiff_of_twelve_bits(width: u32, height: u32) -> Vec<u8> {
    let samples = vec![0; (width as usize * 3).div_ceil(2) * height as usize];
    plain_tiff(&[(256, width), (257, height), (258, 12), (262, 1), (273, 8)], &samples)
}

/// A little-endian TIFF of one strip at position 8, whose length it does not say; tags in order, each of four bytes.
fn plain_tiff(tags: &[(u16, u32)], strip: &[u8]) -> Vec<u8> {
    let place = 8 + strip.len().next_multiple_of(2);
    let mut file = b"II*\0".to_vec();
    file.extend((place as u32).to_le_bytes());
    file.extend(strip);
    file.resize(place, 0);
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        file.extend(tag.to_le_bytes());
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

/// A TIFF that holds a baseline JPEG.
#[cfg(feature = "jpeg-turbo")]
pub fn tiff_of_jpeg(width: u32, height: u32) -> Vec<u8> {
    let tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 7),
        (262, 6),
        (273, 8),
        (277, 3),
    ];
    plain_tiff(&tags, &jpeg(width, height))
}

/// A PNG whose metadata unpack to as much as is read.
pub fn png_of_much_text(width: u32, height: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let text = format!("\nexif\n8\n{}", "0".repeat((1 << 20) - 8));
    encoder
        .add_ztxt_chunk("Raw profile type exif".to_owned(), text)
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_image_data(&vec![0; width as usize * height as usize])
        .unwrap();
    writer.finish().unwrap();
    file
}

/// A BMP of so many bits a pixel.
pub fn bmp(width: u32, height: u32) -> Vec<u8> {
    encode(pattern(width, height, 3), ImageFormat::Bmp)
}

/// A baseline JPEG.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(pattern(width, height, 4), ImageFormat::Jpeg)
}

/// A baseline JPEG that is small for its size.
pub fn jpeg_of_little_detail(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x / 16) as u8, (y / 16) as u8, 100]));
    encode(picture, ImageFormat::Jpeg)
}

/// A progressive JPEG of few colours.
#[cfg(feature = "jpeg-turbo")]
pub fn progressive(width: u32, height: u32) -> Vec<u8> {
    let pixels = vec![90; width as usize * height as usize * 3];
    let mut compressor = turbojpeg::Compressor::new().unwrap();
    compressor.set_progressive(true).unwrap();
    compressor.set_subsamp(turbojpeg::Subsamp::None).unwrap();
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width: width as usize,
        pitch: width as usize * 3,
        height: height as usize,
        format: turbojpeg::PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}
