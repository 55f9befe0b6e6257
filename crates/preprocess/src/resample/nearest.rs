//! The nearest pixel, without weights.

use crate::geometry::Span;

/// Which source pixels of one axis are kept.
pub(super) struct Picks {
    /// In the order of the source.
    indices: Vec<usize>,
}

impl Picks {
    /// The source pixel under the centre of each kept pixel. Pillow adds the scale up pixel by pixel, so this does too.
    pub(super) fn new(side: u32, extent: f64, span: Span) -> Self {
        let scale = extent / f64::from(span.resized);
        let mut at = scale * 0.5;
        let mut indices = Vec::with_capacity(span.length as usize);
        for index in 0..span.start.saturating_add(span.length) {
            if index >= span.start {
                indices.push((at as usize).min(side as usize - 1));
            }
            at += scale;
        }
        Self { indices }
    }

    /// The same for a source whose pixels come in the opposite order.
    pub(super) fn mirrored(mut self, side: u32) -> Self {
        self.indices.reverse();
        self.indices
            .iter_mut()
            .for_each(|index| *index = side as usize - 1 - *index);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }
}

/// Picks pixels out of rows that come one after the other.
pub(super) struct Picking {
    rows: Picks,
    columns: Picks,
    /// Rows that have come.
    come: usize,
    out: Vec<u8>,
}

impl Picking {
    pub(super) fn new(rows: Picks, columns: Picks) -> Self {
        let out = Vec::with_capacity(rows.len() * columns.len() * 3);
        Self {
            rows,
            columns,
            come: 0,
            out,
        }
    }

    pub(super) fn row(&mut self, rgb: &[u8]) {
        let pixels = rgb.as_chunks::<3>().0;
        let first = self.out.len() / (self.columns.len() * 3).max(1);
        let same = self
            .rows
            .indices
            .iter()
            .skip(first)
            .take_while(|row| **row == self.come);
        for _ in same {
            self.out
                .extend(self.columns.indices.iter().flat_map(|&column| pixels[column]));
        }
        self.come += 1;
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}
