//! Lists of numbers as short texts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Exponents in quarters: a signed byte a channel, in base64.
pub(super) mod exponents {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(exponents: &[i8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::exponents_text(exponents))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text);
        let bytes = bytes.map_err(|e| D::Error::custom(format!("exponents are signed bytes in base64: {e}")))?;
        Ok(bytes.into_iter().map(u8::cast_signed).collect())
    }
}

/// Places as numbers with spaces between them.
pub(super) mod places {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(places: &[usize], serializer: S) -> Result<S::Ok, S::Error> {
        let places: Vec<String> = places.iter().map(usize::to_string).collect();
        serializer.serialize_str(&places.join(" "))
    }

    /// They must ascend.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let places: Result<Vec<usize>, _> = text.split_whitespace().map(str::parse).collect();
        let places = places.ok().filter(|places| places.is_sorted_by(|a, b| a < b));
        places.ok_or_else(|| D::Error::custom("not whole numbers that ascend, with spaces between them"))
    }
}

/// The text of exponents in quarters.
pub(super) fn exponents_text(exponents: &[i8]) -> String {
    STANDARD.encode(exponents.iter().map(|e| e.cast_unsigned()).collect::<Vec<u8>>())
}

/// Numbers as 16-bit multiples of a power of two: the power's exponent, a colon, and the multiples in base64, little-endian.
pub(super) mod numbers {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(numbers))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::decode(&text).ok_or_else(|| D::Error::custom("not an exponent, a colon, and 16-bit numbers in base64"))
    }
}

/// The exponents that a file may have.
const EXPONENTS: std::ops::RangeInclusive<i32> = -300..=300;

/// The numbers as they will be read again.
pub(super) fn rounded(numbers: Vec<f64>) -> Vec<f64> {
    let step = f64::from(exponent(&numbers)).exp2();
    numbers
        .into_iter()
        .map(|n| f64::from((n / step).round() as i16) * step)
        .collect()
}

/// That of the smallest power of two of which 32,767 reach the largest number.
fn exponent(numbers: &[f64]) -> i32 {
    let finite = numbers.iter().map(|n| n.abs()).filter(|n| n.is_finite());
    let most = finite.fold(0.0, f64::max);
    let exponent = (most / f64::from(i16::MAX)).log2().ceil();
    (exponent as i32).clamp(*EXPONENTS.start(), *EXPONENTS.end())
}

fn encode(numbers: &[f64]) -> String {
    let exponent = exponent(numbers);
    let step = f64::from(exponent).exp2();
    let bytes = numbers.iter().flat_map(|n| ((n / step).round() as i16).to_le_bytes());
    format!("{exponent}:{}", STANDARD.encode(bytes.collect::<Vec<u8>>()))
}

fn decode(text: &str) -> Option<Vec<f64>> {
    let (exponent, multiples) = text.split_once(':')?;
    let exponent: i32 = exponent.parse().ok()?;
    let bytes = STANDARD.decode(multiples).ok()?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !EXPONENTS.contains(&exponent) || !rest.is_empty() {
        return None;
    }
    let step = f64::from(exponent).exp2();
    Some(
        pairs
            .iter()
            .map(|pair| f64::from(i16::from_le_bytes(*pair)) * step)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_list_of_numbers_is_none() {
        for text in ["", "AAAA", "1:A", "1:AA==", "301:AAA=", "x:AAA="] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("1:AQD//w=="), Some(vec![2.0, -2.0]));
        assert_eq!(decode("-3:"), Some(vec![]));
    }

    proptest! {
        #[test]
        fn numbers_come_back_nearly_and_then_exactly(numbers in proptest::collection::vec(-1e3f64..1e3, 0..50), scale in -30i32..30) {
            let numbers: Vec<f64> = numbers.into_iter().map(|n| n * f64::from(scale).exp2()).collect();
            let read = decode(&encode(&numbers)).unwrap();
            let most = numbers.iter().fold(0.0, |most, n| f64::max(most, n.abs()));
            for (a, b) in numbers.iter().zip(&read) {
                prop_assert!((a - b).abs() <= most / 32_000.0);
            }
            prop_assert_eq!(&rounded(numbers), &read);
            prop_assert_eq!(decode(&encode(&read)).unwrap(), read);
        }
    }
}
