//! How many tables of entropy codes a lossless stream makes a decoder hold, found without decoding its pixels.
//!
//! A picture is cut into blocks, each of which names a group of five codes by two of its colour channels. How many groups there are is
//! only known when all blocks have been read; what their two channels can say at most is known from their own codes, which stand
//! before them. What comes before that, the images of the transforms, is passed over. The format is that of RFC 9649, section 3.

/// A lossless stream behind its header, and the picture's sides in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream<'a> {
    /// The bits.
    pub bytes: &'a [u8],
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The five codes of a group: green with lengths, red, blue, alpha, distances.
const ALPHABETS: [usize; 5] = [256 + 24, 256, 256, 256, 40];
/// Where the green code's symbols stop being colours.
const COLOURS: u16 = 256;
/// Lengths of copies, coded by prefixes.
const LENGTHS: u16 = 24;
/// The order in which the lengths of the code of lengths are stored.
const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const LENGTH_MAX: usize = 15;

/// Bytes of a code's table of 1024 entries and what belongs to it.
const TABLE_BYTES: u64 = 4096 + 128;
/// Bytes that a decoder may hold for a symbol whose code is too long for the table.
const SYMBOL_BYTES: u64 = 64;
/// Bytes of tables for a byte of the file, at most: a code with a full table takes at least 84 bits, and lengths that are repeated
/// without end a few bits for six symbols.
const TABLES_PER_BYTE: u64 = 1024;

/// An upper bound of the bytes that the tables take; of a stream that breaks off before it says, none are made.
pub(super) fn tables_bytes(stream: Stream<'_>) -> u64 {
    let groups = Bits::new(stream.bytes)
        .groups(stream.width, stream.height)
        .unwrap_or((0, 0));
    let (groups, cache) = groups;
    let symbols: u64 = ALPHABETS.iter().map(|symbols| *symbols as u64).sum::<u64>() + cache;
    let group = TABLE_BYTES * ALPHABETS.len() as u64 + symbols * SYMBOL_BYTES;
    (groups * group).min(stream.bytes.len() as u64 * TABLES_PER_BYTE)
}

