//! What an inference request may hold, checked on its encoded bytes before any of it is made: protobuf's elements may take many times the
//! memory that they take encoded.

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use repserve_compile::EMBEDDINGS_MAX;

use crate::http::inference::RequestError::{self, Malformed, TooLarge};
use crate::http::inference::{InferLimits, RANK_MAX};

/// Bytes of a name or an id at most.
const TEXT_BYTES_MAX: usize = 1024;
/// Parameters of one kind at most.
const PARAMETERS_MAX: usize = 64;
/// Fields of a request in which its id is looked for.
const HEAD_FIELDS_MAX: usize = 16;
/// Bytes of an extent of a shape at most.
const VARINT_BYTES_MAX: usize = 10;

/// A field that is read: how often it may come, how many bytes it may have, and what it holds.
struct Field {
    number: u32,
    what: &'static str,
    count_max: usize,
    bytes_max: usize,
    inner: &'static [Field],
}

const fn field(number: u32, what: &'static str, count_max: usize, bytes_max: usize, inner: &'static [Field]) -> Field {
    Field {
        number,
        what,
        count_max,
        bytes_max,
        inner,
    }
}

const fn text(number: u32, what: &'static str) -> Field {
    field(number, what, 1, TEXT_BYTES_MAX, &[])
}

const fn parameters(number: u32) -> Field {
    field(number, "parameters", PARAMETERS_MAX, 4 * TEXT_BYTES_MAX, &[])
}

/// Elements of a type that the model does not take.
const fn other(number: u32) -> Field {
    field(number, "elements that are neither FP32 nor BYTES", 0, 0, &[])
}

const CONTENTS: &[Field] = &[
    other(1),
    other(2),
    other(3),
    other(4),
    other(5),
    field(FP32_CONTENTS, "FP32 elements", usize::MAX, usize::MAX, &[]),
    other(7),
    field(BYTES_CONTENTS, "images", usize::MAX, usize::MAX, &[]),
];
const ID: u32 = 3;
const FP32_CONTENTS: u32 = 6;
const BYTES_CONTENTS: u32 = 8;
const RAW_INPUT_CONTENTS: u32 = 7;

const INPUT: &[Field] = &[
    text(1, "the input's name"),
    text(2, "the input's datatype"),
    field(
        3,
        "extents of the input's shape",
        RANK_MAX,
        RANK_MAX * VARINT_BYTES_MAX,
        &[],
    ),
    parameters(4),
    field(5, "contents of one input", 1, usize::MAX, CONTENTS),
];

const OUTPUT: &[Field] = &[text(1, "the output's name"), parameters(2)];

const REQUEST: &[Field] = &[
    text(1, "the model's name"),
    text(2, "the model's version"),
    text(ID, "the request's id"),
    parameters(4),
    field(5, "inputs; the model has one", 1, usize::MAX, INPUT),
    field(6, "outputs", 1 + EMBEDDINGS_MAX, usize::MAX, OUTPUT),
    field(RAW_INPUT_CONTENTS, "raw inputs; the model has one", 1, usize::MAX, &[]),
];

/// What a request holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// Bytes that are made of it beside its message while it is read, at most.
    pub(super) beside_bytes: usize,
    images: usize,
}

/// Walks over an encoded `ModelInferRequest`.
///
/// # Errors
/// Where it is no such message, or holds more than one that can be served.
pub(super) fn check(message: &[u8], limits: InferLimits) -> Result<Holds, RequestError> {
    let mut holds = Holds::default();
    walk(message, REQUEST, limits, &mut holds)?;
    Ok(holds)
}

/// The id of an encoded `ModelInferRequest`, of which no more than the head is looked at: whoever writes fields in their order has written it
/// among the first. None where there is none, or it is too long to be repeated.
pub(super) fn id(mut message: &[u8]) -> Option<&str> {
    for _ in 0..HEAD_FIELDS_MAX {
        let (number, wire_type) = decode_key(&mut message).ok()?;
        match wire_type {
            WireType::LengthDelimited => {
                let value = take(wire_type, number, &mut message).ok()?;
                if number == ID {
                    return std::str::from_utf8(value).ok().filter(|id| id.len() <= TEXT_BYTES_MAX);
                }
            }
            // A group may hold any number of fields.
            WireType::StartGroup | WireType::EndGroup => return None,
            _ => skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?,
        }
    }
    None
}

fn broken(error: &prost::DecodeError) -> RequestError {
    Malformed(format!("the message is no ModelInferRequest: {error}"))
}

fn walk(
    mut message: &[u8],
    fields: &'static [Field],
    limits: InferLimits,
    holds: &mut Holds,
) -> Result<(), RequestError> {
    let mut counts = [0usize; 8];
    while message.has_remaining() {
        let (number, wire_type) = decode_key(&mut message).map_err(|error| broken(&error))?;
        let Some((index, field)) = fields.iter().enumerate().find(|(_, field)| field.number == number) else {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).map_err(|error| broken(&error))?;
            continue;
        };
        counts[index] += 1;
        if counts[index] > field.count_max {
            return Err(Malformed(match field.count_max {
                0 => format!("the input has {}", field.what),
                1 => format!("the request has several {}", field.what),
                _ => format!("the request has more than {} {}", field.count_max, field.what),
            }));
        }
        let value = take(wire_type, number, &mut message)?;
        if value.len() > field.bytes_max {
            return Err(Malformed(format!(
                "{} has {} bytes, at most {} are read",
                field.what,
                value.len(),
                field.bytes_max
            )));
        }
        if !field.inner.is_empty() {
            walk(value, field.inner, limits, holds)?;
        } else if std::ptr::eq(fields, CONTENTS) {
            holds.element(number, value.len(), limits)?;
        } else if number == RAW_INPUT_CONTENTS && std::ptr::eq(fields, REQUEST) {
            holds.beside_bytes = holds.beside_bytes.saturating_add(value.len());
        }
    }
    Ok(())
}

