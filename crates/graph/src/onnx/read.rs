//! `ModelProto` and `GraphProto` in.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::verify::verify;
use crate::{Graph, Model, Node, Value, ValueId};

use super::count;
use super::error::OnnxError;
use super::external::{ExternalData, Externals};
use super::foreign;
use super::node::NamedNode;
use super::sort;
use super::tensor::{self, Reader};
use super::value_info::Info;
use super::wire::{Field, Source, WireError, fields};

/// Reads a model. Its tensors share `bytes`; those with external data come from `external`.
///
/// The result is a valid graph in topological order, whatever the order in the file.
///
/// # Errors
///
/// [`OnnxError`] says what is wrong with the file and where. Memory and time are bounded by the size of the file
/// (and of the external files it names), not by what it declares.
pub fn read(bytes: Bytes, external: &ExternalData) -> Result<Model, OnnxError> {
    read_all(bytes, external).map(|(model, _)| model)
}

/// The files in which a model's tensors keep their data, in no order.
///
/// # Errors
///
/// As [`read`].
pub fn external_files(bytes: Bytes, external: &ExternalData) -> Result<Vec<PathBuf>, OnnxError> {
    read_all(bytes, external).map(|(_, files)| files)
}

fn read_all(bytes: Bytes, external: &ExternalData) -> Result<(Model, Vec<PathBuf>), OnnxError> {
    count::reading();
    let source = Source::new(&bytes);
    let parts = ModelParts::sort(source.all()).map_err(|e| not_onnx(&bytes, e))?;
    let Some(graph) = parts.graph else {
        return Err(if bytes.is_empty() {
            OnnxError::Empty
        } else {
            not_onnx(&bytes, None)
        });
    };
    let mut reader = Reader {
        source,
        externals: Externals::new(external),
    };
    let graph = reader.graph(graph)?;
    verify(&graph)?;
    let model = Model {
        graph,
        ir_version: parts.ir_version,
        opsets: parts.opsets,
        producer_name: parts.producer_name.to_owned(),
        producer_version: parts.producer_version.to_owned(),
        metadata: parts.metadata,
        functions: parts.functions.into_iter().map(|f| source.keep(f)).collect(),
        opaque: Bytes::from(parts.opaque),
    };
    Ok((model, reader.externals.into_paths()))
}

/// Distinguishes a truncated model from a file of another kind.
fn not_onnx(bytes: &[u8], error: Option<WireError>) -> OnnxError {
    if let Some(kind) = foreign::name(bytes) {
        return OnnxError::NotOnnx(kind);
    }
    let starts_like_onnx = fields(bytes)
        .next()
        .is_some_and(|f| f.is_ok_and(|f| f.number == 1 && matches!(f.int(), Ok(1..1000))));
    match error {
        Some(WireError::Truncated) if starts_like_onnx => OnnxError::Truncated { bytes: bytes.len() },
        Some(error) => OnnxError::NotOnnx(format!("it is damaged or of another kind ({error})")),
        None => OnnxError::NotOnnx("it holds no graph".to_owned()),
    }
}

#[derive(Default)]
struct ModelParts<'a> {
    ir_version: i64,
    producer_name: &'a str,
    producer_version: &'a str,
    graph: Option<&'a [u8]>,
    opsets: Vec<(String, i64)>,
    metadata: Vec<(String, String)>,
    functions: Vec<&'a [u8]>,
    opaque: Vec<u8>,
}

impl<'a> ModelParts<'a> {
    fn sort(message: &'a [u8]) -> Result<Self, Option<WireError>> {
        let mut parts = Self::default();
        for field in fields(message) {
            parts.field(field.map_err(Some)?).map_err(Some)?;
        }
        Ok(parts)
    }

    fn field(&mut self, field: Field<'a>) -> Result<(), WireError> {
        match field.number {
            1 => self.ir_version = field.int()?,
            2 => self.producer_name = field.text()?,
            3 => self.producer_version = field.text()?,
            7 => self.graph = Some(field.bytes()?),
            8 => {
                let (mut domain, mut version) = (String::new(), 0);
                for field in fields(field.bytes()?) {
                    let field = field?;
                    match field.number {
                        1 => field.text()?.clone_into(&mut domain),
                        2 => version = field.int()?,
                        _ => {}
                    }
                }
                self.opsets.push((domain, version));
            }
            14 => {
                let (key, value) = tensor::entry_of(field.bytes()?)?;
                self.metadata.push((key.to_owned(), value.to_owned()));
            }
            25 => self.functions.push(field.bytes()?),
            _ => self.opaque.extend_from_slice(field.raw),
        }
        Ok(())
    }
}

#[derive(Default)]
struct GraphParts<'a> {
    name: &'a str,
    nodes: Vec<&'a [u8]>,
    initializers: Vec<&'a [u8]>,
    sparse: Vec<&'a [u8]>,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    infos: Vec<&'a [u8]>,
    opaque: Vec<u8>,
}

impl<'a> GraphParts<'a> {
    fn sort(message: &'a [u8]) -> Result<Self, WireError> {
        let mut parts = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => parts.nodes.push(field.bytes()?),
                2 => parts.name = field.text()?,
                5 => parts.initializers.push(field.bytes()?),
                11 => parts.inputs.push(field.bytes()?),
                12 => parts.outputs.push(field.bytes()?),
                13 => parts.infos.push(field.bytes()?),
                15 => parts.sparse.push(field.bytes()?),
                _ => parts.opaque.extend_from_slice(field.raw),
            }
        }
        Ok(parts)
    }
}

