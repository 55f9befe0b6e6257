//! The graph itself: nodes, values, constants, and the ways to change them one at a time.

use std::collections::{HashMap, HashSet};
use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use super::order::Order;
use super::uses::Uses;
use crate::node::Node;
use crate::ports::Ports;
use crate::tensor::Tensor;
use crate::value::{Dim, NodeId, Value, ValueId};

/// Nodes, values, constants. Nodes are kept in an order in which every value is produced before it is used.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The graph's name in the file.
    pub name: String,
    values: Vec<Value>,
    nodes: Vec<Option<Node>>,
    order: Order,
    uses: Uses,
    /// By value number.
    constants: Vec<Option<Box<Tensor>>>,
    sparse: HashMap<ValueId, Bytes>,
    names: HashMap<String, ValueId>,
    reserved: HashSet<String>,
    suffixes: HashMap<String, u32>,
    /// Graph inputs, in order. An input that also has a constant is an initializer listed as an input (IR < 4).
    pub inputs: Ports,
    /// Graph outputs, in order.
    pub outputs: Ports,
    /// Fields of the `GraphProto` that the IR does not model, encoded, kept as they are.
    pub opaque: Bytes,
}

/// A node under change. The index of producers and readers follows when it is dropped.
pub struct NodeMut<'a> {
    graph: &'a mut Graph,
    id: NodeId,
    node: Node,
}

impl Graph {
    /// Adds a value; a name that is taken gets a suffix.
    pub fn add_value(&mut self, mut value: Value) -> ValueId {
        if value.name.is_empty() || self.is_taken(&value.name) {
            value.name = self.fresh_name(&value.name);
        }
        let id = ValueId(self.values.len() as u32);
        self.names.insert(value.name.clone(), id);
        self.values.push(value);
        id
    }

    /// Adds a constant under `name` (suffixed where taken).
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let id = self.add_value(Value::named(name));
        self.set_constant(id, tensor);
        id
    }

    /// Gives an existing value a constant, and with it its type and shape.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        let value = &mut self.values[id.0 as usize];
        value.dtype = Some(tensor.dtype());
        value.shape = Some(tensor.shape().iter().map(|d| Dim::Fixed(*d)).collect());
        let index = id.0 as usize;
        if self.constants.len() <= index {
            self.constants.resize_with(self.values.len(), || None);
        }
        self.constants[index] = Some(Box::new(tensor));
    }

    /// Takes a value's constant away (its memory is freed with it).
    pub fn take_constant(&mut self, id: ValueId) -> Option<Tensor> {
        self.constants.get_mut(id.0 as usize)?.take().map(|tensor| *tensor)
    }

    /// The value's constant, where it has one.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(id.0 as usize)?.as_deref()
    }

    /// All constants, in order of their values.
    pub fn constants(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        let constants = self.constants.iter().enumerate();
        constants.filter_map(|(index, tensor)| Some((ValueId(index as u32), tensor.as_deref()?)))
    }

    /// Gives an existing value a constant that the IR does not look into: an encoded `SparseTensorProto`.
    pub fn set_sparse(&mut self, id: ValueId, encoded: Bytes) {
        self.sparse.insert(id, encoded);
    }

    /// Takes a value's sparse constant away.
    pub fn take_sparse(&mut self, id: ValueId) -> Option<Bytes> {
        self.sparse.remove(&id)
    }

    /// The encoded `SparseTensorProto` of a value, where it has one.
    pub fn sparse(&self, id: ValueId) -> Option<&Bytes> {
        self.sparse.get(&id)
    }

    /// All values with a sparse constant, in order.
    pub fn sparse_values(&self) -> Vec<ValueId> {
        let mut ids: Vec<_> = self.sparse.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Appends a node after all others.
    pub fn push_node(&mut self, node: Node) -> NodeId {
        self.insert_node(None, node)
    }

    /// Puts a node before `at` (where that was removed: in its place), or after all others.
    pub fn insert_node(&mut self, at: Option<NodeId>, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.uses.link(id, &node);
        self.nodes.push(Some(node));
        self.order.insert(id, at);
        id
    }

    /// Takes a node out. Its outputs have no producer from then on.
    pub fn remove_node(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.get_mut(id.0 as usize)?.take()?;
        self.uses.unlink(id, &node);
        self.order.remove(id);
        Some(node)
    }

    /// The node, unless it was removed.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// The node, for changing it in place.
    pub fn node_mut(&mut self, id: NodeId) -> Option<NodeMut<'_>> {
        let node = self.nodes.get_mut(id.0 as usize)?.take()?;
        self.uses.unlink(id, &node);
        Some(NodeMut { graph: self, id, node })
    }

    /// Live nodes in topological order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.order.iter().filter_map(|id| self.node(id).map(|n| (id, n)))
    }

    /// What is known of a value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// What is known of a value, for changing it in place. The name must stay.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The value called `name`.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// How many values the graph has ever had; every [`ValueId`] is below it.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The node that produces the value; `None` for inputs and constants. O(1).
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        self.uses.producer(id)
    }

    /// The nodes that read the value (inputs and subgraph captures), each once.
    pub fn users(&self, id: ValueId) -> impl Iterator<Item = NodeId> + '_ {
        self.uses.readers(id)
    }

    /// How often the value is read: by inputs, by subgraphs, as a graph output. O(1).
    pub fn use_count(&self, id: ValueId) -> usize {
        self.uses.reads(id) + usize::from(self.outputs.contains(&id))
    }

    /// The only node that reads the value, if it is read exactly once and is no graph output. O(1).
    pub fn only_user(&self, id: ValueId) -> Option<NodeId> {
        (self.use_count(id) == 1).then(|| self.users(id).next()).flatten()
    }

    /// Whether a subgraph reads the value by its name.
    pub fn is_captured(&self, id: ValueId) -> bool {
        self.users(id)
            .any(|n| self.node(n).is_some_and(|n| n.captures.contains(&id)))
    }

    /// Keeps new values from taking `name`, which a subgraph uses inside.
    pub fn reserve_name(&mut self, name: impl Into<String>) {
        self.reserved.insert(name.into());
    }

    fn is_taken(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.reserved.contains(name)
    }

    fn fresh_name(&mut self, stem: &str) -> String {
        let stem = if stem.is_empty() { "value" } else { stem };
        let mut next = self.suffixes.get(stem).copied().unwrap_or(0);
        loop {
            next += 1;
            let name = format!("{stem}_{next}");
            if !self.is_taken(&name) {
                self.suffixes.insert(stem.to_owned(), next);
                return name;
            }
        }
    }
}

impl Deref for NodeMut<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for NodeMut<'_> {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

impl Drop for NodeMut<'_> {
    fn drop(&mut self) {
        let node = std::mem::take(&mut self.node);
        self.graph.uses.link(self.id, &node);
        self.graph.nodes[self.id.0 as usize] = Some(node);
    }
}
