//! The stored bytes of a strip or tile to its samples.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use weezl::BitOrder;

use super::errors::{corrupt, unsupported};
use super::fax::{self, Coding};
use super::fields::{Compression, Fields, Photometric, tag};
use super::{packbits, predictor};
use crate::decode::jpeg;
use crate::error::ImageError;

/// Fills `out` with the samples of one layer of a strip or tile, `width` pixels in a row.
///
/// # Errors
/// Where they are not all there.
pub(super) fn unpack(fields: &Fields<'_>, stored: &[u8], width: u32, out: &mut [u8]) -> Result<(), ImageError> {
    let stored = if fields.reversed && fields.compression != Compression::Jpeg {
        Cow::Owned(stored.iter().map(|byte| byte.reverse_bits()).collect())
    } else {
        Cow::Borrowed(stored)
    };
    let row_bytes = fields.row_bytes(width);
    match fields.compression {
        Compression::None => stored.get(..out.len()).map(|samples| out.copy_from_slice(samples)),
        Compression::PackBits => packbits::unpack(&stored, out),
        Compression::Lzw => lzw(&stored, out),
        Compression::Deflate => ZlibDecoder::new(&*stored).read_exact(out).ok(),
        Compression::FaxRuns { .. } | Compression::Fax3 | Compression::Fax4 => {
            let coding = coding(fields)?;
            fax::unpack(&stored, coding, width, row_bytes, out)
        }
        Compression::Jpeg => return embedded_jpeg(fields, &stored, width, out),
    }
    .ok_or_else(|| corrupt("a strip or tile holds fewer samples than it should, or is broken"))?;
    if matches!(fields.compression, Compression::Lzw | Compression::Deflate) {
        predictor::undo(fields, row_bytes, out)?;
    }
    Ok(())
}

/// LZW as TIFF 6.0 has it, or as its first writers did: with the lowest bit first, and codes that grow one code later.
fn lzw(stored: &[u8], out: &mut [u8]) -> Option<()> {
    let old = matches!(stored, [0, second, ..] if second & 1 == 1);
    let mut decoder = if old {
        weezl::decode::Decoder::new(BitOrder::Lsb, 8)
    } else {
        weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
    };
    let (mut stored, mut out) = (stored, out);
    while !out.is_empty() {
        let done = decoder.decode_bytes(stored, out);
        if done.consumed_in == 0 && done.consumed_out == 0 {
            return None;
        }
        stored = &stored[done.consumed_in..];
        out = &mut out[done.consumed_out..];
        match done.status {
            Ok(weezl::LzwStatus::Ok) => {}
            _ if out.is_empty() => {}
            _ => return None,
        }
    }
    Some(())
}

fn coding(fields: &Fields<'_>) -> Result<Coding, ImageError> {
    if fields.bits != 1 || fields.samples_together() != 1 {
        return Err(unsupported("fax rows of more than one bit a pixel"));
    }
    let options = fields.value(tag::FAX_OPTIONS).unwrap_or(0);
    Ok(match fields.compression {
        Compression::FaxRuns { word } => Coding::Runs { word },
        Compression::Fax3 => Coding::Group3 {
            two_dimensions: options & 1 == 1,
        },
        _ => Coding::Group4,
    })
}

/// A JPEG whose tables may stand apart, and whose colours are those that the TIFF says.
fn embedded_jpeg(fields: &Fields<'_>, stored: &[u8], width: u32, out: &mut [u8]) -> Result<(), ImageError> {
    let components = fields.samples_together();
    if ![1, 3, 4].contains(&components) {
        return Err(unsupported(format!("a JPEG in it of {components} components")));
    }
    let tables = fields.directory.entry_of(tag::JPEG_TABLES).map(|tables| tables.data);
    let is_ycbcr = fields.photometric == Photometric::YCbCr && !fields.planar;
    let file = jpeg::embedded(tables.unwrap_or_default(), stored, is_ycbcr);
    let refuse = |message| corrupt(format!("a JPEG in it: {message}"));
    let frame = jpeg::first_frame(&file).ok_or_else(|| refuse("no frame header (SOF), so no size".to_owned()))?;
    let pixels = jpeg::pixels(&file, [frame.width, frame.height], components).map_err(refuse)?;
    if frame.width != width || pixels.len() < out.len() {
        return Err(refuse("it is smaller than its strip or tile".to_owned()));
    }
    out.copy_from_slice(&pixels[..out.len()]);
    Ok(())
}