/// A canonical prefix code.
struct Code {
    /// How many symbols have each length.
    counts: [u16; LENGTH_MAX + 1],
    /// In the order of their codes.
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; LENGTH_MAX + 1];
        let mut symbols: Vec<u16> = (0..lengths.len() as u16)
            .filter(|s| lengths[usize::from(*s)] > 0)
            .collect();
        symbols.sort_by_key(|symbol| lengths[usize::from(*symbol)]);
        for symbol in &symbols {
            counts[usize::from(lengths[usize::from(*symbol)]).min(LENGTH_MAX)] += 1;
        }
        Self { counts, symbols }
    }

    /// The largest of its symbols that is a colour.
    fn colour_max(&self) -> u64 {
        let colours = self.symbols.iter().filter(|symbol| **symbol < COLOURS);
        u64::from(colours.copied().max().unwrap_or(0))
    }

    /// The symbol, if there is but one: it then takes no bits.
    fn single(&self) -> Option<u16> {
        match self.symbols[..] {
            [symbol] => Some(symbol),
            _ => None,
        }
    }
}

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    /// How many groups of codes the picture can have, and the colours in the cache that each counts besides.
    fn groups(&mut self, width: u32, height: u32) -> Option<(u64, u64)> {
        let mut width = width;
        while self.read(1)? == 1 {
            match self.read(2)? {
                0 | 1 => {
                    let bits = self.read(3)? + 2;
                    self.pass_image(blocks(width, bits), blocks(height, bits))?;
                }
                2 => {}
                _ => {
                    let colours = self.read(8)? + 1;
                    self.pass_image(colours, 1)?;
                    width = blocks(width, packed(colours));
                }
            }
        }
        let cache = self.cache()?;
        if self.read(1)? == 0 {
            return Some((1, cache));
        }
        // The blocks' own image: its size is of no account.
        self.read(3)?;
        let own_cache = self.cache()?;
        let [green, red, ..] = self.codes(own_cache)?;
        Some(((red.colour_max() << 8 | green.colour_max()) + 1, cache))
    }

    /// Colours in the cache, 0 without one.
    fn cache(&mut self) -> Option<u64> {
        if self.read(1)? == 0 {
            return Some(0);
        }
        let bits = self.read(4)?;
        (1..=11).contains(&bits).then_some(1 << bits)
    }

    fn codes(&mut self, cache: u64) -> Option<[Code; 5]> {
        let mut code = |index: usize| {
            let more = if index == 0 { cache as usize } else { 0 };
            self.code(ALPHABETS[index] + more)
        };
        Some([code(0)?, code(1)?, code(2)?, code(3)?, code(4)?])
    }

    fn code(&mut self, alphabet: usize) -> Option<Code> {
        let mut lengths = vec![0; alphabet];
        if self.read(1)? == 1 {
            let two = self.read(1)? == 1;
            let bits = if self.read(1)? == 1 { 8 } else { 1 };
            *lengths.get_mut(self.read(bits)? as usize)? = 1;
            if two {
                *lengths.get_mut(self.read(8)? as usize)? = 1;
            }
            return Some(Code::new(&lengths));
        }
        let mut of_lengths = [0; ORDER.len()];
        let count = 4 + self.read(4)? as usize;
        for place in ORDER.get(..count)? {
            of_lengths[*place] = self.read(3)? as u8;
        }
        self.code_lengths(&Code::new(&of_lengths), &mut lengths)?;
        Some(Code::new(&lengths))
    }

    fn code_lengths(&mut self, of_lengths: &Code, lengths: &mut [u8]) -> Option<()> {
        let mut left = lengths.len();
        if self.read(1)? == 1 {
            let bits = 2 + 2 * self.read(3)? as usize;
            left = 2 + self.read(bits)? as usize;
        }
        let (mut at, mut previous) = (0, 8);
        while at < lengths.len() && left > 0 {
            left -= 1;
            let (length, times) = match self.symbol(of_lengths)? {
                16 => (previous, 3 + self.read(2)? as usize),
                17 => (0, 3 + self.read(3)? as usize),
                18 => (0, 11 + self.read(7)? as usize),
                length => (length as u8, 1),
            };
            lengths.get_mut(at..at + times)?.fill(length);
            at += times;
            if length > 0 {
                previous = length;
            }
        }
        Some(())
    }

    fn symbol(&mut self, code: &Code) -> Option<u16> {
        if let Some(symbol) = code.single() {
            return Some(symbol);
        }
        let (mut value, mut first, mut index) = (0_u32, 0_u32, 0_usize);
        for count in &code.counts[1..] {
            value |= self.read(1)?;
            let count = u32::from(*count);
            if value < first + count {
                return code.symbols.get(index + (value - first) as usize).copied();
            }
            index += count as usize;
            first = (first + count) << 1;
            value <<= 1;
        }
        None
    }

    /// Passes over an image of one group of codes.
    fn pass_image(&mut self, width: u32, height: u32) -> Option<()> {
        let cache = self.cache()?;
        let [green, red, blue, alpha, distance] = self.codes(cache)?;
        let of_one_colour = [&green, &red, &blue, &alpha].iter().all(|code| code.single().is_some());
        if of_one_colour && green.colour_max() == u64::from(green.single()?) {
            return Some(());
        }
        let mut left = u64::from(width) * u64::from(height);
        while left > 0 {
            let symbol = self.symbol(&green)?;
            let pixels = if symbol < COLOURS {
                self.symbol(&red)?;
                self.symbol(&blue)?;
                self.symbol(&alpha)?;
                1
            } else if symbol < COLOURS + LENGTHS {
                let length = self.prefixed(symbol - COLOURS)?;
                let distance = self.symbol(&distance)?;
                self.prefixed(distance)?;
                length
            } else {
                1
            };
            left = left.saturating_sub(pixels);
        }
        Some(())
    }

    /// A length or distance: its prefix says how many bits follow.
    fn prefixed(&mut self, prefix: u16) -> Option<u64> {
        if prefix < 4 {
            return Some(u64::from(prefix) + 1);
        }
        let bits = usize::from(prefix - 2) >> 1;
        let offset = (2 + u64::from(prefix & 1)) << bits;
        Some(offset + u64::from(self.read(bits)?) + 1)
    }
}

