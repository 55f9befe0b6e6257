//! The `data` of an input as it is parsed: each element goes where it stays, and the first one too many ends it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::json;
use crate::http::inference::{DataContent, Datatype, InferLimits, RANK_MAX, RequestError};

/// What may come, and what has.
#[derive(Debug)]
pub(super) struct Data {
    limits: InferLimits,
    /// Numbers of one image.
    image_len: usize,
    /// The elements that the shape announces, and the datatype, where they came before the data.
    pub(super) announced: Option<usize>,
    pub(super) datatype: Option<Datatype>,
    pub(super) content: DataContent,
    /// Elements that have come.
    pub(super) count: usize,
    /// Why the data was refused.
    pub(super) refusal: Option<RequestError>,
}

impl Data {
    pub(super) fn new(image_len: usize, limits: InferLimits) -> Self {
        Self {
            limits,
            image_len,
            announced: None,
            datatype: None,
            content: DataContent::Empty,
            count: 0,
            refusal: None,
        }
    }

    fn number(&mut self, x: f32) -> Result<(), RequestError> {
        self.another()?;
        if !x.is_finite() {
            return Err(RequestError::not_finite());
        }
        if matches!(self.content, DataContent::Empty) {
            self.content = DataContent::Tensors(Vec::new());
        }
        let DataContent::Tensors(images) = &mut self.content else {
            return Err(mixed());
        };
        match images.last_mut() {
            Some(last) if last.len() < self.image_len => last.push(x),
            _ => {
                if images.len() == self.limits.images_max {
                    return Err(self.limits.too_many_images());
                }
                let mut image = Vec::with_capacity(self.image_len);
                image.push(x);
                images.push(image);
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), RequestError> {
        self.another()?;
        if self.datatype == Some(Datatype::Fp32) {
            return Err(RequestError::Malformed("FP32 `data` holds strings".to_owned()));
        }
        if matches!(self.content, DataContent::Empty) {
            self.content = DataContent::Images(Vec::new());
        }
        let DataContent::Images(images) = &mut self.content else {
            return Err(mixed());
        };
        if images.len() == self.limits.images_max {
            return Err(self.limits.too_many_images());
        }
        let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
        self.limits.check_image(
            images.len(),
            base64::decoded_len_estimate(text.len()).saturating_sub(padding),
        )?;
        let image = STANDARD.decode(text).map_err(|error| {
            RequestError::Malformed(format!(
                "element {}: an image within JSON is a base64 string ({error}); the binary extension needs none",
                images.len()
            ))
        })?;
        images.push(image.into());
        Ok(())
    }

    /// Counts another element, if the shape has it.
    fn another(&mut self) -> Result<(), RequestError> {
        match self.announced {
            Some(announced) if self.count >= announced => Err(RequestError::Malformed(format!(
                "the shape has {announced} elements, the data more"
            ))),
            _ => {
                self.count += 1;
                Ok(())
            }
        }
    }

    /// Keeps why the data was refused; the parser then ends with an error of its own.
    fn refuse<E: Error>(&mut self, outcome: Result<(), RequestError>) -> Result<(), E> {
        outcome.map_err(|refusal| {
            let error = E::custom(&refusal);
            self.refusal = Some(refusal);
            error
        })
    }
}

fn mixed() -> RequestError {
    RequestError::Malformed("`data` mixes numbers and strings".to_owned())
}

/// Reads an array, nested as a tensor may be, or one element of it. Returns whether there was something other than null.
pub(super) struct Reader<'a> {
    data: &'a mut Data,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a mut Data) -> Self {
        Self { data, depth: 0 }
    }

