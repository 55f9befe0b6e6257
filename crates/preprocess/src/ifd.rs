//! The first image file directory of a TIFF, of a classic or a big one, or of an EXIF block. Formats: TIFF 6.0, section 2; BigTIFF's
//! design by Adobe and libtiff.

/// Entries of a directory that are read; a camera's has fewer than a hundred.
const ENTRIES_MAX: u64 = 4096;

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Unsigned, of so many bytes.
    Unsigned(usize),
    /// Signed, of so many bytes.
    Signed(usize),
    /// Two unsigned numbers of four bytes: a fraction.
    Rational,
    /// The same, signed.
    SignedRational,
    /// A float of four bytes.
    Float,
    /// A float of eight bytes.
    Double,
    /// A byte that is no number: text, or anything.
    Opaque,
}

impl Kind {
    fn of(code: u64) -> Option<Self> {
        Some(match code {
            1 => Self::Unsigned(1),
            2 | 7 => Self::Opaque,
            3 => Self::Unsigned(2),
            4 | 13 => Self::Unsigned(4),
            5 => Self::Rational,
            6 => Self::Signed(1),
            8 => Self::Signed(2),
            9 => Self::Signed(4),
            10 => Self::SignedRational,
            11 => Self::Float,
            12 => Self::Double,
            16 | 18 => Self::Unsigned(8),
            17 => Self::Signed(8),
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) => bytes,
            Self::Rational | Self::SignedRational | Self::Double => 8,
            Self::Float => 4,
            Self::Opaque => 1,
        }
    }
}

/// One entry of a directory, with its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// What it says.
    pub tag: u16,
    /// How its values are stored.
    pub kind: Kind,
    /// Its values, one or more, whole.
    pub data: &'a [u8],
    little_endian: bool,
}

impl<'a> Entry<'a> {
    /// How many values it has.
    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.kind.bytes()
    }

    /// Its values as unsigned numbers, none where they are of another kind.
    pub(crate) fn unsigned(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (data, little_endian) = (self.data, self.little_endian);
        let bytes = match self.kind {
            Kind::Unsigned(bytes) => bytes,
            _ => data.len() + 1,
        };
        data.chunks_exact(bytes).map(move |value| number(value, little_endian))
    }

    /// One of its values, as an unsigned number.
    pub(crate) fn unsigned_at(&self, index: usize) -> Option<u64> {
        let Kind::Unsigned(bytes) = self.kind else { return None };
        let start = index.checked_mul(bytes)?;
        Some(number(
            self.data.get(start..start.checked_add(bytes)?)?,
            self.little_endian,
        ))
    }

    /// Its first value, whatever kind of number it is.
    pub(crate) fn number(&self) -> Option<f64> {
        let at = |start: usize, bytes: usize| Some(number(self.data.get(start..start + bytes)?, self.little_endian));
        let signed = |value: u64, bytes: usize| (value << (64 - 8 * bytes)) as i64 >> (64 - 8 * bytes);
        Some(match self.kind {
            Kind::Unsigned(bytes) => at(0, bytes)? as f64,
            Kind::Signed(bytes) => signed(at(0, bytes)?, bytes) as f64,
            Kind::Rational => at(0, 4)? as f64 / at(4, 4)? as f64,
            Kind::SignedRational => signed(at(0, 4)?, 4) as f64 / signed(at(4, 4)?, 4) as f64,
            Kind::Float => f64::from(f32::from_bits(at(0, 4)? as u32)),
            Kind::Double => f64::from_bits(at(0, 8)?),
            Kind::Opaque => return None,
        })
    }
}

fn number(bytes: &[u8], little_endian: bool) -> u64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little_endian {
        bytes.iter().rev().fold(0, fold)
    } else {
        bytes.iter().fold(0, fold)
    }
}

/// A directory whose entries are read where they stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directory<'a> {
    bytes: &'a [u8],
    little_endian: bool,
    big: bool,
    first: usize,
    count: u64,
}

impl<'a> Directory<'a> {
    /// Finds the first directory by a file's header; `None` where there is no such header. One that the file does not hold is empty.
    pub(crate) fn find(bytes: &'a [u8]) -> Option<Self> {
        let little_endian = match bytes.first_chunk::<2>()? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        // 42 is a classic file, also with its two bytes exchanged, which some writers do; 43 is a big one.
        let big = match (little_endian, bytes.get(2..4)?) {
            (_, [42, 0] | [0, 42]) => false,
            (true, [43, 0]) | (false, [0, 43]) => true,
            _ => return None,
        };
        let at = |start: usize, length: usize| {
            let value = bytes.get(start..start.checked_add(length)?)?;
            Some(number(value, little_endian))
        };
        let [place, place_bytes, count_bytes] = if big { [8, 8, 8] } else { [4, 4, 2] };
        let start = at(place, place_bytes).and_then(|start| usize::try_from(start).ok());
        let (first, count) = start
            .and_then(|start| Some((start.checked_add(count_bytes)?, at(start, count_bytes)?)))
            .unwrap_or_default();
        Some(Self {
            bytes,
            little_endian,
            big,
            first,
            count,
        })
    }

    /// Whether numbers are stored with their lowest byte first.
    pub(crate) fn little_endian(&self) -> bool {
        self.little_endian
    }

    /// Whether its places have eight bytes.
    pub(crate) fn big(&self) -> bool {
        self.big
    }

    /// Whether it has more entries than are read.
    pub(crate) fn too_long(&self) -> bool {
        self.count > ENTRIES_MAX && self.entry(ENTRIES_MAX as usize).is_some()
    }

