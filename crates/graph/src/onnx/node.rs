//! `NodeProto`: names resolved to values on the way in, written out as names on the way back.

use bytes::Bytes;

use crate::{Attribute, AttributeValue, Graph, Node, ValueId};

use super::error::OnnxError;
use super::place::Place;
use super::rope::Rope;
use super::tensor::Reader;
use super::wire::{WireError, fields};
use super::{attribute, scope};

/// A node whose inputs and outputs are still names.
pub(super) struct NamedNode<'a> {
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) captures: Vec<String>,
    pub(super) inner_names: Vec<String>,
    pub(super) node: Node,
    pub(super) place: Place<'a>,
}

#[derive(Default)]
struct Parts<'a> {
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    name: &'a str,
    op: &'a str,
    domain: &'a str,
    attributes: Vec<&'a [u8]>,
    opaque: Vec<u8>,
}

fn sort(message: &[u8]) -> Result<Parts<'_>, WireError> {
    let mut parts = Parts::default();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => parts.inputs.push(field.text()?),
            2 => parts.outputs.push(field.text()?),
            3 => parts.name = field.text()?,
            4 => parts.op = field.text()?,
            5 => parts.attributes.push(field.bytes()?),
            7 => parts.domain = field.text()?,
            _ => parts.opaque.extend_from_slice(field.raw),
        }
    }
    Ok(parts)
}

impl Reader<'_, '_> {
    /// Reads node number `index` of the graph.
    pub(super) fn node<'a>(&mut self, message: &'a [u8], index: usize) -> Result<NamedNode<'a>, OnnxError> {
        let parts = sort(message).map_err(OnnxError::wire(format_args!("node {index}")))?;
        let place = Place {
            index,
            op: parts.op,
            name: parts.name,
        };
        if parts.op.is_empty() {
            return Err(OnnxError::Missing {
                place: place.to_string(),
                what: "operator (op_type)",
            });
        }
        let mut attributes = Vec::with_capacity(parts.attributes.len());
        for encoded in parts.attributes {
            attributes.push(self.attribute(encoded, &place)?);
        }
        let (captures, inner_names) = subgraph_names(&attributes, &place)?;
        Ok(NamedNode {
            inputs: parts.inputs,
            outputs: parts.outputs,
            captures,
            inner_names,
            node: Node {
                name: parts.name.to_owned(),
                domain: parts.domain.to_owned(),
                op: parts.op.to_owned(),
                attributes,
                opaque: Bytes::from(parts.opaque),
                ..Node::default()
            },
            place,
        })
    }
}

fn subgraph_names(attributes: &[Attribute], place: &Place<'_>) -> Result<(Vec<String>, Vec<String>), OnnxError> {
    let (mut captures, mut inner) = (Vec::new(), Vec::new());
    for attribute in attributes {
        let AttributeValue::Opaque(encoded) = &attribute.value else {
            continue;
        };
        for graph in attribute::graphs(encoded).map_err(OnnxError::wire(place))? {
            let scope = scope::scope(graph, &place.to_string())?;
            captures.extend(scope.free);
            inner.extend(scope.inner);
        }
    }
    captures.sort_unstable();
    captures.dedup();
    Ok((captures, inner))
}

/// Encodes a node of `graph`.
pub(super) fn encode(node: Node, graph: &Graph) -> Rope {
    let mut rope = Rope::default();
    let mut names = |number: u32, values: &[Option<ValueId>]| {
        for value in values {
            rope.bytes(number, value.map_or("", |v| graph.value(v).name.as_str()).as_bytes());
        }
    };
    names(1, &node.inputs);
    names(2, &node.outputs);
    rope.text(3, &node.name);
    rope.text(4, &node.op);
    rope.text(7, &node.domain);
    for attribute in node.attributes {
        rope.message(5, attribute::encode(attribute));
    }
    rope.raw(&node.opaque);
    rope
}
