//! A bit a weight, as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Packs bits, lowest first, into base64.
pub(super) fn encode(bits: &[bool]) -> String {
    let bytes: Vec<u8> = bits
        .chunks(8)
        .map(|chunk| chunk.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect();
    STANDARD.encode(bytes)
}

/// The first `count` bits; `None` where the text is not base64 of exactly as many bytes as they take.
pub(super) fn decode(text: &str, count: usize) -> Option<Vec<bool>> {
    let bytes = STANDARD.decode(text).ok()?;
    (bytes.len() == count.div_ceil(8)).then(|| (0..count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(bits in proptest::collection::vec(any::<bool>(), 0..100)) {
            prop_assert_eq!(decode(&encode(&bits), bits.len()), Some(bits.clone()));
            prop_assert_eq!(decode(&encode(&bits), bits.len() + 8), None);
        }
    }
}
