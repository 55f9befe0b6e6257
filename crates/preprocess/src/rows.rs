//! Where decoded rows go: a picture is handed over row by row, so that it need not be held whole.

use image::metadata::Orientation;

use super::orientation;
use super::pixels::Rgb8;

/// The rows that are about to come, and how they lie in the upright picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    /// Height and width of what comes, as it is stored, in pixels.
    pub stored: [u32; 2],
    /// How to turn that upright.
    pub orientation: Orientation,
    /// Height and width of the file's picture, upright, in pixels.
    pub full: [u32; 2],
    /// Height and width, upright, of the part that the picture covers, in pixels of what comes: a reduced scale may fill its last
    /// pixel in part.
    pub extent: [f64; 2],
}

impl Layout {
    /// Every pixel of a picture of `width` by `height` stored pixels.
    pub(crate) fn whole(width: u32, height: u32, orientation: Orientation) -> Self {
        let stored = [height, width];
        let full = upright(stored, orientation);
        Self {
            stored,
            orientation,
            full,
            extent: full.map(f64::from),
        }
    }
}

/// Stored height and width as they are in the upright picture, or the other way round.
pub(crate) fn upright<T: Copy>([height, width]: [T; 2], orientation: Orientation) -> [T; 2] {
    if orientation::swaps_sides(orientation) {
        [width, height]
    } else {
        [height, width]
    }
}

/// Takes the rows of one picture.
pub(crate) trait Rows {
    /// Comes once, before the first row.
    fn begin(&mut self, layout: &Layout);

    /// The next row, from the top: R, G, B of each pixel.
    fn row(&mut self, rgb: &[u8]);
}

/// Keeps every pixel.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    layout: Option<Layout>,
    data: Vec<u8>,
}

impl Rows for Whole {
    fn begin(&mut self, layout: &Layout) {
        let [height, width] = layout.stored.map(|side| side as usize);
        self.layout = Some(*layout);
        self.data.reserve_exact(height.saturating_mul(width).saturating_mul(3));
    }

    fn row(&mut self, rgb: &[u8]) {
        self.data.extend_from_slice(rgb);
    }
}

impl Whole {
    /// The picture, upright; `None` where no rows came.
    pub(crate) fn into_upright(self) -> Option<Rgb8> {
        let Layout {
            stored: [height, width],
            orientation,
            ..
        } = self.layout?;
        let data = self.data;
        Some(orientation::apply(Rgb8 { width, height, data }, orientation))
    }
}
