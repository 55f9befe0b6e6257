//! Compressed bodies: gzip and deflate (RFC 9110, section 8.4.1), unpacked within a limit. Pure: bytes in, bytes out.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

/// What one byte may unpack to at most, about.
pub(super) const RATIO_MAX: usize = 1032;
/// What is unpacked between two looks at the limits.
const PIECE_BYTES: usize = 64 << 10;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// zlib's format, which HTTP and gRPC call deflate; as some clients send it, also without its header.
    Deflate,
}

/// Why a body was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError<E> {
    /// It holds more than it may.
    #[error("the unpacked body has more than {0} bytes")]
    TooLarge(usize),
    /// It says that it holds more than it may.
    #[error("the body's end says that it unpacks to {bytes} bytes; it may have {bytes_max}")]
    AnnouncedTooLarge {
        /// What it says.
        bytes: usize,
        /// What it may have.
        bytes_max: usize,
    },
    /// It is not what it says.
    #[error("the body is not {name} as it says: {error}")]
    Broken {
        /// The coding.
        name: &'static str,
        /// What is wrong.
        error: io::Error,
    },
    /// There is no memory for it.
    #[error("no memory for the unpacked body")]
    Refused(E),
}

impl Coding {
    /// The coding that HTTP and gRPC call so.
    pub(super) fn called(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Unpacks `bytes`, at most to `bytes_max`. `hold` is told what the unpacked bytes take in memory before they take it.
    pub(super) fn unpack<E>(
        self,
        bytes: Bytes,
        bytes_max: usize,
        hold: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Bytes, UnpackError<E>> {
        match self {
            Self::Identity => Ok(bytes),
            Self::Gzip if announced(&bytes) > bytes_max => Err(UnpackError::AnnouncedTooLarge {
                bytes: announced(&bytes),
                bytes_max,
            }),
            Self::Gzip => self.read(MultiGzDecoder::new(&bytes[..]), bytes_max, hold),
            Self::Deflate if is_zlib(&bytes) => self.read(ZlibDecoder::new(&bytes[..]), bytes_max, hold),
            Self::Deflate => self.read(DeflateDecoder::new(&bytes[..]), bytes_max, hold),
        }
    }

    fn read<E>(
        self,
        mut reader: impl Read,
        bytes_max: usize,
        mut hold: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Bytes, UnpackError<E>> {
        let mut all: Vec<u8> = Vec::new();
        loop {
            if all.capacity() - all.len() < PIECE_BYTES {
                let capacity = (all.capacity() * 2)
                    .max(PIECE_BYTES)
                    .min(bytes_max.saturating_add(PIECE_BYTES));
                // The old buffer is there until the new one is filled.
                hold(capacity.saturating_add(all.len())).map_err(UnpackError::Refused)?;
                all.reserve_exact(capacity.saturating_sub(all.len()).max(PIECE_BYTES));
            }
            let mut piece = reader.by_ref().take(PIECE_BYTES as u64);
            let name = self.name();
            let read = piece
                .read_to_end(&mut all)
                .map_err(|error| UnpackError::Broken { name, error })?;
            if all.len() > bytes_max {
                return Err(UnpackError::TooLarge(bytes_max));
            }
            if read == 0 {
                return Ok(all.into());
            }
        }
    }

    /// Packs `bytes`, quickly rather than small.
    pub(super) fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let out = Vec::with_capacity(bytes.len() / 4 + 64);
        match self {
            Self::Identity => Ok(bytes.to_vec()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// Bytes to which gzip unpacks at least, as its end says: those of its last member, but for multiples of 4 GiB (RFC 1952, section 2.3.1).
/// Zero where so few bytes cannot unpack to as many. What says less than it holds has to be unpacked to be known.
fn announced(bytes: &[u8]) -> usize {
    let announced = bytes.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if announced > bytes.len().saturating_mul(RATIO_MAX) {
        return 0;
    }
    announced
}

/// Whether deflated bytes begin with zlib's header (RFC 1950, section 2.2).
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(coding: Coding, bytes: &[u8], bytes_max: usize) -> Result<Bytes, UnpackError<()>> {
        coding.unpack(Bytes::copy_from_slice(bytes), bytes_max, |_| Ok(()))
    }

    fn text() -> Vec<u8> {
        (0..200_000u32).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Deflate] {
            for bytes in [text(), Vec::new()] {
                let packed = coding.pack(&bytes).unwrap();
                assert_eq!(unpack(coding, &packed, bytes.len()).unwrap(), bytes, "{coding:?}");
            }
        }
    }

    #[test]
    fn deflate_without_its_header_is_read_too() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&text()).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(unpack(Coding::Deflate, &packed, 200_000).unwrap(), text());
    }

    #[test]
    fn unpacked_bytes_are_limited() {
        let packed = Coding::Gzip.pack(&vec![0; 50 << 20]).unwrap();
        assert!(packed.len() < 1 << 20);
        let mut held_max = 0;
        let mut unpacked = |packed: Vec<u8>| {
            Coding::Gzip.unpack(packed.into(), 1 << 20, |held| {
                held_max = held_max.max(held);
                Ok::<(), ()>(())
            })
        };
        // One that says how much it holds is not unpacked at all, one that lies as far as it may be.
        let mut lying = packed.clone();
        lying.extend(Coding::Gzip.pack(b"").unwrap());
        assert!(matches!(unpacked(lying), Err(UnpackError::TooLarge(_))));
        assert!((1..=4 << 20).contains(&held_max), "{held_max}");
        let mut nothing_held = |_| -> Result<(), ()> { panic!("nothing is unpacked") };
        let outcome = Coding::Gzip.unpack(packed.into(), 1 << 20, &mut nothing_held);
        assert!(matches!(outcome, Err(UnpackError::AnnouncedTooLarge { bytes, .. }) if bytes == 50 << 20));
    }

    #[test]
    fn memory_that_is_refused_ends_it() {
        let packed = Coding::Deflate.pack(&text()).unwrap();
        let outcome = Coding::Deflate.unpack(
            packed.into(),
            1 << 20,
            |held| if held > 100_000 { Err(held) } else { Ok(()) },
        );
        assert!(matches!(outcome, Err(UnpackError::Refused(_))));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let packed = Coding::Gzip.pack(&text()).unwrap();
        let cut = &packed[..packed.len() / 2];
        for (coding, bytes) in [
            (Coding::Gzip, cut),
            (Coding::Gzip, &b"no gzip"[..]),
            (Coding::Deflate, &b"\xff\xff\xff"[..]),
        ] {
            assert!(
                matches!(unpack(coding, bytes, 1 << 20), Err(UnpackError::Broken { .. })),
                "{coding:?}"
            );
        }
    }
}
