//! The bytes of an entry: `[magic][length of the head][SHA-256 of the head][head, JSON][sections]`, each section at a multiple of
//! [`ALIGNMENT`]. Pure: bytes in, bytes out.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::key::{Digest, Key};

/// What an entry begins with; its last digit is the version of the format.
const MAGIC: &[u8; 8] = b"rpsvcch1";
/// How many of them name the program, not the version.
const MAGIC_NAME: usize = 7;
/// Bytes before the head.
pub(super) const PREFIX: usize = MAGIC.len() + 4 + 32;
/// Bytes of a head at most.
const HEAD_BYTES_MAX: usize = 64 << 20;
/// What a section's place is a multiple of: a cache line.
pub(super) const ALIGNMENT: usize = 64;

/// Why an entry is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Another file, or one that is cut off.
    #[error("it is no cache entry, or damaged")]
    NoEntry,
    /// The format of another version of this program.
    #[error("another version of this program wrote it")]
    Version,
    /// The entry of something else.
    #[error("it is the entry of something else: its key is {found}")]
    Foreign {
        /// The key that the entry has.
        found: Digest,
    },
    /// Its bytes are not those that were written.
    #[error("it is damaged: {what} has another SHA-256 than was written")]
    Damaged {
        /// The head, or a section.
        what: String,
    },
    /// It lacks a section.
    #[error("it has no section `{0}`")]
    Missing(String),
    /// A section is not what it ought to be.
    #[error("its section `{section}` is wrong: {reason}")]
    Content {
        /// The section.
        section: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: Digest,
    sections: Vec<SectionHead>,
}

/// Where a section is, and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SectionHead {
    pub(super) name: String,
    /// From the first section on.
    offset: usize,
    length: usize,
    pub(super) sha256: Digest,
}

/// A head and where the sections of it lie in the file.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) sections: Vec<(SectionHead, Range<usize>)>,
}

/// What stands before the sections of an entry, up to the first of them; the sections follow, each filled up to a multiple of
/// [`ALIGNMENT`].
pub(super) fn head(key: &Key, sections: impl IntoIterator<Item = (String, usize, Digest)>) -> Vec<u8> {
    let mut offset = 0;
    let placed = sections.into_iter().map(|(name, length, sha256)| {
        let place = offset;
        offset += length.next_multiple_of(ALIGNMENT);
        SectionHead {
            name,
            offset: place,
            length,
            sha256,
        }
    });
    let head = Head {
        key: key.digest(),
        sections: placed.collect(),
    };
    // Numbers and texts: writing them does not fail.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let mut bytes = Vec::with_capacity(PREFIX + head.len() + ALIGNMENT);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(Digest::of(&head).bytes());
    bytes.extend_from_slice(&head);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// Reads the head of an entry and checks all of it but the sections' contents.
///
/// # Errors
/// Where it is none, of another version, of another key, or damaged.
pub(super) fn parse(file: &[u8], key: &Key) -> Result<Parsed, EntryError> {
    let (magic, rest) = file.split_first_chunk::<8>().ok_or(EntryError::NoEntry)?;
    if magic[..MAGIC_NAME] != MAGIC[..MAGIC_NAME] {
        return Err(EntryError::NoEntry);
    }
    if magic != MAGIC {
        return Err(EntryError::Version);
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(EntryError::NoEntry)?;
    let (sha256, rest) = rest.split_first_chunk::<32>().ok_or(EntryError::NoEntry)?;
    let length = u32::from_le_bytes(*length) as usize;
    let head = rest.get(..length).filter(|_| length <= HEAD_BYTES_MAX);
    let head = head.ok_or(EntryError::NoEntry)?;
    if Digest::of(head).bytes() != sha256 {
        return Err(EntryError::Damaged {
            what: "the head".to_owned(),
        });
    }
    let Head { key: found, sections } = serde_json::from_slice(head).map_err(|_| EntryError::NoEntry)?;
    if found != key.digest() {
        return Err(EntryError::Foreign { found });
    }
    let first = (PREFIX + length).next_multiple_of(ALIGNMENT);
    let place = |section: SectionHead| {
        let start = first.checked_add(section.offset)?;
        let end = start.checked_add(section.length)?;
        (start.is_multiple_of(ALIGNMENT) && end <= file.len()).then_some((section, start..end))
    };
    let sections = sections.into_iter().map(place).collect::<Option<_>>();
    Ok(Parsed {
        sections: sections.ok_or(EntryError::NoEntry)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: [(&str, &[u8]); 2] = [("a", b"one"), ("b", b"two and more")];

    fn key() -> Key {
        Key::of(&[("model", b"m")])
    }

    fn file() -> Vec<u8> {
        let heads = SECTIONS.map(|(name, bytes)| (name.to_owned(), bytes.len(), Digest::of(bytes)));
        let mut file = head(&key(), heads);
        for (_, bytes) in SECTIONS {
            file.extend_from_slice(bytes);
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        }
        file
    }

    #[test]
    fn what_was_written_is_read() {
        let file = file();
        let parsed = parse(&file, &key()).unwrap();
        for ((head, place), (name, bytes)) in parsed.sections.iter().zip(SECTIONS) {
            assert_eq!((&*head.name, &file[place.clone()]), (name, bytes));
            assert_eq!(head.sha256, Digest::of(bytes));
            assert!(place.start.is_multiple_of(ALIGNMENT));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_of_the_head_is_found() {
        let file = file();
        let last = parse(&file, &key()).unwrap().sections[1].1.end;
        for length in 0..last {
            assert!(parse(&file[..length], &key()).is_err(), "{length}");
        }
        let head = file.iter().rposition(|byte| *byte == b'}').unwrap();
        for place in 0..=head {
            let mut damaged = file.clone();
            damaged[place] ^= 0x10;
            assert!(parse(&damaged, &key()).is_err(), "{place}");
        }
    }

    #[test]
    fn the_reason_is_named() {
        let error = |file: &[u8], key: &Key| parse(file, key).unwrap_err();
        let mut newer = file();
        newer[7] = b'9';
        assert_eq!(error(&newer, &key()), EntryError::Version);
        assert_eq!(error(b"GIF89a..", &key()), EntryError::NoEntry);
        let other = Key::of(&[]);
        let found = key().digest();
        assert_eq!(error(&file(), &other), EntryError::Foreign { found });
    }

    #[test]
    fn sections_outside_of_the_file_are_refused() {
        let heads = [("a".to_owned(), usize::MAX / 2, Digest::of(b""))];
        assert_eq!(parse(&head(&key(), heads), &key()), Err(EntryError::NoEntry));
    }
}
