//! The first image file directory of a TIFF, of a classic or a big one, as far as it must be known before a decoder sees it.

/// Entries of a directory that are read; a camera's has fewer than a hundred.
const ENTRIES_MAX: u64 = 4096;

/// Values of one entry that are read: as many strips as a picture has rows, four times over.
const VALUES_MAX: u64 = 1 << 18;

/// What the `tiff` crate keeps of a directory within these limits at one time, in bytes: a value takes 32, offsets and lengths of
/// strips are kept as numbers besides.
pub(super) const TABLES_BYTES_MAX: u64 = 16 << 20;

/// The tag of an XMP packet, of a colour profile, and others that may be long and are not read with the rest.
const LONG: [u64; 5] = [700, 33723, 34377, 34675, 37500];

/// A file's bytes, read as numbers.
struct Numbers<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl Numbers<'_> {
    fn at(&self, position: usize, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(position..position.checked_add(length)?)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.little_endian {
            bytes.iter().rev().fold(0, fold)
        } else {
            bytes.iter().fold(0, fold)
        })
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// What it says.
    pub tag: u64,
    /// How many values it has.
    pub count: u64,
    /// Position of its first value, where that has two bytes and is alone.
    pub value: usize,
    /// The number there.
    pub number: u64,
}

/// The entries of the first directory, as far as the file goes.
pub(super) fn entries(encoded: &[u8]) -> impl Iterator<Item = Entry> {
    let numbers = Numbers {
        bytes: encoded,
        little_endian: encoded.starts_with(b"II"),
    };
    let big = numbers.at(2, 2) == Some(43);
    let [place, place_bytes, count_bytes, entry_bytes] = if big { [8, 8, 8, 20] } else { [4, 4, 2, 12] };
    let first = numbers
        .at(place, place_bytes)
        .and_then(|at| usize::try_from(at).ok())
        .and_then(|at| Some((numbers.at(at, count_bytes)?, at.checked_add(count_bytes)?)));
    let (count, mut at) = first.unwrap_or((0, 0));
    let [values_bytes, value] = if big { [8, 12] } else { [4, 8] };
    (0..count).map_while(move |_| {
        let entry = Entry {
            tag: numbers.at(at, 2)?,
            count: numbers.at(at.checked_add(4)?, values_bytes)?,
            value: at.checked_add(value)?,
            number: numbers.at(at.checked_add(value)?, 2)?,
        };
        at = at.checked_add(entry_bytes)?;
        Some(entry)
    })
}

/// Refuses a directory for which a decoder would allocate on the word of its counts.
pub(super) fn check(encoded: &[u8]) -> Result<(), String> {
    let mut entries_count = 0;
    for entry in entries(encoded) {
        entries_count += 1;
        if entries_count > ENTRIES_MAX {
            return Err(format!("its directory has more than {ENTRIES_MAX} entries"));
        }
        if entry.count > VALUES_MAX && !LONG.contains(&entry.tag) {
            return Err(format!(
                "its tag {} has {} values; {VALUES_MAX} are read at most",
                entry.tag, entry.count
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_judged_before_anything_is_read() {
        let file = |count: u32, tag: u16| {
            let entry = [&tag.to_le_bytes()[..], &[4, 0], &count.to_le_bytes(), &[9, 0, 0, 0]].concat();
            [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
        };
        assert_eq!(check(&file(1 << 18, 273)), Ok(()));
        let refused = check(&file(300_000, 273)).unwrap_err();
        assert_eq!(refused, "its tag 273 has 300000 values; 262144 are read at most");
        assert_eq!(check(&file(300_000, 700)), Ok(()));
        assert_eq!(check(b"II*\0\xff\xff\xff\xff"), Ok(()));
        assert_eq!(entries(b"MM").count(), 0);
        let many = [&b"II*\0\x08\0\0\0\xff\xff"[..], &[0; 12 * 5000]].concat();
        assert!(check(&many).unwrap_err().contains("4096 entries"));
    }
}
