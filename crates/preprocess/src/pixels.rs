//! Eight-bit RGB pixels, the common form between decoding and resampling.

/// An RGB image of eight bits a channel, rows from the top, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `height * width * 3` bytes: R, G, B.
    pub data: Vec<u8>,
}
