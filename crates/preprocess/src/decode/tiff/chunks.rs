//! The strips or tiles of a TIFF: where they are and what each costs, judged before any is read.

use super::errors::{corrupt, unsupported};
use super::fields::{Compression, Fields, Photometric, tag};
use crate::decode::jpeg;
use crate::error::ImageError;
use crate::ifd::Entry;
use crate::limits::Limits;

/// Strips and tiles that are read: as many as a picture has rows, four times over.
const CHUNKS_MAX: u64 = 1 << 18;

/// What is kept of them, in bytes, at most: the place of each where their lengths are missing.
pub(super) const TABLES_BYTES_MAX: u64 = CHUNKS_MAX * 8;

/// How the picture is cut.
pub(super) struct Chunks<'a> {
    /// Tiles in a row of tiles; strips are one across.
    pub across: u32,
    /// Rows of tiles, or strips.
    pub down: u32,
    /// Pixels in a row of each.
    pub width: u32,
    /// Rows of pixels in each, the last strip possibly with fewer.
    pub height: u32,
    /// Whether they are tiles, which are whole also where they leave the picture.
    pub tiles: bool,
    /// What the samples of one take, all layers together, in bytes.
    pub bytes: u64,
    /// What unpacking one takes besides, in bytes.
    pub unpacking_bytes: u64,
    places: Places<'a>,
}

impl<'a> Chunks<'a> {
    /// Refuses a file whose strips or tiles cost much more than the picture is worth: far larger than it, overlapping, or JPEGs of
    /// another size.
    pub(super) fn read(encoded: &'a [u8], fields: &Fields<'a>, limits: &Limits) -> Result<Self, ImageError> {
        let strips = fields.directory.entry_of(tag::STRIP_OFFSETS);
        let (tiles, offsets) = match strips {
            Some(offsets) => (false, Some(offsets)),
            None => (true, fields.directory.entry_of(tag::TILE_OFFSETS)),
        };
        let offsets = offsets.ok_or_else(|| corrupt("it has neither strips nor tiles"))?;
        let [width, height] = sides(fields, tiles)?;
        limits.check_size(width, height)?;
        let (across, down) = (fields.width.div_ceil(width), fields.height.div_ceil(height));
        let pixels = u64::from(across) * u64::from(down) * u64::from(width) * u64::from(height);
        if pixels > limits.pixels_max.saturating_mul(2) {
            return Err(corrupt("its tiles are far larger than the picture"));
        }
        let layers = if fields.planar { fields.samples as u64 } else { 1 };
        let count = u64::from(across) * u64::from(down) * layers;
        if count > CHUNKS_MAX {
            return Err(corrupt(format!(
                "it has {count} strips or tiles; {CHUNKS_MAX} are read at most"
            )));
        }
        let row = fields.row_bytes(width) as u64;
        let places = Places::new(encoded, fields, offsets, tiles, count, row * u64::from(height))?;
        let costliest = places.check(fields, [width, height])?;
        Ok(Self {
            across,
            down,
            width,
            height,
            tiles,
            bytes: row * u64::from(height) * layers,
            unpacking_bytes: costliest + (1 << 18),
            places,
        })
    }

    /// The stored bytes of one, in one layer.
    pub(super) fn stored(&self, layer: usize, index: u32) -> Result<&'a [u8], ImageError> {
        let index = layer * self.across as usize * self.down as usize + index as usize;
        let stored = self.places.stored(index).filter(|stored| !stored.is_empty());
        stored.ok_or_else(|| corrupt("a strip or tile lies outside of the file"))
    }
}

/// Width and height of each.
fn sides(fields: &Fields<'_>, tiles: bool) -> Result<[u32; 2], ImageError> {
    let side = |tag| fields.value(tag).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let sides = if tiles {
        [side(tag::TILE_WIDTH).unwrap_or(0), side(tag::TILE_HEIGHT).unwrap_or(0)]
    } else {
        let rows = side(tag::ROWS_PER_STRIP).unwrap_or(u32::MAX);
        [fields.width, rows.min(fields.height)]
    };
    if sides.contains(&0) {
        return Err(corrupt("its strips or tiles have no rows or columns"));
    }
    Ok(sides)
}

