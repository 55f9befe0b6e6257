//! A `ModelInferRequest` as a request that can be run. Pure: a message in, images out.

use std::collections::BTreeMap;

use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::http::inference::RequestError::{self, Malformed};
use crate::http::inference::{
    DataContent, Datatype, InferLimits, InferRequest, InputContent, InputTensor, OutputOptions, OutputSource, RANK_MAX,
    check_outputs, priority,
};
use repserve_compile::Signature;

/// Reads a request of so many bytes that [`super::bounds`] has checked. Where its elements came as raw bytes, those of the response do too.
pub(super) fn read(
    message: ModelInferRequest,
    message_bytes: usize,
    signature: &Signature,
    limits: InferLimits,
) -> Result<InferRequest, RequestError> {
    let raw = !message.raw_input_contents.is_empty();
    let outputs = outputs(&message.outputs, raw, signature)?;
    let parameters = Parameters(&message.parameters);
    let (timeout_us, urgency) = (parameters.whole("timeout")?, parameters.whole("priority")?);
    let mut inputs = message.inputs.into_iter();
    let input = inputs
        .next()
        .ok_or_else(|| Malformed("the model has one input, the request 0".to_owned()))?;
    let input = tensor(input, message.raw_input_contents, signature.image_len())?;
    let encoded = input.datatype == Some(Datatype::Bytes);
    let work = input.images(signature, limits)?;
    // Encoded images are parts of the message, and keep all of it.
    let kept = if encoded { message_bytes } else { 0 };
    Ok(InferRequest {
        id: Some(message.id).filter(|id| !id.is_empty()),
        bytes: InferRequest::held_bytes(&work, kept),
        work,
        outputs,
        timeout_us: timeout_us.filter(|us| *us > 0),
        priority: priority(urgency),
    })
}

fn tensor(input: InferInputTensor, raw: Vec<bytes::Bytes>, image_len: usize) -> Result<InputTensor, RequestError> {
    if Parameters(&input.parameters).has("shared_memory_region") {
        return Err(Malformed(
            "shared memory is not read here; send the elements".to_owned(),
        ));
    }
    if input.shape.len() > RANK_MAX {
        return Err(Malformed(format!("the input's shape has more than {RANK_MAX} extents")));
    }
    let extent = |extent: &i64| {
        u64::try_from(*extent).map_err(|_| Malformed("the input's shape must hold whole numbers, 0 or more".to_owned()))
    };
    let shape = input.shape.iter().map(extent).collect::<Result<_, _>>()?;
    let datatype = Some(Datatype::called(&input.datatype)).filter(|_| !input.datatype.is_empty());
    let contents = input
        .contents
        .filter(|contents| *contents != InferTensorContents::default());
    let content = match (raw.into_iter().next(), contents) {
        (Some(_), Some(_)) => {
            return Err(Malformed(
                "the input has both `contents` and `raw_input_contents`".to_owned(),
            ));
        }
        (Some(raw), None) => InputContent::Raw(raw),
        (None, contents) => elements(contents.unwrap_or_default(), image_len)?,
    };
    Ok(InputTensor {
        name: Some(input.name).filter(|name| !name.is_empty()),
        shape: Some(shape),
        datatype,
        content,
    })
}

/// Typed contents.
fn elements(contents: InferTensorContents, image_len: usize) -> Result<InputContent, RequestError> {
    let (numbers, strings) = (contents.fp32_contents, contents.bytes_contents);
    let (content, count) = match (numbers.is_empty(), strings.is_empty()) {
        (false, false) => return Err(Malformed("`contents` mixes FP32 and BYTES".to_owned())),
        (true, true) => (DataContent::Empty, 0),
        (false, true) => {
            let count = numbers.len();
            let images = numbers.chunks(image_len.max(1)).map(<[f32]>::to_vec).collect();
            (DataContent::Tensors(images), count)
        }
        (true, false) => {
            let count = strings.len();
            (DataContent::Images(strings), count)
        }
    };
    Ok(InputContent::Elements { content, count })
}

