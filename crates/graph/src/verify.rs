//! The invariants of a valid graph.
//!
//! 1. Every id that a node, the inputs or the outputs name is a value of the graph.
//! 2. Every value has a name, and no two have the same.
//! 3. A value comes from one place: a graph input, a constant, or one output of one node. Only a graph input and a
//!    constant may be the same value (an initializer that is listed as an input).
//! 4. Every value that a node reads, by its inputs or in its subgraphs, comes from an input, a constant or a node
//!    before it in the order. So there is no cycle.
//! 5. Every graph output comes from somewhere.
//! 6. A constant's recorded type and shape are its tensor's.
//! 7. The index of producers and readers says what the nodes say.

use crate::body::Graph;
use crate::node::Node;
use crate::value::{Dim, NodeId, ValueId};

/// Which invariant does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// An id without a value.
    #[error("{place} names value number {value}, and the graph has only {count} values")]
    Dangling {
        /// Who names it.
        place: String,
        /// The number.
        value: u32,
        /// How many values there are.
        count: usize,
    },
    /// A nameless value or two of one name.
    #[error("the name {0:?} belongs to no value or to more than one; names must be unique and not empty")]
    Name(String),
    /// Two origins of a value.
    #[error("value {value:?} comes from {first} and from {second}; it may come from one place only")]
    Origins {
        /// The value.
        value: String,
        /// One place.
        first: String,
        /// The other.
        second: String,
    },
    /// Read before it exists, or it never does.
    #[error("{place} reads {value:?}, which no input, constant or earlier node provides")]
    Undefined {
        /// Who reads it.
        place: String,
        /// The value.
        value: String,
    },
    /// A constant under the wrong type or shape.
    #[error("constant {0:?} is recorded with another type or shape than its tensor has")]
    Constant(String),
    /// The index of producers and readers is stale.
    #[error("the index of producers and readers is wrong about {0:?}")]
    Index(String),
}

/// Checks every invariant. Linear in the graph.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    ids(graph)?;
    names(graph)?;
    origins_and_order(graph)?;
    constants(graph)?;
    index(graph)
}

fn place(node: &Node) -> String {
    format!("node {:?} ({})", node.name, node.op)
}

fn ids(graph: &Graph) -> Result<(), VerifyError> {
    let count = graph.value_count();
    let check = |place: &dyn Fn() -> String, v: ValueId| {
        if (v.0 as usize) < count {
            return Ok(());
        }
        Err(VerifyError::Dangling {
            place: place(),
            value: v.0,
            count,
        })
    };
    for v in &graph.inputs {
        check(&|| "the list of graph inputs".into(), *v)?;
    }
    for v in &graph.outputs {
        check(&|| "the list of graph outputs".into(), *v)?;
    }
    for (v, _) in graph.constants() {
        check(&|| "the table of constants".into(), v)?;
    }
    for (_, node) in graph.nodes() {
        for v in node.reads().chain(node.produces()) {
            check(&|| place(node), v)?;
        }
    }
    Ok(())
}

fn names(graph: &Graph) -> Result<(), VerifyError> {
    for index in 0..graph.value_count() {
        let id = ValueId(index as u32);
        let name = &graph.value(id).name;
        if name.is_empty() || graph.find(name) != Some(id) {
            return Err(VerifyError::Name(name.clone()));
        }
    }
    Ok(())
}

fn origins_and_order(graph: &Graph) -> Result<(), VerifyError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Origin {
        Nothing,
        Input,
        Constant,
        Node(NodeId),
    }
    let describe = |origin: Origin| match origin {
        Origin::Nothing => "nowhere".to_owned(),
        Origin::Input => "the graph inputs".to_owned(),
        Origin::Constant => "the constants".to_owned(),
        Origin::Node(id) => graph.node(id).map(place).unwrap_or_default(),
    };
    let mut origins = vec![Origin::Nothing; graph.value_count()];
    let twice = |value: ValueId, first: Origin, second: Origin| VerifyError::Origins {
        value: graph.value(value).name.clone(),
        first: describe(first),
        second: describe(second),
    };
    for v in &graph.inputs {
        let origin = &mut origins[v.0 as usize];
        if *origin != Origin::Nothing {
            return Err(twice(*v, *origin, Origin::Input));
        }
        *origin = Origin::Input;
    }
    for (v, _) in graph.constants() {
        origins[v.0 as usize] = Origin::Constant;
    }
    for v in graph.sparse_values() {
        origins[v.0 as usize] = Origin::Constant;
    }
    let undefined = |place: String, v: ValueId| VerifyError::Undefined {
        place,
        value: graph.value(v).name.clone(),
    };
    for (id, node) in graph.nodes() {
        for v in node.reads() {
            if origins[v.0 as usize] == Origin::Nothing {
                return Err(undefined(place(node), v));
            }
        }
        for v in node.produces() {
            let origin = &mut origins[v.0 as usize];
            if *origin != Origin::Nothing {
                return Err(twice(v, *origin, Origin::Node(id)));
            }
            *origin = Origin::Node(id);
        }
    }
    for v in &graph.outputs {
        if origins[v.0 as usize] == Origin::Nothing {
            return Err(undefined("the list of graph outputs".to_owned(), *v));
        }
    }
    Ok(())
}

fn constants(graph: &Graph) -> Result<(), VerifyError> {
    for (id, tensor) in graph.constants() {
        let value = graph.value(id);
        let dtype_agrees = value.dtype == Some(tensor.dtype());
        let shape_agrees = value.shape.as_ref().is_some_and(|shape| {
            shape.len() == tensor.shape().len() && shape.iter().zip(tensor.shape()).all(|(a, b)| *a == Dim::Fixed(*b))
        });
        if !dtype_agrees || !shape_agrees {
            return Err(VerifyError::Constant(value.name.clone()));
        }
    }
    Ok(())
}

fn index(graph: &Graph) -> Result<(), VerifyError> {
    let mut reads = vec![0usize; graph.value_count()];
    for (id, node) in graph.nodes() {
        for v in node.produces() {
            if graph.producer(v) != Some(id) {
                return Err(VerifyError::Index(graph.value(v).name.clone()));
            }
        }
        for v in node.reads() {
            reads[v.0 as usize] += 1;
        }
    }
    for (index, read) in reads.iter().enumerate() {
        let v = ValueId(index as u32);
        let expected = read + usize::from(graph.outputs.contains(&v));
        let produced = graph
            .producer(v)
            .is_none_or(|n| graph.node(n).is_some_and(|n| n.produces().any(|p| p == v)));
        if graph.use_count(v) != expected || !produced {
            return Err(VerifyError::Index(graph.value(v).name.clone()));
        }
    }
    Ok(())
}
