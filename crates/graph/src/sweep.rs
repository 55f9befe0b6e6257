//! Taking away what no output needs, and counting what is left.

use std::collections::BTreeMap;

use crate::body::Graph;
use crate::value::ValueId;

/// What [`Graph::sweep`] took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Nodes without a reader.
    pub nodes: usize,
    /// Constants without a reader.
    pub constants: usize,
}

impl Graph {
    /// Removes nodes and constants that no graph output depends on, and initializers listed as inputs that no node
    /// reads. True graph inputs stay. Linear in the graph.
    pub fn sweep(&mut self) -> Swept {
        let mut swept = Swept::default();
        let ids: Vec<_> = self.nodes().map(|(id, _)| id).rev().collect();
        for id in ids {
            let dead = self
                .node(id)
                .is_some_and(|n| n.produces().all(|v| self.use_count(v) == 0));
            if dead {
                self.remove_node(id);
                swept.nodes += 1;
            }
        }
        let unread: Vec<ValueId> = self
            .constants()
            .map(|(id, _)| id)
            .chain(self.sparse_values())
            .filter(|id| self.use_count(*id) == 0)
            .collect();
        for id in &unread {
            self.take_constant(*id);
            self.take_sparse(*id);
        }
        swept.constants = unread.len();
        if unread.iter().any(|id| self.inputs.contains(id)) {
            let unread: std::collections::HashSet<ValueId> = unread.into_iter().collect();
            self.inputs.retain(|id| !unread.contains(id));
        }
        swept
    }

    /// How many live nodes there are of each operator; those of other domains as `domain::op`.
    pub fn op_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, node) in self.nodes() {
            let op = if node.is(&node.op) {
                node.op.clone()
            } else {
                format!("{}::{}", node.domain, node.op)
            };
            *counts.entry(op).or_default() += 1;
        }
        counts
    }

    /// Number of live nodes.
    pub fn node_count(&self) -> usize {
        self.nodes().count()
    }

    /// Number of floating-point constants' elements: the model's parameters, BatchNormalization statistics included.
    pub fn parameter_count(&self) -> usize {
        self.constants()
            .filter(|(_, t)| t.dtype().is_float())
            .map(|(_, t)| t.len())
            .sum()
    }

    /// The inputs that a caller must feed: those without a constant.
    pub fn true_inputs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().copied().filter(|id| self.constant(*id).is_none())
    }
}