impl Reader<'_, '_> {
    fn graph(&mut self, message: &[u8]) -> Result<Graph, OnnxError> {
        let parts = GraphParts::sort(message).map_err(OnnxError::wire("the graph"))?;
        let mut graph = Graph::default();
        parts.name.clone_into(&mut graph.name);
        graph.opaque = Bytes::from(parts.opaque);
        for encoded in parts.inputs {
            let info = Info::read(encoded).map_err(OnnxError::wire("a graph input"))?;
            let id = define(&mut graph, &info.name, "a graph input")?;
            info.apply(graph.value_mut(id));
            graph.inputs.push(id);
        }
        for encoded in parts.initializers {
            let (name, tensor) = self.initializer(encoded)?;
            let id = constant_slot(&mut graph, &name)?;
            graph.set_constant(id, tensor);
        }
        for encoded in parts.sparse {
            let name = sparse_name(encoded).map_err(OnnxError::wire("a sparse initializer"))?;
            let id = constant_slot(&mut graph, name)?;
            graph.set_sparse(id, self.source.keep(encoded));
        }
        self.nodes(&parts.nodes, &mut graph)?;
        for encoded in parts.infos {
            let info = Info::read(encoded).map_err(OnnxError::wire("a value_info"))?;
            if let Some(id) = graph.find(&info.name) {
                describe(&mut graph, id, info);
            }
        }
        for encoded in parts.outputs {
            let info = Info::read(encoded).map_err(OnnxError::wire("a graph output"))?;
            let Some(id) = graph.find(&info.name) else {
                return Err(OnnxError::Undefined {
                    name: info.name,
                    place: "the list of graph outputs".to_owned(),
                });
            };
            describe(&mut graph, id, info);
            graph.outputs.push(id);
        }
        Ok(graph)
    }

    fn nodes(&mut self, encoded: &[&[u8]], graph: &mut Graph) -> Result<(), OnnxError> {
        let mut named = Vec::with_capacity(encoded.len());
        for (index, message) in encoded.iter().enumerate() {
            named.push(self.node(message, index)?);
        }
        for node in &mut named {
            for name in std::mem::take(&mut node.outputs) {
                let id = if name.is_empty() {
                    None
                } else {
                    Some(define(graph, name, node.place)?)
                };
                node.node.outputs.push(id);
            }
        }
        let mut places = Vec::with_capacity(named.len());
        let mut nodes = Vec::with_capacity(named.len());
        for node in named {
            places.push(node.place);
            nodes.push(resolve(graph, node)?);
        }
        let order = sort::topological(&nodes, graph.value_count()).map_err(|i| OnnxError::Cycle {
            place: places[i].to_string(),
        })?;
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        for index in order {
            if let Some(node) = nodes[index].take() {
                graph.push_node(node);
            }
        }
        Ok(())
    }
}

/// Adds the value `name`, which must be new.
fn define(graph: &mut Graph, name: &str, place: impl fmt::Display) -> Result<ValueId, OnnxError> {
    if name.is_empty() {
        return Err(OnnxError::Missing {
            place: place.to_string(),
            what: "name",
        });
    }
    if graph.find(name).is_some() {
        return Err(OnnxError::Duplicate {
            name: name.to_owned(),
            place: place.to_string(),
        });
    }
    Ok(graph.add_value(Value::named(name)))
}

/// The value for initializer `name`: new, or a graph input that has no initializer yet.
fn constant_slot(graph: &mut Graph, name: &str) -> Result<ValueId, OnnxError> {
    match graph.find(name) {
        Some(id) if graph.constant(id).is_none() && graph.sparse(id).is_none() => Ok(id),
        _ => define(graph, name, "an initializer"),
    }
}

/// Gives a value what a `ValueInfoProto` says; a constant knows its type and shape better.
fn describe(graph: &mut Graph, id: ValueId, info: Info) {
    let constant = graph.constant(id).is_some();
    let value = graph.value_mut(id);
    let (dtype, shape) = (value.dtype, value.shape.clone());
    info.apply(value);
    if constant {
        (value.dtype, value.shape) = (dtype, shape);
    }
}

/// Turns a node's names into values.
fn resolve(graph: &mut Graph, named: NamedNode<'_>) -> Result<Node, OnnxError> {
    let find = |graph: &Graph, name: &str| {
        graph.find(name).ok_or_else(|| OnnxError::Undefined {
            name: name.to_owned(),
            place: named.place.to_string(),
        })
    };
    let mut node = named.node;
    for name in named.inputs {
        let id = if name.is_empty() {
            None
        } else {
            Some(find(graph, name)?)
        };
        node.inputs.push(id);
    }
    for name in &named.captures {
        node.captures.push(find(graph, name)?);
    }
    for name in named.inner_names {
        graph.reserve_name(name);
    }
    Ok(node)
}

/// The name of a `SparseTensorProto`: that of its values.
fn sparse_name(message: &[u8]) -> Result<&str, WireError> {
    let mut name = "";
    for field in fields(message) {
        let field = field?;
        if field.number == 1 {
            name = tensor::name_of(field.bytes()?)?;
        }
    }
    Ok(name)
}
