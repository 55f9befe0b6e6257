//! Which names a subgraph reads from the graphs around it.

use std::collections::HashSet;

use super::error::OnnxError;
use super::wire::{WireError, fields};
use super::{attribute, tensor};

/// How deep graphs may nest.
const DEPTH_MAX: usize = 32;

/// Names in a subgraph and in those inside it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Read but not defined within: they come from outside. In order of first reading, each once.
    pub(super) free: Vec<String>,
    /// Defined within.
    pub(super) inner: Vec<String>,
}

/// Looks through the encoded subgraph `graph` of `place`.
pub(super) fn scope(graph: &[u8], place: &str) -> Result<Scope, OnnxError> {
    let mut scope = Scope::default();
    let mut seen = HashSet::new();
    let free = walk(graph, place, 1, &mut scope.inner)?;
    scope.free = free.into_iter().filter(|n| seen.insert(n.clone())).collect();
    Ok(scope)
}

#[derive(Default)]
struct Level<'a> {
    defined: HashSet<&'a str>,
    read: Vec<&'a str>,
    nested: Vec<&'a [u8]>,
}

fn walk(graph: &[u8], place: &str, depth: usize, inner: &mut Vec<String>) -> Result<Vec<String>, OnnxError> {
    if depth > DEPTH_MAX {
        return Err(OnnxError::TooDeep {
            place: place.to_owned(),
            limit: DEPTH_MAX,
        });
    }
    let mut level = Level::default();
    let external = level
        .graph(graph)
        .map_err(OnnxError::wire(format!("a subgraph of {place}")))?;
    if let Some(tensor) = external {
        return Err(OnnxError::External {
            tensor: tensor.to_owned(),
            location: format!("a subgraph of {place}"),
            problem: "external data inside a subgraph is not supported; save the model with its data inside".to_owned(),
        });
    }
    inner.extend(level.defined.iter().map(|n| (*n).to_owned()));
    let mut free: Vec<String> = level
        .read
        .iter()
        .filter(|n| !n.is_empty() && !level.defined.contains(*n))
        .map(|n| (*n).to_owned())
        .collect();
    for nested in &level.nested {
        let deeper = walk(nested, place, depth + 1, inner)?;
        free.extend(deeper.into_iter().filter(|n| !level.defined.contains(n.as_str())));
    }
    Ok(free)
}

impl<'a> Level<'a> {
    /// Collects names; returns the name of a tensor with external data, if there is one.
    fn graph(&mut self, message: &'a [u8]) -> Result<Option<&'a str>, WireError> {
        let mut external = None;
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => self.node(field.bytes()?)?,
                5 => {
                    let name = tensor::name_of(field.bytes()?)?;
                    if tensor::is_external(field.bytes()?)? {
                        external = Some(name);
                    }
                    self.defined.insert(name);
                }
                11 => {
                    self.defined.insert(first_text(field.bytes()?)?);
                }
                12 => self.read.push(first_text(field.bytes()?)?),
                15 => {
                    for field in fields(field.bytes()?) {
                        let field = field?;
                        if field.number == 1 {
                            self.defined.insert(tensor::name_of(field.bytes()?)?);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(external)
    }

    fn node(&mut self, message: &'a [u8]) -> Result<(), WireError> {
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => self.read.push(field.text()?),
                2 => {
                    self.defined.insert(field.text()?);
                }
                5 => self.nested.extend(attribute::graphs(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Field 1 of a `ValueInfoProto`: its name.
fn first_text(message: &[u8]) -> Result<&str, WireError> {
    let mut name = "";
    for field in fields(message) {
        let field = field?;
        if field.number == 1 {
            name = field.text()?;
        }
    }
    Ok(name)
}