/// Where strips or tiles are in the file.
struct Places<'a> {
    encoded: &'a [u8],
    offsets: Entry<'a>,
    lengths: Lengths<'a>,
}

/// How long they are.
enum Lengths<'a> {
    Stated(Entry<'a>),
    /// Samples that are not packed have a length of their own, whatever is stated; Pillow does not look at it.
    Unpacked(usize),
    /// Each ends where the next one begins, in the order of their offsets.
    UpTo(Vec<u64>),
}

impl<'a> Places<'a> {
    fn new(
        encoded: &'a [u8],
        fields: &Fields<'a>,
        offsets: Entry<'a>,
        tiles: bool,
        count: u64,
        bytes: u64,
    ) -> Result<Self, ImageError> {
        if (offsets.count() as u64) < count {
            return Err(corrupt("its strips or tiles do not fill the picture"));
        }
        let lengths = if tiles { tag::TILE_BYTES } else { tag::STRIP_BYTES };
        let stated = fields.directory.entry_of(lengths);
        let lengths = match stated.filter(|lengths| lengths.count() as u64 >= count) {
            _ if fields.compression == Compression::None => {
                Lengths::Unpacked(usize::try_from(bytes).unwrap_or(usize::MAX))
            }
            Some(lengths) if lengths.unsigned().take(count as usize).all(|length| length > 0) => {
                Lengths::Stated(lengths)
            }
            _ => {
                let mut begins: Vec<u64> = offsets.unsigned().take(count as usize).collect();
                begins.sort_unstable();
                Lengths::UpTo(begins)
            }
        };
        Ok(Self {
            encoded,
            offsets,
            lengths,
        })
    }

    fn stored(&self, index: usize) -> Option<&'a [u8]> {
        let offset = self.offsets.unsigned_at(index)?;
        let rest = self.encoded.get(usize::try_from(offset).ok()?..)?;
        let length = match &self.lengths {
            Lengths::Stated(lengths) => usize::try_from(lengths.unsigned_at(index)?).unwrap_or(usize::MAX),
            Lengths::Unpacked(bytes) => *bytes,
            Lengths::UpTo(begins) => {
                let next = begins.get(begins.partition_point(|begin| *begin <= offset));
                next.map_or(usize::MAX, |next| usize::try_from(next - offset).unwrap_or(usize::MAX))
            }
        };
        Some(&rest[..length.min(rest.len())])
    }

    /// Refuses strips or tiles that overlap and, in one that is a JPEG, another size than `sides`, width and height. What unpacking the
    /// costliest one holds, in bytes.
    fn check(&self, fields: &Fields<'_>, sides: [u32; 2]) -> Result<u64, ImageError> {
        let (mut total, mut costliest) = (0, 0);
        let is_jpeg = fields.compression == Compression::Jpeg;
        if is_jpeg && (fields.bits != 8 || fields.photometric == Photometric::Palette) {
            return Err(unsupported("a JPEG in it of other samples than eight bits of a colour"));
        }
        let tables = fields
            .directory
            .entry_of(tag::JPEG_TABLES)
            .map_or(0, |tables| tables.data.len());
        for index in 0..self.offsets.count().min(CHUNKS_MAX as usize) {
            let stored = self.stored(index).unwrap_or_default();
            total += stored.len();
            if total > self.encoded.len() * 2 {
                return Err(corrupt("its strips or tiles overlap"));
            }
            let mut cost = if fields.reversed { stored.len() as u64 } else { 0 };
            if let Some(frame) = jpeg::first_frame(stored).filter(|_| is_jpeg) {
                if frame.width > sides[0] || frame.height > sides[1] {
                    return Err(corrupt("a JPEG in it is larger than its strip or tile"));
                }
                // Coefficients of two bytes, samples of one, what comes out; and the file that is made of it.
                cost = frame.samples() * 4 + (stored.len() + tables) as u64 + jpeg::bytes(stored);
            }
            costliest = costliest.max(cost);
        }
        Ok(costliest)
    }
}
