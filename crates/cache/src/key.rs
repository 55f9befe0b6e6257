//! What an entry depends on, as one hash.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256, in hexadecimal where it is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of all that a reader gives, of which it holds a part at a time.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(mut reader: impl Read) -> io::Result<Self> {
        const PART_BYTES: usize = 256 << 10;
        let mut hash = Sha256::new();
        let mut part = vec![0; PART_BYTES];
        loop {
            match reader.read(&mut part)? {
                0 => return Ok(Self(hash.finalize().into())),
                read => hash.update(&part[..read]),
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a SHA-256 is 64 hexadecimal digits";
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(WRONG);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            let value = digit(high).zip(digit(low)).ok_or(WRONG)?;
            *byte = (value.0 * 16 + value.1) as u8;
        }
        Ok(Self(bytes))
    }
}

/// What an entry depends on, as one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(Digest);

impl Key {
    /// Of these named parts, in this order.
    pub fn of(parts: &[(&str, &[u8])]) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in parts {
            // With its length, so that no two lists of parts are the same bytes.
            for bytes in [name.as_bytes(), value] {
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        }
        Self(Digest(hash.finalize().into()))
    }

    pub(crate) fn digest(&self) -> Digest {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_part_ends_matters() {
        let key = |a: &str, b: &str| Key::of(&[("a", a.as_bytes()), ("b", b.as_bytes())]);
        assert_eq!(key("x", "yz"), key("x", "yz"));
        assert_ne!(key("x", "yz"), key("xy", "z"));
        assert_ne!(Key::of(&[("a", b"x")]), Key::of(&[("ax", b"")]));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::of(b"abc");
        assert!(digest.to_string().starts_with("ba7816bf"));
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap(), digest);
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        for wrong in ["", "ba", "é", &"g".repeat(64), &"a".repeat(66)] {
            assert!(Digest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
