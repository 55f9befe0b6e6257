//! Blocks that are left as they are because the caller says so, with all of their nodes.

use std::collections::HashSet;

use crate::options::Unfused;
use crate::region::emit::Merged;
use crate::report::Block;
use repserve_graph::NodeId;

/// Which blocks are kept, and their nodes as far as they have been met.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    unfused: &'a Unfused,
    nodes: HashSet<NodeId>,
}

impl<'a> Kept<'a> {
    /// None has been met yet.
    pub(crate) fn new(unfused: &'a Unfused) -> Self {
        Self {
            unfused,
            nodes: HashSet::new(),
        }
    }

    /// Whether one of these nodes belongs to a block that is kept.
    pub(crate) fn any<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeId>) -> bool {
        !self.nodes.is_empty() && nodes.into_iter().any(|node| self.nodes.contains(node))
    }

    /// Whether the block is kept; its nodes are remembered then, so that no part of it is fused either.
    pub(crate) fn keeps(&mut self, block: &Block, merged: &Merged) -> bool {
        let kept = self.unfused.contains(&block.output);
        if kept {
            self.nodes.extend(&merged.nodes);
        }
        kept
    }
}
