//! JPEG through libjpeg-turbo, the decoder that Pillow uses, with its reduced scales.

use turbojpeg::{Colorspace, Decompressor, Error, Image, PixelFormat, ScalingFactor};

use super::markers::Markers;
use crate::colour;
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::pixels::Rgb8;

/// What this decoder is called. The version is that of the source in the crate `turbojpeg-sys`, which is linked statically.
pub(crate) const NAME: &str = if cfg!(feature = "jpeg-turbo-simd") {
    "libjpeg-turbo 3.1 with SIMD"
} else {
    "libjpeg-turbo 3.1"
};

/// The scales it is used at, in eighths: those whose inverse transforms have SIMD code.
pub(super) const EIGHTHS: &[u32] = &[1, 2, 4, 8];

/// Decodes the stored picture at `eighths`/8 of its size, each side rounded up.
pub(super) fn decode(encoded: &[u8], _: &Limits, markers: &Markers, eighths: u32) -> Result<Rgb8, ImageError> {
    let mut decompressor = Decompressor::new().map_err(refuse)?;
    let header = decompressor.read_header(encoded).map_err(refuse)?;
    if (header.width, header.height) != (markers.width as usize, markers.height as usize) {
        return Err(ImageError::Corrupt {
            format: Format::Jpeg,
            part: "it has several frame headers".into(),
        });
    }
    let factor = if header.is_lossless {
        ScalingFactor::ONE
    } else {
        ScalingFactor::new(eighths as usize, 8)
    };
    decompressor.set_scaling_factor(factor).map_err(refuse)?;
    let (width, height) = (factor.scale(header.width), factor.scale(header.height));
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
    let data = if ink {
        colour::inverted_cmyk_to_rgb(&pixels)
    } else {
        pixels
    };
    Ok(Rgb8 {
        width: width as u32,
        height: height as u32,
        data,
    })
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
