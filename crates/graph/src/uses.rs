//! Who produces a value and who reads it, kept up to date by every edit.

use std::collections::BTreeMap;

use crate::node::Node;
use crate::value::{NodeId, ValueId};

/// Producer and readers of every value.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses {
    values: Vec<Entry>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    producer: Option<NodeId>,
    readers: Readers,
    reads: usize,
}

/// The nodes that read a value and how often each. Most values have one reader; only others take memory for a tree.
#[derive(Debug, Clone, Default)]
enum Readers {
    #[default]
    None,
    One(NodeId, u32),
    Many(BTreeMap<NodeId, u32>),
}

impl Readers {
    fn add(&mut self, id: NodeId) {
        match self {
            Self::None => *self = Self::One(id, 1),
            Self::One(one, count) if *one == id => *count += 1,
            Self::One(one, count) => *self = Self::Many(BTreeMap::from([(*one, *count), (id, 1)])),
            Self::Many(many) => *many.entry(id).or_default() += 1,
        }
    }

    fn take(&mut self, id: NodeId) {
        match self {
            Self::One(one, count) if *one == id => {
                *count -= 1;
                if *count == 0 {
                    *self = Self::None;
                }
            }
            Self::Many(many) => {
                if let Some(count) = many.get_mut(&id) {
                    *count -= 1;
                    if *count == 0 {
                        many.remove(&id);
                    }
                }
            }
            Self::None | Self::One(..) => {}
        }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(id, _) => (Some(*id), None),
            Self::Many(many) => (None, Some(many.keys().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl Uses {
    fn entry(&mut self, id: ValueId) -> &mut Entry {
        let index = id.0 as usize;
        if self.values.len() <= index {
            self.values.resize_with(index + 1, Entry::default);
        }
        &mut self.values[index]
    }

    /// Records what the node reads and produces.
    pub(super) fn link(&mut self, id: NodeId, node: &Node) {
        for v in node.reads() {
            let entry = self.entry(v);
            entry.readers.add(id);
            entry.reads += 1;
        }
        for v in node.produces() {
            self.entry(v).producer = Some(id);
        }
    }

    /// Forgets what the node reads and produces.
    pub(super) fn unlink(&mut self, id: NodeId, node: &Node) {
        for v in node.reads() {
            let entry = self.entry(v);
            entry.reads -= 1;
            entry.readers.take(id);
        }
        for v in node.produces() {
            let entry = self.entry(v);
            if entry.producer == Some(id) {
                entry.producer = None;
            }
        }
    }

    pub(super) fn producer(&self, id: ValueId) -> Option<NodeId> {
        self.values.get(id.0 as usize).and_then(|e| e.producer)
    }

    pub(super) fn reads(&self, id: ValueId) -> usize {
        self.values.get(id.0 as usize).map_or(0, |e| e.reads)
    }

    pub(super) fn readers(&self, id: ValueId) -> impl Iterator<Item = NodeId> + '_ {
        self.values
            .get(id.0 as usize)
            .into_iter()
            .flat_map(|e| e.readers.nodes())
    }
}
