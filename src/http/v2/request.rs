//! An inference request: the JSON head, the tensors, and how outputs are to be returned. Pure: bytes in, images out.

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess};
use serde_json::error::Category;

use super::input::Input;
use super::json::{Array, Elements, Members, Object, Scalar, skip};
use crate::http::echo::echo;
use crate::http::inference::RequestError::{self, Malformed};
use crate::http::inference::{
    InferLimits, InferRequest, OutputOptions, OutputSource, check_outputs, outputs_max, priority, too_many_outputs,
};
use repserve_compile::Signature;

/// Reads a request. `head_len` is the length of the JSON where raw bytes follow it.
pub(super) fn read(
    body: Bytes,
    head_len: Option<usize>,
    signature: &Signature,
    limits: InferLimits,
) -> Result<InferRequest, RequestError> {
    let head_len = head_len.unwrap_or(body.len());
    if head_len > body.len() {
        return Err(Malformed(format!(
            "inference-header-content-length is {head_len}, the body has {} bytes",
            body.len()
        )));
    }
    let mut head = Head {
        id: None,
        binary: None,
        timeout_us: None,
        priority: None,
        inputs: None,
        input: Input::new(signature, limits),
        outputs_max: outputs_max(signature),
        outputs: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_slice(&body[..head_len]);
    let parsed = Object(&mut head).deserialize(&mut json).and_then(|()| json.end());
    if let Err(error) = parsed {
        let refusal = head.input.data.refusal.take();
        return Err(refusal.unwrap_or_else(|| Malformed(unreadable(&error, head_len))));
    }
    let outputs = head.wanted(signature)?;
    match head.inputs {
        Some(1) => {}
        Some(count) => return Err(Malformed(format!("the model has one input, the request {count}"))),
        None => return Err(Malformed("the request has no `inputs`".to_owned())),
    }
    let raw = body.slice(head_len..);
    // Encoded images behind the JSON are parts of the body, and keep all of it.
    let kept = if raw.is_empty() { 0 } else { body.len() };
    let work = head.input.tensor(raw)?.images(signature, limits)?;
    Ok(InferRequest {
        id: head.id,
        bytes: InferRequest::held_bytes(&work, kept),
        work,
        outputs,
        timeout_us: head.timeout_us.filter(|us| *us > 0),
        priority: priority(head.priority),
    })
}

/// What is wrong with the JSON, `len` bytes of it.
fn unreadable(error: &serde_json::Error, len: usize) -> String {
    let told = echo(&error.to_string()).to_string();
    match error.classify() {
        _ if len == 0 => "the request is empty; send a JSON object with `inputs`".to_owned(),
        Category::Syntax | Category::Eof => format!("the request is not JSON: {told}"),
        Category::Data | Category::Io => told,
    }
}

/// A request as its JSON describes it.
struct Head {
    id: Option<String>,
    binary: Option<bool>,
    timeout_us: Option<u64>,
    priority: Option<u64>,
    /// How many there were, where there was the member.
    inputs: Option<usize>,
    input: Input,
    outputs_max: usize,
    outputs: Vec<Output>,
}

impl Head {
    fn wanted(&self, signature: &Signature) -> Result<Vec<OutputOptions>, RequestError> {
        let binary = self.binary.unwrap_or(false);
        if self.outputs.is_empty() {
            return Ok(vec![OutputOptions {
                raw: binary,
                ..OutputOptions::default()
            }]);
        }
        let wanted = self.outputs.iter().map(|output| {
            Ok(OutputOptions {
                source: OutputSource::called(output.name.as_deref(), signature)?,
                raw: output.binary.unwrap_or(binary),
                classification: output.classification.filter(|k| *k > 0),
            })
        });
        let wanted = wanted.collect::<Result<Vec<_>, RequestError>>()?;
        check_outputs(&wanted, signature)?;
        Ok(wanted)
    }
}

impl Members for Head {
    const NAME: &'static str = "the request";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => self.id = map.next_value::<Scalar>()?.text(key)?,
            "parameters" => map.next_value_seed(Object(&mut RequestParameters(self)))?,
            "inputs" => map.next_value_seed(Array(&mut Inputs(self)))?,
            "outputs" => map.next_value_seed(Array(&mut Outputs(self)))?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct RequestParameters<'a>(&'a mut Head);

impl Members for RequestParameters<'_> {
    const NAME: &'static str = "`parameters`";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "binary_data_output" => self.0.binary = map.next_value::<Scalar>()?.flag(key)?,
            "priority" => self.0.priority = map.next_value::<Scalar>()?.whole(key)?,
            "timeout" => self.0.timeout_us = map.next_value::<Scalar>()?.whole(key)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct Inputs<'a>(&'a mut Head);

impl Elements for Inputs<'_> {
    const NAME: &'static str = "`inputs`";

    fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let count = self.0.inputs.get_or_insert(0);
        if *count == 1 {
            let further = seq.next_element::<Scalar>()?;
            return match further {
                None => Ok(false),
                Some(_) => Err(A::Error::custom("the model has one input, the request 2 or more")),
            };
        }
        let found = seq.next_element_seed(Object(&mut self.0.input))?.is_some();
        *count += usize::from(found);
        Ok(found)
    }
}

struct Outputs<'a>(&'a mut Head);

impl Elements for Outputs<'_> {
    const NAME: &'static str = "`outputs`";

    fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let most = self.0.outputs_max;
        if self.0.outputs.len() == most {
            let further = seq.next_element::<Scalar>()?;
            return match further {
                None => Ok(false),
                Some(_) => {
                    let count = format!("{} or more", most + 1);
                    Err(A::Error::custom(too_many_outputs(most, &count)))
                }
            };
        }
        let mut output = Output::default();
        let found = seq.next_element_seed(Object(&mut output))?.is_some();
        if found {
            self.0.outputs.push(output);
        }
        Ok(found)
    }
}

/// An output that is requested.
#[derive(Default)]
struct Output {
    name: Option<String>,
    binary: Option<bool>,
    classification: Option<usize>,
}

impl Members for Output {
    const NAME: &'static str = "an output";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = map.next_value::<Scalar>()?.text(key)?,
            "parameters" => map.next_value_seed(Object(&mut OutputParameters(self)))?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct OutputParameters<'a>(&'a mut Output);

impl Members for OutputParameters<'_> {
    const NAME: &'static str = "`parameters`";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "binary_data" => self.0.binary = map.next_value::<Scalar>()?.flag(key)?,
            "classification" => {
                let classes = map.next_value::<Scalar>()?.whole(key)?;
                self.0.classification = classes.map(|k| usize::try_from(k).unwrap_or(usize::MAX));
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
