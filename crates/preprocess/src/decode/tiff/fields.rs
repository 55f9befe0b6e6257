//! What the first directory of a TIFF says of its picture (TIFF 6.0), with the values that Pillow takes for what it leaves out.

use super::errors::{corrupt, unsupported};
use crate::error::ImageError;
use crate::ifd::{Directory, Entry};

/// The tags that are read here; the tables of an embedded JPEG and the options of fax rows are read where they are needed.
pub(super) mod tag {
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTES: u16 = 279;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const FAX_OPTIONS: u16 = 292;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const COLOURS: u16 = 320;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTES: u16 = 325;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const CHROMA_SAMPLING: u16 = 530;
    pub(crate) const XMP: u16 = 700;
}

/// More samples in a pixel than Pillow reads.
const SAMPLES_MAX: u64 = 6;

/// How samples are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// Runs of white and black, rows that begin at a byte, or at two.
    FaxRuns {
        word: bool,
    },
    /// ITU-T T.4, in one dimension or two.
    Fax3,
    /// ITU-T T.6.
    Fax4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

/// What samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    Unsigned,
    Signed,
    Float,
}

/// How colours are made of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// What a directory says of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub directory: Directory<'a>,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits of each sample.
    pub bits: u8,
    /// Samples of each pixel.
    pub samples: usize,
    /// What the first sample beyond the colour is: 1 is alpha by which the colour is multiplied.
    pub extra: Option<u64>,
    pub numbers: Numbers,
    pub photometric: Photometric,
    pub compression: Compression,
    /// Whether each sample of the pixels has strips or tiles of its own.
    pub planar: bool,
    /// Whether the lowest bit of a byte comes first.
    pub reversed: bool,
    /// How samples were made small before they were packed: 1 not, 2 as differences, 3 as differences of floats' bytes.
    pub predictor: u64,
}

impl<'a> Fields<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// What is missing or not read.
    pub(super) fn read(encoded: &'a [u8]) -> Result<Self, ImageError> {
        let directory = Directory::find(encoded).ok_or_else(|| corrupt("it has no header"))?;
        if directory.too_long() {
            return Err(corrupt("its directory has more than 4096 entries"));
        }
        let values = |tag| directory.entry_of(tag).map(|entry: Entry<'a>| entry.unsigned());
        let value = |tag| values(tag).and_then(|mut values| values.next());
        let side = |tag| {
            let side = value(tag).ok_or_else(|| corrupt("it has no width or height"))?;
            u32::try_from(side).map_err(|_| corrupt("its width or height is not a number of pixels"))
        };
        let (width, height) = (side(tag::WIDTH)?, side(tag::HEIGHT)?);
        let photometric = photometric(value(tag::PHOTOMETRIC).unwrap_or(0))?;
        let compression = compression(value(tag::COMPRESSION).unwrap_or(1))?;
        let samples = value(tag::SAMPLES).unwrap_or(1);
        if samples == 0 || samples > SAMPLES_MAX {
            return Err(unsupported(format!(
                "pixels of {samples} samples; {SAMPLES_MAX} are read at most"
            )));
        }
        Ok(Self {
            directory,
            width,
            height,
            bits: bits(values(tag::BITS), samples as usize)?,
            samples: samples as usize,
            extra: value(tag::EXTRA_SAMPLES),
            numbers: numbers(values(tag::SAMPLE_FORMAT))?,
            photometric,
            compression,
            planar: samples > 1 && value(tag::PLANAR) == Some(2),
            reversed: value(tag::FILL_ORDER) == Some(2),
            predictor: value(tag::PREDICTOR).unwrap_or(1),
        })
    }

    /// The first value of a tag that is an unsigned number.
    pub(super) fn value(&self, tag: u16) -> Option<u64> {
        self.directory.entry_of(tag)?.unsigned().next()
    }

    /// Samples of a pixel that lie together.
    pub(super) fn samples_together(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of so many pixels whose samples lie together.
    pub(super) fn row_bytes(&self, pixels: u32) -> usize {
        (pixels as usize * self.samples_together() * usize::from(self.bits)).div_ceil(8)
    }
}

fn photometric(value: u64) -> Result<Photometric, ImageError> {
    Ok(match value {
        0 => Photometric::WhiteIsZero,
        1 => Photometric::BlackIsZero,
        2 => Photometric::Rgb,
        3 => Photometric::Palette,
        5 => Photometric::Cmyk,
        6 => Photometric::YCbCr,
        8..=10 => return Err(unsupported("pixels in CIELab")),
        _ => return Err(unsupported(format!("pixels of the photometric interpretation {value}"))),
    })
}

fn compression(value: u64) -> Result<Compression, ImageError> {
    let other = match value {
        1 => return Ok(Compression::None),
        2 => return Ok(Compression::FaxRuns { word: false }),
        3 => return Ok(Compression::Fax3),
        4 => return Ok(Compression::Fax4),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32771 => return Ok(Compression::FaxRuns { word: true }),
        32773 => return Ok(Compression::PackBits),
        6 => "old JPEG".to_owned(),
        34925 => "LZMA".to_owned(),
        50000 => "Zstandard".to_owned(),
        50001 => "WebP".to_owned(),
        other => format!("method {other}"),
    };
    Err(unsupported(format!("samples packed by {other}")))
}

/// The bits that all samples have; one value stands for all.
fn bits(values: Option<impl Iterator<Item = u64>>, samples: usize) -> Result<u8, ImageError> {
    let values: Vec<u64> = values.map(|values| values.take(samples).collect()).unwrap_or_default();
    let first = values.first().copied().unwrap_or(1);
    if values.len() > 1 && values.len() < samples || values.iter().any(|bits| *bits != first) {
        return Err(unsupported(format!("samples of {values:?} bits")));
    }
    u8::try_from(first)
        .ok()
        .filter(|bits| [1, 2, 4, 8, 12, 16, 32].contains(bits))
        .ok_or_else(|| unsupported(format!("samples of {first} bits")))
}

fn numbers(values: Option<impl Iterator<Item = u64>>) -> Result<Numbers, ImageError> {
    let mut values = values.into_iter().flatten().take(SAMPLES_MAX as usize);
    let first = values.next().unwrap_or(1);
    match first {
        _ if values.any(|value| value != first) => Err(unsupported("samples of several types")),
        1 => Ok(Numbers::Unsigned),
        2 => Ok(Numbers::Signed),
        3 => Ok(Numbers::Float),
        other => Err(unsupported(format!("samples of format {other}"))),
    }
}