    fn leaf<E: Error>(self, read: impl FnOnce(&mut Data) -> Result<(), RequestError>) -> Result<bool, E> {
        if self.depth == 0 {
            return Err(E::custom("`data` must be an array of numbers or of strings"));
        }
        let outcome = read(self.data);
        self.data.refuse(outcome)?;
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`data` as an array of numbers or of strings")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        match self.depth {
            0 => Ok(false),
            _ => Err(E::invalid_type(Unexpected::Unit, &self)),
        }
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<bool, E> {
        self.leaf(|data| data.number(x as f32))
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<bool, E> {
        self.leaf(|data| data.number(x as f32))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<bool, E> {
        self.leaf(|data| data.number(x as f32))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        if self.depth == 0 {
            return Err(json::no_text(&self));
        }
        self.leaf(|data| data.string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let Self { data, depth } = self;
        if depth == RANK_MAX {
            let deep = RequestError::Malformed(format!("`data` is nested deeper than {RANK_MAX} arrays"));
            data.refuse(Err(deep))?;
        }
        let mut empty = true;
        while seq.next_element_seed(Reader { data, depth: depth + 1 })?.is_some() {
            empty = false;
        }
        if empty && depth > 0 {
            // No tensor has one, and elements do not bound their number.
            data.refuse(Err(RequestError::Malformed("`data` holds an empty array".to_owned())))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LIMITS: InferLimits = InferLimits {
        images_max: 3,
        image_bytes_max: 4,
    };

    fn read(json: &str, data: &mut Data) -> Result<bool, String> {
        let mut parser = serde_json::Deserializer::from_str(json);
        let read = Reader::new(data).deserialize(&mut parser);
        read.map_err(|error| data.refusal.as_ref().map_or(error.to_string(), ToString::to_string))
    }

    #[track_caller]
    fn check(json: &str, expected: Result<DataContent, &str>) {
        let mut data = Data::new(2, LIMITS);
        match (read(json, &mut data), expected) {
            (Ok(there), Ok(content)) => assert_eq!((there, data.content), (true, content)),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (got, expected) => panic!("{got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn arrays_are_flattened_in_order() {
        let tensors = |all: &[&[f32]]| DataContent::Tensors(all.iter().map(|image| image.to_vec()).collect());
        check("[]", Ok(DataContent::Empty));
        check("[1,2.5,-3]", Ok(tensors(&[&[1.0, 2.5], &[-3.0]])));
        check("[[[1],[2]],[[3],[4]]]", Ok(tensors(&[&[1.0, 2.0], &[3.0, 4.0]])));
        check(
            "[\"YQ==\",[\"Yg==\"]]",
            Ok(DataContent::Images(vec![
                Bytes::from_static(b"a"),
                Bytes::from_static(b"b"),
            ])),
        );
    }

    #[test]
    fn what_is_no_tensor_is_refused() {
        check("[1,\"a\"]", Err("mixes numbers and strings"));
        check("[[1],[\"\"]]", Err("mixes numbers and strings"));
        check("[\"\",1]", Err("mixes numbers and strings"));
        check("[true]", Err("an array of numbers or of strings"));
        check("[null]", Err("an array of numbers or of strings"));
        check("[{}]", Err("an array of numbers or of strings"));
        check("1", Err("an array of numbers or of strings"));
        check("\"a\"", Err("invalid type: a string"));
        check("[[1],[] and no JSON", Err("`data` holds an empty array"));
        check("[1e39]", Err("NaN or infinity"));
        check("[\"%\"]", Err("element 0: an image within JSON is a base64 string"));
    }

    #[test]
    fn the_first_element_too_many_ends_it() {
        check(
            "[1,2,3,4,5,6]",
            Ok(DataContent::Tensors(vec![
                vec![1.0, 2.0],
                vec![3.0, 4.0],
                vec![5.0, 6.0],
            ])),
        );
        check("[1,2,3,4,5,6,7 and no JSON", Err("more than 3 images"));
        check("[\"\",\"\",\"\",\"\" and no JSON", Err("more than 3 images"));
        check(
            "[\"YWJjZA==\"]",
            Ok(DataContent::Images(vec![Bytes::from_static(b"abcd")])),
        );
        check("[\"YWJjZGU=\"]", Err("image 1 has 5 bytes; the limit is 4 bytes"));
        let mut data = Data::new(2, LIMITS);
        data.announced = Some(1);
        let error = read("[1,2 and no JSON", &mut data).unwrap_err();
        assert_eq!(error, "the shape has 1 elements, the data more");
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        check(&nested(RANK_MAX), Ok(DataContent::Tensors(vec![vec![1.0]])));
        check(&nested(RANK_MAX + 1), Err("nested deeper than 8 arrays"));
        check(&"[".repeat(10_000), Err("nested deeper than 8 arrays"));
    }
}
