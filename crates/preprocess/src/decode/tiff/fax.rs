//! Rows of a fax: ITU-T T.4 (one and two dimensions), T.6, and the runs of TIFF 6.0, section 10. A row that a broken code ends early is
//! white from there on, as in libtiff.

use ::fax::maps::{Mode, black, mode, white};
use ::fax::{BitReader, Bits as Pattern};

/// How rows are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Runs alone; each row begins at a byte, or at two.
    Runs { word: bool },
    /// Rows between marks, where each mark of two dimensions says how its row is coded.
    Group3 { two_dimensions: bool },
    /// Every row by the one before, without marks.
    Group4,
}

/// Fills `out` with rows of `row_bytes`, black as ones; `None` where the stored bits end before.
pub(super) fn unpack(stored: &[u8], coding: Coding, width: u32, row_bytes: usize, out: &mut [u8]) -> Option<()> {
    let mut bits = Bits { bytes: stored, at: 0 };
    let marked = matches!(coding, Coding::Group3 { .. }) && Bits { ..bits }.skip_to_mark();
    let (mut before, mut row) = (Row::new(width), Row::new(width));
    for line in out.chunks_exact_mut(row_bytes.max(1)) {
        let by_the_one_before = match coding {
            Coding::Runs { word } => {
                bits.align(if word { 16 } else { 8 });
                false
            }
            Coding::Group3 { two_dimensions } => {
                if marked && !bits.skip_to_mark() {
                    return None;
                }
                marked && two_dimensions && bits.take(1) == 0
            }
            Coding::Group4 => true,
        };
        row.changes.clear();
        let end = if by_the_one_before {
            row.read_by(&before, &mut bits)
        } else {
            row.read(&mut bits)
        };
        match end {
            // What is missing before the end of a block is white.
            End::OfBlock if coding == Coding::Group4 => break,
            End::OfRow => {}
            End::Early if bits.at + CODE_BITS_MAX > stored.len() * 8 => return None,
            End::Early | End::OfBlock => row.end_early(),
        }
        if bits.at > stored.len() * 8 {
            return None;
        }
        row.paint(line);
        std::mem::swap(&mut before, &mut row);
    }
    Some(())
}

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OfRow,
    /// With a code that is none, or a run that leaves the row.
    Early,
    OfBlock,
}

/// Where the pixels of a row change: to black, to white, and so on.
struct Row {
    changes: Vec<u32>,
    width: u32,
}

impl Row {
    fn new(width: u32) -> Self {
        Self {
            changes: Vec::new(),
            width,
        }
    }

    fn is_white(&self) -> bool {
        self.changes.len().is_multiple_of(2)
    }

    /// Reads runs of white and black in turn.
    fn read(&mut self, bits: &mut Bits<'_>) -> End {
        let mut at = 0;
        while at < self.width {
            match run(bits, self.is_white()) {
                Some(length) if at + length <= self.width && self.has_room() => at += length,
                _ => return End::Early,
            }
            self.change(at);
        }
        End::OfRow
    }

    /// Reads how the row differs from the one before.
    fn read_by(&mut self, before: &Self, bits: &mut Bits<'_>) -> End {
        // The first place is before the row, so that its first pixel can differ.
        let (mut at, mut index) = (None, 0);
        while at.unwrap_or(0) < self.width && self.has_room() {
            let first = before.next_change(at, self.is_white(), &mut index);
            // The tables take any seven zeros for the end of a block.
            if bits.look(7) == 0 {
                let is_mark = bits.look(MARK_ZEROS + 1) == 1;
                return if is_mark { End::OfBlock } else { End::Early };
            }
            let place = |index: usize| before.changes.get(index).copied().unwrap_or(self.width);
            match mode::decode(bits) {
                Some(Mode::Pass) => at = Some(place(first + 1)),
                Some(Mode::Vertical(distance)) => {
                    let Some(to) = place(first).checked_add_signed(i32::from(distance)) else {
                        return End::Early;
                    };
                    if to < at.unwrap_or(0) || to > self.width {
                        return End::Early;
                    }
                    at = Some(to);
                    self.change(to);
                }
                Some(Mode::Horizontal) => {
                    for _ in 0..2 {
                        let length = run(bits, self.is_white());
                        let to = length.map(|length| at.unwrap_or(0) + length);
                        let Some(to) = to.filter(|to| *to <= self.width) else {
                            return End::Early;
                        };
                        at = Some(to);
                        self.changes.push(to);
                    }
                }
                Some(Mode::EOF | Mode::Extension) | None => return End::Early,
            }
        }
        while self.changes.last() == Some(&self.width) {
            self.changes.pop();
        }
        if at.unwrap_or(0) < self.width {
            End::Early
        } else {
            End::OfRow
        }
    }

