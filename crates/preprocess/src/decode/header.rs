//! What decoding a file will take.

use crate::rows::Layout;

/// What a file's header says of decoding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Header {
    /// The rows that will come. Their orientation is only said where it stands before the pixels.
    pub layout: Layout,
    /// What decoding holds at its peak, in bytes; what the rows are made into comes on top.
    pub bytes: u64,
    /// How much there is to do for each pixel of the file's picture.
    pub work: Work,
}

/// How much a decoder does for each pixel, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A JPEG of one scan.
    Once,
    /// A JPEG of several scans, each of which goes over all blocks.
    Scans(u64),
    /// Every pixel is unpacked, however few are needed.
    EveryPixel,
}
