//! Tensors of the Open Inference Protocol, on the wire and off it: a JSON array, or raw bytes behind the JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A type of element, as the protocol calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Datatype {
    /// 32-bit floating point.
    #[serde(rename = "FP32")]
    Fp32,
    /// Byte strings of any length.
    #[serde(rename = "BYTES")]
    Bytes,
    /// One that is not read here.
    #[serde(other)]
    Other,
}

/// The elements of a JSON `data` array, nested as deep as it likes, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    /// Nothing was in it.
    Empty,
    /// Numbers.
    Numbers(Vec<f32>),
    /// Strings.
    Strings(Vec<String>),
}

/// Collects nested arrays into one [`Data`].
struct Collect;

enum Element {
    Leaf(Leaf),
    Nested(Data),
}

enum Leaf {
    Number(f32),
    String(String),
}

impl Data {
    fn push<E: Error>(&mut self, leaf: Leaf) -> Result<(), E> {
        match (&mut *self, leaf) {
            (Self::Numbers(all), Leaf::Number(x)) => all.push(x),
            (Self::Strings(all), Leaf::String(s)) => all.push(s),
            (Self::Empty, Leaf::Number(x)) => *self = Self::Numbers(vec![x]),
            (Self::Empty, Leaf::String(s)) => *self = Self::Strings(vec![s]),
            _ => return Err(E::custom("`data` mixes numbers and strings")),
        }
        Ok(())
    }

    fn append<E: Error>(&mut self, other: Self) -> Result<(), E> {
        match (&mut *self, other) {
            (_, Self::Empty) => {}
            (Self::Empty, other) => *self = other,
            (Self::Numbers(all), Self::Numbers(more)) => all.extend(more),
            (Self::Strings(all), Self::Strings(more)) => all.extend(more),
            _ => return Err(E::custom("`data` mixes numbers and strings")),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Collect)
    }
}

impl<'de> Visitor<'de> for Collect {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers or of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut all = Data::Empty;
        while let Some(element) = seq.next_element::<Element>()? {
            match element {
                Element::Leaf(leaf) => all.push(leaf)?,
                Element::Nested(nested) => all.append(nested)?,
            }
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string or an array of them")
            }

            fn visit_f64<E: Error>(self, x: f64) -> Result<Element, E> {
                Ok(Element::Leaf(Leaf::Number(x as f32)))
            }

            fn visit_i64<E: Error>(self, x: i64) -> Result<Element, E> {
                Ok(Element::Leaf(Leaf::Number(x as f32)))
            }

            fn visit_u64<E: Error>(self, x: u64) -> Result<Element, E> {
                Ok(Element::Leaf(Leaf::Number(x as f32)))
            }

            fn visit_str<E: Error>(self, s: &str) -> Result<Element, E> {
                Ok(Element::Leaf(Leaf::String(s.to_owned())))
            }

            fn visit_string<E: Error>(self, s: String) -> Result<Element, E> {
                Ok(Element::Leaf(Leaf::String(s)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Element, A::Error> {
                Collect.visit_seq(seq).map(Element::Nested)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// FP32 elements out of raw little-endian bytes.
pub(super) fn floats(raw: &[u8]) -> Result<Vec<f32>, String> {
    let (chunks, rest) = raw.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of FP32 elements", raw.len()));
    }
    Ok(chunks.iter().map(|c| f32::from_le_bytes(*c)).collect())
}

/// BYTES elements out of raw bytes: each a little-endian 32-bit length and that many bytes. Nothing is copied.
pub(super) fn strings(mut raw: Bytes) -> Result<Vec<Bytes>, String> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        let Ok(length) = raw.try_get_u32_le() else {
            return Err(format!("element {}: its length is cut off", all.len()));
        };
        let length = length as usize;
        if length > raw.len() {
            return Err(format!(
                "element {}: {length} bytes are announced, {} follow",
                all.len(),
                raw.len()
            ));
        }
        all.push(raw.split_to(length));
    }
    Ok(all)
}

/// BYTES elements out of JSON strings, which hold them as base64.
pub(super) fn decoded(strings: &[String]) -> Result<Vec<Bytes>, String> {
    let decode = |(index, text): (usize, &String)| {
        STANDARD.decode(text).map(Bytes::from).map_err(|error| {
            format!(
                "element {index}: an image within JSON is a base64 string ({error}); the binary extension needs none"
            )
        })
    };
    strings.iter().enumerate().map(decode).collect()
}

/// The raw bytes of BYTES elements.
pub(super) fn length_prefixed(strings: &[String]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(strings.iter().map(|s| s.len() + 4).sum());
    for string in strings {
        raw.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_le_bytes());
        raw.extend_from_slice(string.as_bytes());
    }
    raw
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<Data, &str>) {
        let got = serde_json::from_str::<Data>(json).map_err(|e| e.to_string());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn arrays_are_flattened_in_order() {
        check("[]", Ok(Data::Empty));
        check("[[[]],[]]", Ok(Data::Empty));
        check("[1,2.5,-3]", Ok(Data::Numbers(vec![1.0, 2.5, -3.0])));
        check("[[[1],[2]],[[3],[4]]]", Ok(Data::Numbers(vec![1.0, 2.0, 3.0, 4.0])));
        check("[\"a\",[\"b\"]]", Ok(Data::Strings(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn what_is_no_tensor_is_refused() {
        check("[1,\"a\"]", Err("mixes numbers and strings"));
        check("[[1],[\"a\"]]", Err("mixes numbers and strings"));
        check("[true]", Err("a number, a string or an array"));
        check("[null]", Err("a number, a string or an array"));
        check("[{}]", Err("a number, a string or an array"));
        check("1", Err("an array of numbers or of strings"));
        check(&"[".repeat(10_000), Err("recursion limit"));
    }

    #[test]
    fn cut_elements_are_refused() {
        assert!(floats(&[0; 7]).is_err());
        assert!(strings(Bytes::from_static(&[1, 0])).is_err());
        assert!(strings(Bytes::from_static(&[2, 0, 0, 0, 1])).is_err());
        assert!(strings(Bytes::from_static(&[255, 255, 255, 255])).is_err());
        assert!(decoded(&["%".to_owned()]).is_err());
    }

    proptest! {
        #[test]
        fn byte_strings_survive(all in prop::collection::vec("[a-z]{0,9}", 0..9)) {
            let back = strings(Bytes::from(length_prefixed(&all))).unwrap();
            prop_assert_eq!(back, all);
        }

        #[test]
        fn any_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = floats(&raw);
            if let Ok(all) = strings(Bytes::from(raw.clone())) {
                prop_assert_eq!(all.iter().map(|s| s.len() + 4).sum::<usize>(), raw.len());
            }
        }
    }
}
