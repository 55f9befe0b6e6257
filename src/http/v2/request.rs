//! An inference request: the JSON head, the tensors, and what is asked of the outputs. Pure: bytes in, images out.

use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::tensor::{self, Data, Datatype};
use crate::classify::Tensor;
use repserve_compile::Signature;
use repserve_scheduler::Work;

/// The name under which encoded images may be sent, besides the graph's own input.
pub(super) const IMAGES: &str = "images";

/// A request as JSON says it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InferenceRequest)]
pub(super) struct Head {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = InferenceParameters)]
struct Parameters {
    /// Whether outputs come as raw bytes where they do not say themselves.
    binary_data_output: Option<bool>,
    /// Microseconds, as Triton's clients send it.
    #[schema(value_type = Option<usize>)]
    timeout: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InferenceInput)]
struct Input {
    name: String,
    shape: Vec<u64>,
    /// FP32: tensors. BYTES: encoded images, in JSON as base64.
    #[schema(value_type = String)]
    datatype: Datatype,
    #[serde(default)]
    parameters: InputParameters,
    /// Elements in row-major order, nested or flat.
    #[schema(value_type = Option<Vec<Object>>)]
    data: Option<Data>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = InferenceInputParameters)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RequestedOutput)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RequestedOutputParameters)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: Option<usize>,
}

/// How an output is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// As raw bytes behind the JSON.
    pub(super) binary: bool,
    /// Its best classes instead of its values; how many.
    pub(super) classification: Option<usize>,
}

/// A request that can be run.
#[derive(Debug)]
pub(super) struct Request {
    /// Given back in the answer.
    pub(super) id: Option<String>,
    /// The images, encoded or as tensors.
    pub(super) work: Vec<Work<Bytes, Tensor>>,
    /// The outputs, in the order asked for.
    pub(super) outputs: Vec<Wanted>,
    /// The longest that it may take, in microseconds.
    pub(super) timeout_us: Option<u64>,
}

/// What a request may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) images_max: usize,
    pub(super) image_bytes_max: usize,
}

/// Why a request cannot be run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// It does not say what the protocol or the model wants.
    #[error("{0}")]
    Malformed(String),
    /// It holds too much.
    #[error("{0}")]
    TooLarge(String),
}

use RequestError::{Malformed, TooLarge};

/// Reads a request. `head_len` is the length of the JSON where raw bytes follow it.
pub(super) fn read(
    body: Bytes,
    head_len: Option<usize>,
    signature: &Signature,
    cost: Cost,
) -> Result<Request, RequestError> {
    let head_len = head_len.unwrap_or(body.len());
    if head_len > body.len() {
        return Err(Malformed(format!(
            "inference-header-content-length is {head_len}, the body has {} bytes",
            body.len()
        )));
    }
    let raw = body.slice(head_len..);
    let head: Head = serde_json::from_slice(&body[..head_len]).map_err(|e| Malformed(e.to_string()))?;
    let outputs = wanted(&head, signature)?;
    let [input] = <[Input; 1]>::try_from(head.inputs)
        .map_err(|all| Malformed(format!("the model has one input, the request {}", all.len())))?;
    Ok(Request {
        id: head.id,
        work: images(input, raw, signature, cost)?,
        outputs,
        timeout_us: head.parameters.timeout.filter(|us| *us > 0),
    })
}

fn wanted(head: &Head, signature: &Signature) -> Result<Vec<Wanted>, RequestError> {
    let binary = head.parameters.binary_data_output.unwrap_or(false);
    if head.outputs.is_empty() {
        return Ok(vec![Wanted {
            binary,
            classification: None,
        }]);
    }
    if head.outputs.len() > 1 {
        return Err(Malformed(format!(
            "the model has one output, {} are asked for",
            head.outputs.len()
        )));
    }
    let one = |output: &Output| {
        if output.name != signature.output {
            return Err(Malformed(format!(
                "there is no output {:?}; the model's is {:?}",
                output.name, signature.output
            )));
        }
        Ok(Wanted {
            binary: output.parameters.binary_data.unwrap_or(binary),
            classification: output.parameters.classification.filter(|k| *k > 0),
        })
    };
    head.outputs.iter().map(one).collect()
}

