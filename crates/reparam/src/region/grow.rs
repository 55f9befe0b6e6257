//! Walking back from a result to a single source.

use std::collections::{BTreeSet, HashSet};

use super::Context;
use super::linear::classify;
use crate::reason::Reason;
use repserve_graph::{NodeId, ValueId};

/// Nodes that a region may have.
pub(crate) const NODES_MAX: usize = 512;

/// Why a walk stopped: the node or value in the way.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// The node whose output is in the way.
    pub(crate) node: NodeId,
    /// Why.
    pub(crate) reason: Reason,
}

/// A walk from a result backwards, always over the latest value, so that every reader of a value is met before it.
pub(crate) struct Walk<'a> {
    cx: &'a Context<'a>,
    root: ValueId,
    frontier: BTreeSet<(u32, ValueId)>,
    members: HashSet<NodeId>,
    /// The nodes passed, from the result backwards.
    pub(crate) nodes: Vec<NodeId>,
}

impl<'a> Walk<'a> {
    /// Starts at `root`.
    pub(crate) fn new(cx: &'a Context<'a>, root: ValueId) -> Self {
        Self {
            cx,
            root,
            frontier: BTreeSet::from([(cx.position(root), root)]),
            members: HashSet::new(),
            nodes: Vec::new(),
        }
    }

    /// The single value that everything passed depends on, if there is one now.
    pub(crate) fn source(&self) -> Option<ValueId> {
        match self.frontier.first() {
            Some((_, value)) if self.frontier.len() == 1 && *value != self.root => Some(*value),
            _ => None,
        }
    }

    /// Passes the latest value's node if it is linear and no node outside reads it.
    ///
    /// # Errors
    /// What is in the way; `None` at a graph input.
    pub(crate) fn step(&mut self) -> Result<(), Option<Stop>> {
        let Some(&(place, value)) = self.frontier.last() else {
            return Err(None);
        };
        let graph = self.cx.graph;
        let (id, node) = graph
            .producer(value)
            .and_then(|id| graph.node(id).map(|n| (id, n)))
            .ok_or(None)?;
        let stop = |reason| Some(Stop { node: id, reason });
        let (_, data) = classify(self.cx, node).map_err(stop)?;
        if let Some(reason) = self.escapes(value) {
            return Err(stop(reason));
        }
        self.frontier.remove(&(place, value));
        self.pass(id, data);
        Ok(())
    }

    /// Passes the latest value's node whatever it is, over all its non-constant inputs; whether there was one.
    pub(crate) fn force(&mut self) -> bool {
        let Some((_, value)) = self.frontier.pop_last() else {
            return false;
        };
        let graph = self.cx.graph;
        let Some((id, node)) = graph.producer(value).and_then(|id| graph.node(id).map(|n| (id, n))) else {
            return false;
        };
        let data = node.reads().filter(|v| graph.constant(*v).is_none()).collect();
        self.pass(id, data);
        true
    }

    fn pass(&mut self, id: NodeId, data: Vec<ValueId>) {
        if self.members.insert(id) {
            self.nodes.push(id);
        }
        for input in data {
            self.frontier.insert((self.cx.position(input), input));
        }
    }

    /// Why a value other than the result cannot be inside.
    fn escapes(&self, value: ValueId) -> Option<Reason> {
        if value == self.root {
            return None;
        }
        let graph = self.cx.graph;
        let name = || graph.value(value).name.clone();
        if graph.outputs.contains(&value) {
            return Some(Reason::GraphOutput(name()));
        }
        let outside = graph.users(value).any(|user| !self.members.contains(&user));
        outside.then(|| Reason::UsedElsewhere(name()))
    }
}
