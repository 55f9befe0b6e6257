//! An edit of a graph as a value: described first, applied at once.

use super::{Graph, Node, NodeId, ValueId};

/// What a pass wants changed. Nodes are removed and, where the first of `remove` (in graph order) or `at` stood, the new ones inserted;
/// readers of `replace.0` then read `replace.1`. Constants that nobody reads any more are dropped.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Nodes to take out.
    pub remove: Vec<NodeId>,
    /// Nodes to put in, in order, and the node before which they go.
    pub insert: Vec<(NodeId, Node)>,
    /// Values whose readers (and graph outputs) read another from now on.
    pub replace: Vec<(ValueId, ValueId)>,
}

impl Patch {
    /// Applies the edit.
    #[allow(clippy::unimplemented)]
    pub fn apply(self, graph: &mut Graph) {
        let _ = graph;
        unimplemented!("the graph room")
    }
}
