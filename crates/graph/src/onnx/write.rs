//! `ModelProto` and `GraphProto` out.

use std::io;

use bytes::Bytes;

use crate::{Graph, Model, ValueId};

use super::beside::Beside;
use super::error::OnnxError;
use super::rope::Rope;
use super::{count, node, tensor, value_info};

/// What protobuf can hold in one message.
const MODEL_BYTES_MAX: usize = i32::MAX as usize;

/// Encodes a model, taking it apart on the way: a tensor's memory is free once its bytes are in the result.
///
/// # Errors
///
/// [`OnnxError::TooLarge`] above 2 GiB.
pub fn write(model: Model) -> Result<Vec<u8>, OnnxError> {
    let rope = encode(model)?;
    let mut bytes = Vec::with_capacity(rope.len());
    rope.into_iter().for_each(|piece| bytes.extend_from_slice(&piece));
    Ok(bytes)
}

/// Encodes a model into `sink` without holding the encoded form. Many small writes: give it a buffered one.
///
/// # Errors
///
/// [`OnnxError::TooLarge`] above 2 GiB (nothing is written then), [`OnnxError::Io`] from the sink.
pub fn write_to(model: Model, mut sink: impl io::Write) -> Result<(), OnnxError> {
    for piece in pieces(model)? {
        sink.write_all(&piece)?;
    }
    sink.flush()?;
    Ok(())
}

/// The encoded model in pieces, in order. Large tensors are pieces that share their memory with the model's.
///
/// # Errors
///
/// [`OnnxError::TooLarge`] above 2 GiB.
pub fn pieces(model: Model) -> Result<impl Iterator<Item = Bytes>, OnnxError> {
    Ok(encode(model)?.into_iter())
}

/// Encodes a model whose initializers of at least `bytes_min` bytes go to `weights`, one after the other; the encoded model, which is
/// returned, says that they lie in the file `location` beside it.
///
/// # Errors
///
/// As [`write_to`]; 2 GiB are the most for what stays in the model.
pub fn write_beside(
    model: Model,
    location: &str,
    bytes_min: usize,
    mut weights: impl io::Write,
) -> Result<Vec<u8>, OnnxError> {
    let mut beside = Beside::new(location, bytes_min, &mut weights);
    let rope = encode_with(model, Some(&mut beside))?;
    weights.flush()?;
    let pieces: Vec<Bytes> = rope.into_iter().collect();
    Ok(pieces.concat())
}

fn encode(model: Model) -> Result<Rope, OnnxError> {
    encode_with(model, None)
}

fn encode_with(model: Model, beside: Option<&mut Beside<'_>>) -> Result<Rope, OnnxError> {
    count::writing();
    let mut rope = Rope::default();
    rope.int(1, model.ir_version);
    rope.text(2, &model.producer_name);
    rope.text(3, &model.producer_version);
    let graph = encode_graph(model.graph, beside)?;
    rope.message(7, graph);
    for (domain, version) in &model.opsets {
        let mut opset = Rope::default();
        opset.bytes(1, domain.as_bytes());
        opset.int(2, *version);
        rope.message(8, opset);
    }
    for (key, value) in &model.metadata {
        let mut entry = Rope::default();
        entry.bytes(1, key.as_bytes());
        entry.bytes(2, value.as_bytes());
        rope.message(14, entry);
    }
    for function in model.functions {
        rope.shared_bytes(25, function);
    }
    rope.shared(model.opaque);
    if rope.len() > MODEL_BYTES_MAX {
        return Err(OnnxError::TooLarge { bytes: rope.len() });
    }
    Ok(rope)
}

fn encode_graph(mut graph: Graph, mut beside: Option<&mut Beside<'_>>) -> Result<Rope, OnnxError> {
    let wire = |error| OnnxError::wire("the graph")(error);
    let mut rope = Rope::default();
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    let mut infos: Vec<ValueId> = Vec::new();
    for id in ids {
        let Some(node) = graph.remove_node(id) else { continue };
        infos.extend(node.produces().filter(|v| !graph.outputs.contains(v)));
        rope.message(1, node::encode(node, &graph));
    }
    rope.text(2, &graph.name);
    let constants: Vec<ValueId> = graph.constants().map(|(id, _)| id).collect();
    for id in constants {
        if let Some(tensor) = graph.take_constant(id) {
            let annotated = graph.value(id).opaque.is_some() && !graph.inputs.contains(&id);
            if annotated && !graph.outputs.contains(&id) {
                infos.push(id);
            }
            let name = &graph.value(id).name;
            let encoded = match &mut beside {
                Some(beside) if beside.takes(&tensor) => beside.place(name, &tensor)?,
                _ => tensor::encode(Some(name), tensor),
            };
            rope.message(5, encoded);
        }
    }
    for id in graph.sparse_values() {
        if let Some(encoded) = graph.take_sparse(id) {
            rope.shared_bytes(15, encoded);
        }
    }
    for id in &graph.inputs {
        rope.message(11, value_info::encode(graph.value(*id)).map_err(wire)?);
    }
    for id in &graph.outputs {
        rope.message(12, value_info::encode(graph.value(*id)).map_err(wire)?);
    }
    for id in infos {
        let value = graph.value(id);
        if value.dtype.is_some() || value.shape.is_some() || value.opaque.is_some() {
            rope.message(13, value_info::encode(value).map_err(wire)?);
        }
    }
    rope.shared(graph.opaque);
    Ok(rope)
}
