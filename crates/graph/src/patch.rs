//! An edit of a graph as a value: described first, applied at once.

use crate::body::Graph;
use crate::node::Node;
use crate::value::{NodeId, ValueId};

/// The changes that a pass makes. Nodes are removed and, where the first of `remove` (in graph order) or `at` stood, the new ones inserted;
/// readers of `replace.0` then read `replace.1`. Constants that no node reads any more are dropped.
///
/// A graph output, and a value that a subgraph reads, keeps its name: where `replace.0` is one and nothing produces
/// it any more, the producer of `replace.1` produces `replace.0` from then on, and readers of `replace.1` read that;
/// where that cannot be (`replace.1` is an input, a constant or has a name to keep itself), an `Identity` joins them.
///
/// Applying costs what the patch touches, not what the graph holds.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Nodes to take out.
    pub remove: Vec<NodeId>,
    /// Nodes to put in, in order, and the node before which they go (a node that was removed stands for its place).
    pub insert: Vec<(NodeId, Node)>,
    /// Values whose readers (and graph outputs) read another from now on.
    pub replace: Vec<(ValueId, ValueId)>,
}

impl Patch {
    /// Applies the edit.
    #[allow(clippy::unimplemented)]
    pub fn apply(self, graph: &mut Graph) {
        let mut touched: Vec<ValueId> = Vec::new();
        let mut places: Vec<(ValueId, NodeId)> = Vec::new();
        for id in &self.remove {
            if let Some(node) = graph.remove_node(*id) {
                touched.extend(node.reads());
                places.extend(node.produces().map(|v| (v, *id)));
            }
        }
        for (at, node) in self.insert {
            graph.insert_node(Some(at), node);
        }
        for (old, new) in self.replace {
            if old != new {
                redirect(graph, old, new, &places);
                touched.push(old);
            }
        }
        for value in touched {
            drop_unread(graph, value);
        }
    }
}

/// Lets everything that reads `old` read `new`.
fn redirect(graph: &mut Graph, old: ValueId, new: ValueId, places: &[(ValueId, NodeId)]) {
    let keeps_name = graph.outputs.contains(&old) || graph.is_captured(old);
    if !keeps_name {
        reread(graph, old, new);
        return;
    }
    if graph.producer(old).is_some() || graph.constant(old).is_some() || graph.inputs.contains(&old) {
        reread(graph, old, new);
        return;
    }
    let movable = graph.producer(new).is_some()
        && !graph.outputs.contains(&new)
        && !graph.inputs.contains(&new)
        && !graph.is_captured(new);
    if movable {
        if let Some(mut node) = graph.producer(new).and_then(|n| graph.node_mut(n)) {
            for output in node.outputs.iter_mut().filter(|o| **o == Some(new)) {
                *output = Some(old);
            }
        }
        reread(graph, new, old);
        return;
    }
    reread(graph, old, new);
    let at = places.iter().find(|(v, _)| *v == old).map(|(_, n)| *n);
    graph.insert_node(at, Node::new("Identity", vec![new], vec![old]));
}

/// Inputs that name `old` name `new` from now on; captures are by name and stay.
fn reread(graph: &mut Graph, old: ValueId, new: ValueId) {
    let users: Vec<NodeId> = graph.users(old).collect();
    for user in users {
        if let Some(mut node) = graph.node_mut(user) {
            for input in node.inputs.iter_mut().filter(|i| **i == Some(old)) {
                *input = Some(new);
            }
        }
    }
}

/// Frees a constant without readers. One that is listed as a graph input waits for [`Graph::sweep`].
fn drop_unread(graph: &mut Graph, value: ValueId) {
    if graph.use_count(value) == 0 && !graph.inputs.contains(&value) {
        graph.take_constant(value);
        graph.take_sparse(value);
    }
}
