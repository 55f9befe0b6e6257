//! `ModelProto` and `GraphProto` out.

use std::io;

use bytes::Bytes;

use crate::{Graph, Model, ValueId};

use super::error::OnnxError;
use super::rope::Rope;
use super::wire::WireError;
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

fn encode(model: Model) -> Result<Rope, OnnxError> {
    count::writing();
    let mut rope = Rope::default();
    rope.int(1, model.ir_version);
    rope.text(2, &model.producer_name);
    rope.text(3, &model.producer_version);
    let graph = encode_graph(model.graph).map_err(OnnxError::wire("the graph"))?;
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

fn encode_graph(mut graph: Graph) -> Result<Rope, WireError> {
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
            rope.message(5, tensor::encode(Some(&graph.value(id).name), tensor));
        }
    }
    for id in graph.sparse_values() {
        if let Some(encoded) = graph.take_sparse(id) {
            rope.shared_bytes(15, encoded);
        }
    }
    for id in &graph.inputs {
        rope.message(11, value_info::encode(graph.value(*id))?);
    }
    for id in &graph.outputs {
        rope.message(12, value_info::encode(graph.value(*id))?);
    }
    for id in infos {
        let value = graph.value(id);
        if value.dtype.is_some() || value.shape.is_some() || value.opaque.is_some() {
            rope.message(13, value_info::encode(value)?);
        }
    }
    rope.shared(graph.opaque);
    Ok(rope)
}
