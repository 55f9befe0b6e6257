//! Tensors of the Open Inference Protocol as raw bytes behind the JSON.

use bytes::{Buf, Bytes};

/// A type of element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Datatype {
    /// 32-bit floating point.
    Fp32,
    /// Byte strings of any length.
    Bytes,
    /// One that is not read here.
    Other,
}

impl Datatype {
    /// The type that the protocol calls so.
    pub(in crate::http) fn called(name: &str) -> Self {
        match name {
            "FP32" => Self::Fp32,
            "BYTES" => Self::Bytes,
            _ => Self::Other,
        }
    }
}

/// How many FP32 elements raw bytes are.
pub(in crate::http) fn floats_len(raw: &[u8]) -> Result<usize, String> {
    match raw.as_chunks::<4>() {
        (chunks, []) => Ok(chunks.len()),
        _ => Err(format!("{} bytes are no whole number of FP32 elements", raw.len())),
    }
}

/// FP32 elements out of raw little-endian bytes, cut into tensors of `len` elements.
pub(in crate::http) fn floats(raw: &[u8], len: usize) -> Vec<Vec<f32>> {
    let (elements, _) = raw.as_chunks::<4>();
    let tensor = |elements: &[[u8; 4]]| elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    elements.chunks(len.max(1)).map(tensor).collect()
}

/// BYTES elements out of raw bytes: each a little-endian 32-bit length and that many bytes. Nothing is copied; more than `count`
/// are an error.
pub(in crate::http) fn strings(mut raw: Bytes, count: usize) -> Result<Vec<Bytes>, String> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        if all.len() == count {
            return Err(format!("the shape has {count} elements, the data more"));
        }
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

/// The raw bytes of BYTES elements.
pub(in crate::http) fn length_prefixed(strings: &[String]) -> Vec<u8> {
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

    #[test]
    fn cut_elements_are_refused() {
        assert!(floats_len(&[0; 7]).is_err());
        assert!(strings(Bytes::from_static(&[1, 0]), 9).is_err());
        assert!(strings(Bytes::from_static(&[2, 0, 0, 0, 1]), 9).is_err());
        assert!(strings(Bytes::from_static(&[255, 255, 255, 255]), 9).is_err());
    }

    #[test]
    fn the_first_string_too_many_ends_it() {
        let empty = Bytes::from(vec![0; 4 << 20]);
        assert_eq!(strings(empty.slice(..12), 3).unwrap().len(), 3);
        assert_eq!(
            strings(empty, 3).unwrap_err(),
            "the shape has 3 elements, the data more"
        );
    }

    proptest! {
        #[test]
        fn byte_strings_survive(all in prop::collection::vec("[a-z]{0,9}", 0..9)) {
            let back = strings(Bytes::from(length_prefixed(&all)), all.len()).unwrap();
            prop_assert_eq!(back, all);
        }

        #[test]
        fn any_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let values: usize = floats(&raw, 3).iter().map(Vec::len).sum();
            prop_assert_eq!(values, raw.len() / 4);
            if let Ok(all) = strings(Bytes::from(raw.clone()), 200) {
                prop_assert_eq!(all.iter().map(|s| s.len() + 4).sum::<usize>(), raw.len());
            }
        }
    }
}