impl Holds {
    /// Counts an element, or packed elements, of typed contents.
    fn element(&mut self, number: u32, bytes: usize, limits: InferLimits) -> Result<(), RequestError> {
        if number == BYTES_CONTENTS {
            self.images += 1;
            if self.images > limits.images_max {
                return Err(limits.too_many_images());
            }
        }
        if number == FP32_CONTENTS {
            // The elements in a vector that doubles as it grows, and then in one for each image.
            self.beside_bytes = self.beside_bytes.saturating_add(bytes.saturating_mul(3));
        }
        Ok(())
    }
}

/// The bytes of a field's value.
fn take<'a>(wire_type: WireType, number: u32, message: &mut &'a [u8]) -> Result<&'a [u8], RequestError> {
    if wire_type == WireType::LengthDelimited {
        let length = decode_varint(message).map_err(|error| broken(&error))?;
        let length = usize::try_from(length).map_err(|_| TooLarge("a field has more bytes than memory".to_owned()))?;
        return message
            .split_off(..length)
            .ok_or_else(|| Malformed("the message is no ModelInferRequest: a field is cut off".to_owned()));
    }
    let before = *message;
    skip_field(wire_type, number, message, DecodeContext::default()).map_err(|error| broken(&error))?;
    Ok(&before[..before.len() - message.len()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message;

    use super::super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
    use super::super::proto::{InferParameter, InferTensorContents, ModelInferRequest};
    use super::*;

    const LIMITS: InferLimits = InferLimits {
        images_max: 4,
        image_bytes_max: 8,
    };

    fn contents(contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor {
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        ModelInferRequest {
            inputs: vec![input],
            ..ModelInferRequest::default()
        }
    }

    #[track_caller]
    fn refused(request: &ModelInferRequest, message: &str) {
        let error = check(&request.encode_to_vec(), LIMITS).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn what_would_take_much_memory_is_refused_encoded() {
        let inputs = ModelInferRequest {
            inputs: vec![InferInputTensor::default(); 100_000],
            ..ModelInferRequest::default()
        };
        refused(&inputs, "several inputs; the model has one");
        let outputs = ModelInferRequest {
            outputs: vec![InferRequestedOutputTensor::default(); 10],
            ..ModelInferRequest::default()
        };
        refused(&outputs, "more than 9 outputs");
        let parameters = |i: u32| (i.to_string(), InferParameter::default());
        let parameters = ModelInferRequest {
            parameters: (0..65).map(parameters).collect::<BTreeMap<_, _>>(),
            ..ModelInferRequest::default()
        };
        refused(&parameters, "more than 64 parameters");
        let bytes_contents = vec![Default::default(); 5];
        refused(
            &contents(InferTensorContents {
                bytes_contents,
                ..Default::default()
            }),
            "more than 4 images",
        );
        refused(
            &contents(InferTensorContents {
                int64_contents: vec![1],
                ..Default::default()
            }),
            "neither FP32 nor BYTES",
        );
        let id = ModelInferRequest {
            id: "x".repeat(1025),
            ..ModelInferRequest::default()
        };
        refused(&id, "the request's id has 1025 bytes");
    }

    #[test]
    fn what_is_read_beside_the_message_is_known() {
        let typed = contents(InferTensorContents {
            fp32_contents: vec![0.0; 10],
            ..Default::default()
        });
        assert_eq!(check(&typed.encode_to_vec(), LIMITS).unwrap().beside_bytes, 120);
        let raw = ModelInferRequest {
            raw_input_contents: vec![vec![0; 40].into()],
            ..ModelInferRequest::default()
        };
        assert_eq!(check(&raw.encode_to_vec(), LIMITS).unwrap().beside_bytes, 40);
    }

    #[test]
    fn the_id_is_found_in_the_head_alone() {
        let with = |id: &str| ModelInferRequest {
            model_name: "m".to_owned(),
            id: id.to_owned(),
            raw_input_contents: vec![vec![0; 40].into()],
            ..ModelInferRequest::default()
        };
        let named = with("seven").encode_to_vec();
        assert_eq!(id(&named), Some("seven"));
        assert_eq!(id(&with("").encode_to_vec()), None);
        assert_eq!(id(&with(&"x".repeat(1025)).encode_to_vec()), None);
        assert_eq!(id(&[&[0x78, 0x01].repeat(15)[..], &named[3..]].concat()), Some("seven"));
        assert_eq!(id(&[&[0x78, 0x01].repeat(16)[..], &named[3..]].concat()), None);
        // A group, which may be long, and a field that is cut off.
        assert_eq!(id(&[&[0x7b, 0x7c][..], &named].concat()), None);
        assert_eq!(id(b"\x1a\x7fx"), None);
    }

    #[test]
    fn fields_that_are_not_known_are_skipped() {
        let unknown = [&[0x78, 0x01][..], &[0x82, 0x01, 0x02, 0xff, 0xff]].concat();
        assert_eq!(check(&unknown, LIMITS).unwrap(), Holds::default());
    }

    proptest! {
        #[test]
        fn what_passes_is_decoded_within_what_it_holds(message in prop::collection::vec(any::<u8>(), 0..200)) {
            if check(&message, LIMITS).is_ok() && let Ok(request) = ModelInferRequest::decode(&message[..]) {
                prop_assert!(request.inputs.len() <= 1 && request.outputs.len() <= 9 && request.parameters.len() <= 64);
            }
            let _ = id(&message);
        }
    }
}
