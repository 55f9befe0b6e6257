//! The ordered values at a graph's rim, with a constant-time membership test.

use std::collections::HashSet;
use std::ops::Deref;

use crate::value::ValueId;

/// Graph inputs or outputs: reads as a slice, `contains` costs O(1).
#[derive(Debug, Clone, Default)]
pub struct Ports {
    list: Vec<ValueId>,
    set: HashSet<ValueId>,
}

impl Ports {
    /// Appends a value.
    pub fn push(&mut self, id: ValueId) {
        self.list.push(id);
        self.set.insert(id);
    }

    /// Whether the value is among them.
    pub fn contains(&self, id: &ValueId) -> bool {
        self.set.contains(id)
    }

    /// Keeps the values for which `keep` returns true, in one linear pass.
    pub fn retain(&mut self, keep: impl FnMut(&ValueId) -> bool) {
        self.list.retain(keep);
        self.set = self.list.iter().copied().collect();
    }
}

impl Deref for Ports {
    type Target = [ValueId];

    fn deref(&self) -> &[ValueId] {
        &self.list
    }
}

impl From<Vec<ValueId>> for Ports {
    fn from(list: Vec<ValueId>) -> Self {
        let set = list.iter().copied().collect();
        Self { list, set }
    }
}

impl FromIterator<ValueId> for Ports {
    fn from_iter<I: IntoIterator<Item = ValueId>>(ids: I) -> Self {
        ids.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Ports {
    type Item = &'a ValueId;
    type IntoIter = std::slice::Iter<'a, ValueId>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
