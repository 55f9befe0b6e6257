//! JPEG through libjpeg-turbo, the decoder that Pillow uses, with its reduced scales.

use turbojpeg::{Colorspace, Decompressor, Error, Image, PixelFormat, ScalingFactor};

use super::markers::{FrameHeader, Markers};
use crate::colour;
use crate::error::ImageError;
use crate::format::Format;
use crate::rows::{Layout, Rows};

/// What this decoder is called. The version is that of the source in the crate `turbojpeg-sys`, which is linked statically.
pub(crate) const NAME: &str = if cfg!(feature = "jpeg-turbo-simd") {
    "libjpeg-turbo 3.1 with SIMD"
} else {
    "libjpeg-turbo 3.1"
};

/// The scales it is used at, in eighths: those whose inverse transforms have SIMD code.
pub(super) const EIGHTHS: &[u32] = &[1, 2, 4, 8];

/// Whether the whole picture is kept besides what comes out even if it is coded in one scan.
pub(super) const KEEPS_ALWAYS: bool = false;

/// What it holds however large the picture is, in bytes.
pub(super) fn bytes(_encoded: &[u8]) -> u64 {
    1 << 20
}

/// Decodes the picture at `eighths`/8 of its size and hands its rows over.
pub(super) fn decode(
    encoded: &[u8],
    markers: &Markers,
    layout: Layout,
    eighths: u32,
    rows: &mut impl Rows,
) -> Result<(), ImageError> {
    let mut decompressor = Decompressor::new().map_err(refuse)?;
    let header = decompressor.read_header(encoded).map_err(refuse)?;
    let FrameHeader { width, height, .. } = markers.frame;
    if (header.width, header.height) != (width as usize, height as usize)
        || header.is_lossless != markers.frame.lossless
    {
        return Err(ImageError::Corrupt {
            format: Format::Jpeg,
            part: "it has several frame headers".into(),
        });
    }
    let factor = ScalingFactor::new(eighths as usize, 8);
    decompressor.set_scaling_factor(factor).map_err(refuse)?;
    let [height, width] = layout.stored.map(|side| side as usize);
    let ink = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if ink { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    match decompressor.decompress(
        encoded,
        Image {
            pixels: &mut pixels[..],
            width,
            pitch,
            height,
            format,
        },
    ) {
        Err(Error::TurboJpegError(message)) if is_warning(&message) => {}
        done => done.map_err(refuse)?,
    }
    drop(decompressor);
    rows.begin(&layout);
    let mut rgb = vec![0; width * 3];
    for row in pixels.chunks_exact(pitch) {
        if ink {
            colour::inverted_cmyk_to_rgb(row, &mut rgb);
            rows.row(&rgb);
        } else {
            rows.row(row);
        }
    }
    Ok(())
}

/// Whether the library decoded the whole picture and only remarked on something, which Pillow accepts too.
/// Its code is not handed out, but each of its warnings (the `JWRN_` entries of its `jerror.h`) begins in one of these ways.
fn is_warning(message: &str) -> bool {
    const WARNINGS: [&str; 7] = [
        "Corrupt JPEG data",
        "Inconsistent progression sequence",
        "Invalid SOS parameters for sequential JPEG",
        "Premature end of JPEG file",
        "Unknown Adobe color transform code",
        "Warning",
        "Application transferred too many scanlines",
    ];
    WARNINGS.iter().any(|warning| message.starts_with(warning))
}

fn refuse(error: Error) -> ImageError {
    let format = Format::Jpeg;
    let message = match error {
        Error::TurboJpegError(message) => message,
        other => other.to_string(),
    };
    if message.contains("nsupported") || message.contains("not implemented") {
        return ImageError::Unsupported { format, what: message };
    }
    ImageError::Corrupt { format, part: message }
}