/// Blocks of 2 to the power of `bits` that cover a side.
fn blocks(side: u32, bits: u32) -> u32 {
    side.div_ceil(1 << bits)
}

/// How many pixels, as a power of two, share a byte where so many colours are enough.
fn packed(colours: u32) -> u32 {
    match colours {
        0..=2 => 3,
        3..=4 => 2,
        5..=16 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits as `(value, count)`.
    fn stream(parts: &[(u32, usize)]) -> Vec<u8> {
        let bits: Vec<bool> = parts
            .iter()
            .flat_map(|(value, count)| (0..*count).map(move |at| value >> at & 1 == 1))
            .collect();
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    #[track_caller]
    fn check(parts: &[(u32, usize)], expected: Option<(u64, u64)>) {
        assert_eq!(Bits::new(&stream(parts)).groups(100, 100), expected);
    }

    const NO_CACHE: (u32, usize) = (0, 1);
    const LAST_TRANSFORM: (u32, usize) = (0, 1);
    /// A code of the one symbol 0, and of the one symbol in eight bits.
    const ZERO: (u32, usize) = (0b0001, 4);
    const SIMPLE: (u32, usize) = (0b101, 3);

    #[test]
    fn one_group_needs_no_blocks() {
        check(&[LAST_TRANSFORM, NO_CACHE, (0, 1)], Some((1, 0)));
        check(&[LAST_TRANSFORM, (1, 1), (11, 4), (0, 1)], Some((1, 2048)));
        check(&[LAST_TRANSFORM, (1, 1), (12, 4), (0, 1)], None);
        check(&[(1, 1)], None);
    }

    #[test]
    fn groups_are_what_the_blocks_can_name() {
        let blocks = [LAST_TRANSFORM, NO_CACHE, (1, 1), (0, 3), NO_CACHE];
        let codes = [SIMPLE, (7, 8), SIMPLE, (2, 8), ZERO, ZERO, ZERO];
        check(&[&blocks[..], &codes].concat(), Some((2 * 256 + 7 + 1, 0)));
    }

    #[test]
    fn transforms_are_passed_over() {
        // A predictor image of one colour; then one of two colours: a bit for each of 25 by 25 blocks.
        let one = [(1, 1), (0, 2), (0, 3), NO_CACHE, ZERO, ZERO, ZERO, ZERO, ZERO];
        let two = [
            (1, 1),
            (1, 2),
            (0, 3),
            NO_CACHE,
            (0b0011, 4),
            (1, 8),
            ZERO,
            ZERO,
            ZERO,
            ZERO,
        ];
        let pixels = [(0, 1); 625];
        let rest = [LAST_TRANSFORM, (1, 1), (3, 4), (0, 1)];
        check(&[&one[..], &two, &pixels, &rest].concat(), Some((1, 8)));
    }

    #[test]
    fn code_lengths_are_run_lengths() {
        // The lengths' code has the symbols 1 and 18, one bit each; 1, 1, then zeros to the end of the alphabet.
        let mut of_lengths = vec![(0, 1), (0, 4)];
        of_lengths.extend([(0, 3), (1, 3), (0, 3), (1, 3)]);
        let lengths = [(0, 1), (0, 1), (0, 1), (1, 1), (127, 7), (1, 1), (105, 7)];
        let code = Bits::new(&stream(&[&of_lengths[..], &lengths].concat()))
            .code(256)
            .unwrap();
        assert_eq!(code.symbols, [0, 1]);
    }
}