    /// The first entry with this tag whose values lie in the file.
    pub(crate) fn entry_of(&self, tag: u16) -> Option<Entry<'a>> {
        (0..self.count.min(ENTRIES_MAX) as usize)
            .map_while(|index| self.entry(index))
            .find_map(|entry| entry.filter(|entry| entry.tag == tag))
    }

    /// `None` where the file ends, `Some(None)` where the entry's values are of an unknown kind, absent, or not in the file.
    fn entry(&self, index: usize) -> Option<Option<Entry<'a>>> {
        let [length, count_bytes] = if self.big { [20, 8] } else { [12, 4] };
        let start = self.first.checked_add(index.checked_mul(length)?)?;
        let entry = self.bytes.get(start..start.checked_add(length)?)?;
        let at = |from: usize, bytes: usize| number(&entry[from..from + bytes], self.little_endian);
        Some(Kind::of(at(2, 2)).and_then(|kind| {
            let size = usize::try_from(at(4, count_bytes)).ok()?.checked_mul(kind.bytes())?;
            let inline = &entry[4 + count_bytes..];
            let data = match inline.get(..size) {
                Some(data) => data,
                None => {
                    let place = usize::try_from(at(4 + count_bytes, count_bytes)).ok()?;
                    self.bytes.get(place..place.checked_add(size)?)?
                }
            };
            (!data.is_empty()).then_some(Entry {
                tag: at(0, 2) as u16,
                kind,
                data,
                little_endian: self.little_endian,
            })
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A big-endian classic file of these entries: tag, code of the kind, count and the four bytes of the value.
    pub(crate) fn file(entries: &[(u16, u16, u32, [u8; 4])], after: &[u8]) -> Vec<u8> {
        let mut file = b"MM\0*\0\0\0\x08".to_vec();
        file.extend((entries.len() as u16).to_be_bytes());
        for (tag, kind, count, value) in entries {
            file.extend(tag.to_be_bytes());
            file.extend(kind.to_be_bytes());
            file.extend(count.to_be_bytes());
            file.extend(value);
        }
        file.extend([0; 4]);
        file.extend(after);
        file
    }

    fn first(file: &[u8], tag: u16) -> Option<f64> {
        Directory::find(file)?.entry_of(tag)?.number()
    }

    #[test]
    fn numbers_of_every_kind() {
        let check =
            |kind, value, expected| assert_eq!(first(&file(&[(7, kind, 1, value)], &[]), 7), expected, "{kind}");
        check(1, [6, 0, 0, 0], Some(6.0));
        check(2, [b'6', 0, 0, 0], None);
        check(3, [0, 6, 0, 0], Some(6.0));
        check(4, [0, 0, 0, 6], Some(6.0));
        check(6, [0xfe, 0, 0, 0], Some(-2.0));
        check(7, [6, 0, 0, 0], None);
        check(8, [0xff, 0xfe, 0, 0], Some(-2.0));
        check(9, [0xff, 0xff, 0xff, 0xfe], Some(-2.0));
        check(11, 6_f32.to_be_bytes(), Some(6.0));
        check(14, [0, 6, 0, 0], None);
        let far = |kind, value: &[u8]| first(&file(&[(7, kind, 1, [0, 0, 0, 26])], value), 7);
        assert_eq!(far(5, &[0, 0, 0, 6, 0, 0, 0, 2]), Some(3.0));
        assert_eq!(far(10, &[0xff, 0xff, 0xff, 0xfa, 0, 0, 0, 2]), Some(-3.0));
        assert_eq!(far(12, &6_f64.to_be_bytes()), Some(6.0));
        assert_eq!(far(16, &6_u64.to_be_bytes()), Some(6.0));
        assert_eq!(far(12, &[0; 7]), None);
    }

    #[test]
    fn the_first_whole_entry_of_a_tag_counts() {
        let entries = [
            (7, 99, 1, [0; 4]),
            (7, 3, 9, [0, 0, 0, 200]),
            (7, 3, 0, [0; 4]),
            (7, 3, 2, [0, 6, 0, 9]),
            (7, 3, 1, [0, 8, 0, 0]),
        ];
        let file = file(&entries, &[]);
        let entry = Directory::find(&file).unwrap().entry_of(7).unwrap();
        assert_eq!((entry.count(), entry.unsigned().collect::<Vec<_>>()), (2, vec![6, 9]));
        // The file may end within the directory.
        let cut = &file[..10 + 4 * 12];
        assert_eq!(first(cut, 7), Some(6.0));
    }

    #[test]
    fn both_orders_and_both_sizes() {
        let little = b"II*\0\x08\0\0\0\x01\0\x07\0\x03\0\x01\0\0\0\x06\0\0\0";
        assert_eq!(first(little, 7), Some(6.0));
        let swapped = b"II\0*\x08\0\0\0\x01\0\x07\0\x03\0\x01\0\0\0\x06\0\0\0";
        assert_eq!(first(swapped, 7), Some(6.0));
        let big = [
            &b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"[..],
            b"\x07\0\x03\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(first(&big, 7), Some(6.0));
        assert!(Directory::find(b"II*").is_none());
        assert!(Directory::find(b"IM*\0\0\0\0\0").is_none());
        assert_eq!(first(b"MM\0*\xff\xff\xff\xff", 7), None);
    }

    #[test]
    fn long_directories_are_found_out() {
        let many = [&b"II*\0\x08\0\0\0\xff\xff"[..], &[0; 12 * 5000]].concat();
        assert!(Directory::find(&many).unwrap().too_long());
        assert!(!Directory::find(&many[..12 * 4000]).unwrap().too_long());
    }
}