fn outputs(
    outputs: &[InferRequestedOutputTensor],
    raw: bool,
    signature: &Signature,
) -> Result<Vec<OutputOptions>, RequestError> {
    if outputs.is_empty() {
        return Ok(vec![OutputOptions {
            raw,
            ..OutputOptions::default()
        }]);
    }
    let outputs = outputs.iter().map(|wanted| output(wanted, raw, signature));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    check_outputs(&outputs, signature)?;
    Ok(outputs)
}

fn output(
    output: &InferRequestedOutputTensor,
    raw: bool,
    signature: &Signature,
) -> Result<OutputOptions, RequestError> {
    let source = OutputSource::called(Some(&output.name), signature)?;
    let parameters = Parameters(&output.parameters);
    if parameters.has("shared_memory_region") {
        return Err(Malformed("shared memory is not written here".to_owned()));
    }
    let classes = parameters.whole("classification")?;
    let classes = classes.map(|k| usize::try_from(k).unwrap_or(usize::MAX));
    Ok(OutputOptions {
        source,
        raw,
        classification: classes.filter(|k| *k > 0),
    })
}

/// Parameters by name.
struct Parameters<'a>(&'a BTreeMap<String, InferParameter>);

impl Parameters<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a parameter that is a whole number.
    fn whole(&self, name: &str) -> Result<Option<u64>, RequestError> {
        let choice = self
            .0
            .get(name)
            .and_then(|parameter| parameter.parameter_choice.as_ref());
        let whole = match choice {
            None => return Ok(None),
            Some(ParameterChoice::Int64Param(value)) => u64::try_from(*value).ok(),
            Some(ParameterChoice::Uint64Param(value)) => Some(*value),
            Some(_) => None,
        };
        whole
            .map(Some)
            .ok_or_else(|| Malformed(format!("`{name}` must be a whole number, 0 or more")))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use repserve_scheduler::{Payload, Priority};

    const LIMITS: InferLimits = InferLimits {
        images_max: 4,
        image_bytes_max: 8,
    };

    fn signature() -> Signature {
        Signature {
            input: "input".to_owned(),
            image: [3, 1, 2],
            output: "logits".to_owned(),
            classes: 10,
            embeddings: Vec::new(),
        }
    }

    fn request(name: &str, datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        ModelInferRequest {
            inputs: vec![input],
            ..ModelInferRequest::default()
        }
    }

    fn fp32(values: &[f32]) -> InferTensorContents {
        InferTensorContents {
            fp32_contents: values.to_vec(),
            ..InferTensorContents::default()
        }
    }

    fn parameter(choice: ParameterChoice) -> InferParameter {
        InferParameter {
            parameter_choice: Some(choice),
        }
    }

    fn parse(message: ModelInferRequest) -> Result<InferRequest, RequestError> {
        read(message, 100, &signature(), LIMITS)
    }

    #[track_caller]
    fn refused(message: ModelInferRequest, expected: &str) {
        let error = parse(message).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn tensors_typed_and_raw() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let typed = request("input", "FP32", &[1, 3, 1, 2], fp32(&values));
        let mut raw = request("input", "FP32", &[1, 3, 1, 2], InferTensorContents::default());
        raw.raw_input_contents = vec![values.iter().flat_map(|x| x.to_le_bytes()).collect()];
        for (message, is_raw) in [(typed, false), (raw, true)] {
            let read = parse(message).unwrap();
            let [Payload::Ready(image)] = &read.work[..] else {
                panic!("{:?}", read.work)
            };
            assert_eq!(&image[..], &values[..]);
            assert_eq!((read.outputs[0].raw, read.bytes), (is_raw, 24));
        }
    }

    #[test]
    fn images_typed_and_raw() {
        let contents = InferTensorContents {
            bytes_contents: vec![Bytes::from_static(b"abc"), Bytes::from_static(b"d")],
            ..InferTensorContents::default()
        };
        let typed = request("images", "BYTES", &[2], contents);
        let mut raw = request("images", "BYTES", &[2, 1], InferTensorContents::default());
        raw.raw_input_contents = vec![Bytes::from_static(b"\x03\0\0\0abc\x01\0\0\0d")];
        for message in [typed, raw] {
            let read = parse(message).unwrap();
            let [Payload::Raw(a), Payload::Raw(b)] = &read.work[..] else {
                panic!("{:?}", read.work)
            };
            assert_eq!((&a[..], &b[..], read.bytes), (&b"abc"[..], &b"d"[..], 100));
        }
    }

    #[test]
    fn parameters_are_read_as_over_http() {
        let mut message = request("input", "FP32", &[1, 3, 1, 2], fp32(&[0.0; 6]));
        message.id = "seven".to_owned();
        message.parameters = BTreeMap::from([
            ("timeout".to_owned(), parameter(ParameterChoice::Int64Param(2500))),
            ("priority".to_owned(), parameter(ParameterChoice::Uint64Param(1))),
            ("sequence_id".to_owned(), parameter(ParameterChoice::Int64Param(0))),
        ]);
        message.outputs = vec![InferRequestedOutputTensor {
            name: "logits".to_owned(),
            parameters: BTreeMap::from([("classification".to_owned(), parameter(ParameterChoice::Int64Param(3)))]),
        }];
        let request = parse(message).unwrap();
        assert_eq!((request.id.as_deref(), request.timeout_us), (Some("seven"), Some(2500)));
        assert_eq!(
            (request.priority, request.outputs[0].classification),
            (Priority(1), Some(3))
        );
    }

    #[test]
    fn what_the_model_does_not_take_is_refused() {
        let image = || fp32(&[0.0; 6]);
        refused(ModelInferRequest::default(), "the model has one input, the request 0");
        refused(request("", "FP32", &[1, 3, 1, 2], image()), "the input has no name");
        refused(
            request("input", "", &[1, 3, 1, 2], image()),
            "the input has no datatype",
        );
        refused(
            request("odd", "FP32", &[1, 3, 1, 2], image()),
            "there is no input \"odd\"",
        );
        refused(
            request("images", "FP32", &[1, 3, 1, 2], image()),
            "takes encoded images",
        );
        refused(
            request("input", "INT64", &[1, 3, 1, 2], image()),
            "must be FP32 or BYTES",
        );
        refused(
            request("input", "FP32", &[-1, 3, 1, 2], image()),
            "whole numbers, 0 or more",
        );
        refused(
            request("input", "FP32", &[2, 3, 1, 2], image()),
            "has 12 elements, the data 6",
        );
        refused(request("input", "FP32", &[1; 9], image()), "more than 8 extents");
        refused(request("images", "BYTES", &[6], image()), "at most 4 are taken");
        refused(
            request("images", "BYTES", &[1], image()),
            "the BYTES input holds numbers",
        );
        let mut both = request("input", "FP32", &[1, 3, 1, 2], image());
        both.raw_input_contents = vec![Bytes::from_static(b"abcd")];
        refused(both, "both `contents` and `raw_input_contents`");
        let mut output = request("input", "FP32", &[1, 3, 1, 2], image());
        output.outputs = vec![InferRequestedOutputTensor {
            name: "odds".to_owned(),
            ..InferRequestedOutputTensor::default()
        }];
        refused(output, "there is no output \"odds\"");
        let mut timeout = request("input", "FP32", &[1, 3, 1, 2], image());
        let soon = parameter(ParameterChoice::StringParam("soon".to_owned()));
        timeout.parameters = BTreeMap::from([("timeout".to_owned(), soon)]);
        refused(timeout, "`timeout` must be a whole number");
        let mut shared = request("input", "FP32", &[1, 3, 1, 2], image());
        let region = parameter(ParameterChoice::StringParam("region".to_owned()));
        shared.inputs[0].parameters = BTreeMap::from([("shared_memory_region".to_owned(), region)]);
        refused(shared, "shared memory is not read here");
    }
}
