//! The few rows that the pass down needs at one time.

/// Consecutive rows of a picture that comes row by row.
pub(super) struct Window {
    data: Vec<u8>,
    row_bytes: usize,
    /// The picture's row that is the first in `data`.
    first: usize,
    /// Rows from the first that are not needed any more.
    dropped: usize,
    /// Rows that may be needed at one time.
    rows_needed: usize,
}

impl Window {
    /// For rows of `row_bytes` from the picture's row `first` on, of which `rows_needed` count at one time.
    pub(super) fn new(first: usize, row_bytes: usize, rows_needed: usize) -> Self {
        Self {
            data: Vec::with_capacity(bytes(row_bytes, rows_needed)),
            row_bytes,
            first,
            dropped: 0,
            rows_needed,
        }
    }

    /// Adds the next row, which `fill` writes.
    pub(super) fn push(&mut self, fill: impl FnOnce(&mut [u8])) {
        if self.dropped > 0 && self.data.len() + self.row_bytes > self.data.capacity() {
            self.data.drain(..self.dropped * self.row_bytes);
            self.first += self.dropped;
            self.dropped = 0;
        }
        let start = self.data.len();
        self.data.resize(start + self.row_bytes, 0);
        fill(&mut self.data[start..]);
    }

    /// The picture's row that comes next.
    pub(super) fn next(&self) -> usize {
        self.first + self.data.len() / self.row_bytes
    }

    /// From the picture's row `row` on.
    pub(super) fn from(&self, row: usize) -> &[u8] {
        &self.data[(row - self.first) * self.row_bytes..]
    }

    /// Says that no row before `row` is needed any more.
    pub(super) fn drop_before(&mut self, row: usize) {
        self.dropped = row.saturating_sub(self.first).min(self.data.len() / self.row_bytes);
        debug_assert!(self.dropped <= 2 * self.rows_needed + 1);
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }
}

/// What a window takes: the rows that are needed and as many again, so that they are moved seldom.
pub(super) fn bytes(row_bytes: usize, rows_needed: usize) -> usize {
    row_bytes.saturating_mul(rows_needed.saturating_mul(2).saturating_add(1))
}