    /// The first change after a place to the colour that the row under way has not, as an index; `index` is where the last one was.
    fn next_change(&self, after: Option<u32>, is_white: bool, index: &mut usize) -> usize {
        let passed = |change: &u32| after.is_some_and(|after| *change <= after);
        while *index > 0 && !passed(&self.changes[*index - 1]) {
            *index -= 1;
        }
        while self.changes.get(*index).is_some_and(passed) {
            *index += 1;
        }
        *index + usize::from(index.is_multiple_of(2) != is_white)
    }

    /// Runs may be empty: their number is bounded by what a row without such has.
    fn has_room(&self) -> bool {
        self.changes.len() <= self.width as usize * 2
    }

    fn change(&mut self, at: u32) {
        if at < self.width {
            self.changes.push(at);
        }
    }

    fn end_early(&mut self) {
        if !self.is_white() {
            self.changes.pop();
        }
    }

    /// Sets the bits of black pixels in a row of zeros.
    fn paint(&self, line: &mut [u8]) {
        for pair in self.changes.chunks(2) {
            let (from, to) = (pair[0] as usize, pair.get(1).map_or(self.width, |to| *to) as usize);
            if from >= to {
                continue;
            }
            let (first, last) = (from / 8, (to - 1) / 8);
            let (head, tail) = (0xff_u8 >> (from % 8), 0xff_u8 << (7 - (to - 1) % 8));
            if first == last {
                line[first] |= head & tail;
            } else {
                line[first] |= head;
                line[first + 1..last].fill(0xff);
                line[last] |= tail;
            }
        }
    }
}

/// The length of a run: codes of 64 pixels and more, then one of less.
fn run(bits: &mut Bits<'_>, is_white: bool) -> Option<u32> {
    let mut length = 0_u32;
    loop {
        let part = if is_white {
            white::decode(bits)
        } else {
            black::decode(bits)
        };
        let part = u32::from(part?);
        length = length.checked_add(part)?;
        if part < 64 {
            return Some(length);
        }
    }
}

/// Stored bits, followed by zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits that have been read.
    at: usize,
}

/// The longest code of a run.
const CODE_BITS_MAX: usize = 13;

/// Zeros before the one of a mark between rows; no code has as many.
const MARK_ZEROS: u8 = 11;

impl Bits<'_> {
    fn look(&self, count: u8) -> u16 {
        let byte = |index: usize| u32::from(self.bytes.get(self.at / 8 + index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let rest = bits << (8 + self.at % 8);
        if count == 0 {
            0
        } else {
            (rest >> (32 - u32::from(count))) as u16
        }
    }

    fn take(&mut self, count: u8) -> u16 {
        let bits = self.look(count);
        self.at += usize::from(count);
        bits
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    /// Passes over everything up to and with the next mark.
    fn skip_to_mark(&mut self) -> bool {
        let end = self.bytes.len() * 8;
        while self.at + usize::from(MARK_ZEROS) < end {
            if self.look(MARK_ZEROS) > 0 {
                self.at += 1;
                continue;
            }
            self.at += usize::from(MARK_ZEROS);
            while self.at < end {
                if self.take(1) == 1 {
                    return true;
                }
            }
        }
        self.at = end;
        false
    }
}

impl BitReader for Bits<'_> {
    type Error = std::convert::Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        (bits <= 16).then(|| self.look(bits))
    }

    fn consume(&mut self, bits: u8) -> Result<(), Self::Error> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn expect(&mut self, pattern: Pattern) -> Result<(), Option<Pattern>> {
        let data = self.look(pattern.len);
        if data == pattern.data {
            return Ok(());
        }
        Err(Some(Pattern { data, len: pattern.len }))
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        ((8 - self.at % 8) % 8) as u8
    }
}

#[cfg(test)]
mod tests {
    use fax::encoder::Encoder;
    use fax::{BitWriter, Color, VecWriter};

    use super::*;

    const WIDTH: u32 = 70;
    const ROW_BYTES: usize = 9;

    /// Rows that differ in every way: white, black, alternating, wide runs, and like the one before.
    fn rows() -> Vec<[u8; ROW_BYTES]> {
        let mut rows = vec![
            [0; 9],
            [0xff; 9],
            [0x55; 9],
            [0xaa; 9],
            [0x0f; 9],
            [0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x80],
        ];
        rows.extend((0..20_u8).map(|y| std::array::from_fn(|x| (y.wrapping_mul(37) ^ x as u8).wrapping_mul(y | 1))));
        rows.iter_mut().for_each(|row| row[ROW_BYTES - 1] &= 0xfc);
        rows
    }