fn images(
    input: Input,
    raw: Bytes,
    signature: &Signature,
    cost: Cost,
) -> Result<Vec<Work<Bytes, Tensor>>, RequestError> {
    if input.name != signature.input && input.name != IMAGES {
        return Err(Malformed(format!(
            "there is no input {:?}; send FP32 as {:?}, or encoded images (BYTES) as {IMAGES:?}",
            input.name, signature.input
        )));
    }
    if let Some(size) = input.parameters.binary_data_size {
        if input.data.is_some() {
            return Err(Malformed("the input has both `data` and `binary_data_size`".to_owned()));
        }
        if size != raw.len() {
            return Err(Malformed(format!(
                "binary_data_size is {size}, {} bytes follow the JSON",
                raw.len()
            )));
        }
    } else if !raw.is_empty() {
        return Err(Malformed(format!(
            "{} bytes follow the JSON, and no input has `binary_data_size`",
            raw.len()
        )));
    }
    match input.datatype {
        Datatype::Fp32 => tensors(input, &raw, signature, cost),
        Datatype::Bytes => encoded(input, raw, cost),
        Datatype::Other => Err(Malformed("the input's datatype must be FP32 or BYTES".to_owned())),
    }
}

fn tensors(
    input: Input,
    raw: &[u8],
    signature: &Signature,
    cost: Cost,
) -> Result<Vec<Work<Bytes, Tensor>>, RequestError> {
    let [channels, height, width] = signature.image;
    let [count, rest @ ..] = &input.shape[..] else {
        return Err(Malformed("the input has no shape".to_owned()));
    };
    if *rest != [channels as u64, height as u64, width as u64] {
        return Err(Malformed(format!(
            "the input's shape is {:?}, the model wants [n, {channels}, {height}, {width}]",
            input.shape
        )));
    }
    let count = counted(*count, cost)?;
    let values = match input.data {
        Some(Data::Numbers(values)) => values,
        Some(Data::Empty) => Vec::new(),
        Some(Data::Strings(_)) => return Err(Malformed("FP32 `data` holds strings".to_owned())),
        None => tensor::floats(raw).map_err(Malformed)?,
    };
    let len = signature.image_len();
    if values.len() != count * len {
        return Err(Malformed(format!(
            "the shape {:?} has {} elements, the data {}",
            input.shape,
            count * len,
            values.len()
        )));
    }
    if !values.iter().all(|x| x.is_finite()) {
        return Err(Malformed("the input holds NaN or infinity".to_owned()));
    }
    Ok(values
        .chunks_exact(len)
        .map(|image| Work::Ready(image.to_vec()))
        .collect())
}

fn encoded(input: Input, raw: Bytes, cost: Cost) -> Result<Vec<Work<Bytes, Tensor>>, RequestError> {
    let count = match input.shape[..] {
        [n] | [n, 1] => counted(n, cost)?,
        _ => {
            return Err(Malformed(format!(
                "the input's shape is {:?}, encoded images come as [n]",
                input.shape
            )));
        }
    };
    let images = match input.data {
        Some(Data::Strings(strings)) => tensor::decoded(&strings),
        Some(Data::Empty) => Ok(Vec::new()),
        Some(Data::Numbers(_)) => Err("BYTES `data` holds numbers".to_owned()),
        None => tensor::strings(raw),
    };
    let images = images.map_err(Malformed)?;
    if images.len() != count {
        return Err(Malformed(format!(
            "the shape {:?} has {count} elements, the data {}",
            input.shape,
            images.len()
        )));
    }
    if let Some((index, image)) = images.iter().enumerate().find(|(_, i)| i.len() > cost.image_bytes_max) {
        return Err(TooLarge(format!(
            "image {} has {} bytes, at most {} are read",
            index + 1,
            image.len(),
            cost.image_bytes_max
        )));
    }
    Ok(images.into_iter().map(Work::Raw).collect())
}

/// The number of images that a shape's first extent says.
fn counted(count: u64, cost: Cost) -> Result<usize, RequestError> {
    match usize::try_from(count) {
        Ok(0) => Err(Malformed("the request holds no image".to_owned())),
        Ok(count) if count <= cost.images_max => Ok(count),
        _ => Err(TooLarge(format!(
            "{count} images in one request, at most {} are taken",
            cost.images_max
        ))),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