    fn pixels(row: &[u8; ROW_BYTES]) -> impl Iterator<Item = Color> + '_ {
        (0..WIDTH as usize).map(|x| match row[x / 8] >> (7 - x % 8) & 1 {
            1 => Color::Black,
            _ => Color::White,
        })
    }

    /// A row as runs of white and black in turn.
    fn runs(row: &[u8; ROW_BYTES], to: &mut VecWriter) {
        let colours: Vec<Color> = pixels(row).collect();
        let mut white = true;
        let mut rest = colours.as_slice();
        while !rest.is_empty() {
            let colour = if white { Color::White } else { Color::Black };
            let mut run = rest.iter().take_while(|pixel| **pixel == colour).count();
            rest = &rest[run..];
            let encode = if white { white::encode } else { black::encode };
            if run >= 64 {
                to.write(encode(64).unwrap()).unwrap();
                run -= 64;
            }
            to.write(encode(run as u16).unwrap()).unwrap();
            white = !white;
        }
    }

    fn mark(to: &mut VecWriter) {
        to.write(Pattern { data: 1, len: 12 }).unwrap();
    }

    fn check(stored: &[u8], coding: Coding) {
        let expected = rows().concat();
        let mut out = vec![0; expected.len()];
        assert_eq!(
            unpack(stored, coding, WIDTH, ROW_BYTES, &mut out),
            Some(()),
            "{coding:?}"
        );
        assert_eq!(out, expected, "{coding:?}");
        let mut out = vec![0; expected.len()];
        let cut = &stored[..stored.len() / 2];
        assert_eq!(unpack(cut, coding, WIDTH, ROW_BYTES, &mut out), None, "{coding:?}, cut");
    }

    #[test]
    fn every_coding_gives_the_rows() {
        let mut group4 = Encoder::new(VecWriter::new());
        for row in rows() {
            group4.encode_line(pixels(&row), WIDTH as u16).unwrap();
        }
        check(&group4.finish().unwrap().finish(), Coding::Group4);
        let [mut plain, mut marked, mut both] = [(); 3].map(|()| VecWriter::new());
        for word in [false, true] {
            let mut bytes = Vec::new();
            for row in rows() {
                let mut line = VecWriter::new();
                runs(&row, &mut line);
                bytes.extend(line.finish());
                bytes.resize(bytes.len().next_multiple_of(1 + usize::from(word)), 0);
            }
            check(&bytes, Coding::Runs { word });
        }
        for row in rows() {
            runs(&row, &mut plain);
            mark(&mut marked);
            runs(&row, &mut marked);
            mark(&mut both);
            both.write(Pattern { data: 1, len: 1 }).unwrap();
            runs(&row, &mut both);
        }
        let one = Coding::Group3 { two_dimensions: false };
        check(&plain.finish(), one);
        check(&marked.finish(), one);
        check(&both.finish(), Coding::Group3 { two_dimensions: true });
    }

    #[test]
    fn rows_by_the_one_before_between_marks() {
        // A row of runs, then the same row by the one before: each change is where it was.
        let row = rows()[4];
        let mut stored = VecWriter::new();
        mark(&mut stored);
        stored.write(Pattern { data: 1, len: 1 }).unwrap();
        runs(&row, &mut stored);
        mark(&mut stored);
        stored.write(Pattern { data: 0, len: 1 }).unwrap();
        for _ in 0..64 {
            stored.write(Pattern { data: 1, len: 1 }).unwrap();
        }
        let mut out = vec![0; 2 * ROW_BYTES];
        let coding = Coding::Group3 { two_dimensions: true };
        unpack(&stored.finish(), coding, WIDTH, ROW_BYTES, &mut out).unwrap();
        assert_eq!(out, [row, row].concat());
    }

    #[test]
    fn a_broken_row_is_white_from_there_on() {
        let mut stored = VecWriter::new();
        mark(&mut stored);
        stored.write(white::encode(8).unwrap()).unwrap();
        stored.write(black::encode(8).unwrap()).unwrap();
        // No code of white begins so.
        stored.write(Pattern { data: 1, len: 9 }).unwrap();
        mark(&mut stored);
        runs(&[0xf0; ROW_BYTES], &mut stored);
        let mut out = vec![0; 2 * ROW_BYTES];
        let coding = Coding::Group3 { two_dimensions: false };
        unpack(&stored.finish(), coding, WIDTH, ROW_BYTES, &mut out).unwrap();
        assert_eq!(out[..ROW_BYTES], [0, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[ROW_BYTES..2 * ROW_BYTES - 1], [0xf0; ROW_BYTES - 1]);
    }

    proptest::proptest! {
        #[test]
        fn any_bits_end(stored: Vec<u8>, width in 1_u32..300, kind in 0..5) {
            let coding = match kind {
                0 => Coding::Runs { word: false },
                1 => Coding::Runs { word: true },
                2 => Coding::Group3 { two_dimensions: false },
                3 => Coding::Group3 { two_dimensions: true },
                _ => Coding::Group4,
            };
            let row_bytes = width.div_ceil(8) as usize;
            let mut out = vec![0; row_bytes * 20];
            let _ = unpack(&stored, coding, width, row_bytes, &mut out);
        }
    }
}
