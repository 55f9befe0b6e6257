//! The order of a graph's nodes: a doubly linked list over node numbers, so that an edit anywhere costs O(1).

use crate::value::NodeId;

/// Which node follows which. A removed node remembers what followed it, so that its place can still be named.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    links: Vec<Link>,
    first: Option<NodeId>,
    last: Option<NodeId>,
    len: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Link {
    live: bool,
    before: Option<NodeId>,
    after: Option<NodeId>,
}

impl Order {
    /// Puts the node `id`, which must be new, before `at`, or at the end. A removed `at` stands for what followed it.
    pub(super) fn insert(&mut self, id: NodeId, at: Option<NodeId>) {
        let index = id.0 as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Link::default());
        }
        let after = at.and_then(|at| self.live_from(at));
        let before = after.map_or(self.last, |a| self.links[a.0 as usize].before);
        self.links[index] = Link {
            live: true,
            before,
            after,
        };
        match before {
            Some(b) => self.links[b.0 as usize].after = Some(id),
            None => self.first = Some(id),
        }
        match after {
            Some(a) => self.links[a.0 as usize].before = Some(id),
            None => self.last = Some(id),
        }
        self.len += 1;
    }

    /// Takes the node out.
    pub(super) fn remove(&mut self, id: NodeId) {
        let Some(link) = self.links.get(id.0 as usize).copied().filter(|l| l.live) else {
            return;
        };
        self.links[id.0 as usize].live = false;
        match link.before {
            Some(b) => self.links[b.0 as usize].after = link.after,
            None => self.first = link.after,
        }
        match link.after {
            Some(a) => self.links[a.0 as usize].before = link.before,
            None => self.last = link.before,
        }
        self.len -= 1;
    }

    /// The nodes from first to last.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter {
            order: self,
            front: self.first,
            back: self.last,
            left: self.len,
        }
    }

    /// The nearest node at or after `at` that is still in the list.
    fn live_from(&mut self, at: NodeId) -> Option<NodeId> {
        let mut found = Some(at);
        let mut dead = Vec::new();
        while let Some(id) = found {
            let link = self.links.get(id.0 as usize)?;
            if link.live {
                break;
            }
            dead.push(id);
            found = link.after;
        }
        for id in dead {
            self.links[id.0 as usize].after = found;
        }
        found
    }
}

/// Iterates over an [`Order`].
pub(super) struct Iter<'a> {
    order: &'a Order,
    front: Option<NodeId>,
    back: Option<NodeId>,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        self.left = self.left.checked_sub(1)?;
        let id = self.front?;
        self.front = self.order.links[id.0 as usize].after;
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<NodeId> {
        self.left = self.left.checked_sub(1)?;
        let id = self.back?;
        self.back = self.order.links[id.0 as usize].before;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(order: &Order, expected: &[u32]) {
        let forward: Vec<u32> = order.iter().map(|n| n.0).collect();
        let mut backward: Vec<u32> = order.iter().rev().map(|n| n.0).collect();
        backward.reverse();
        assert_eq!(forward, expected);
        assert_eq!(backward, expected);
    }

    #[test]
    fn a_removed_node_still_names_its_place() {
        let mut order = Order::default();
        for i in 0..4 {
            order.insert(NodeId(i), None);
        }
        order.remove(NodeId(1));
        order.remove(NodeId(2));
        check(&order, &[0, 3]);
        order.insert(NodeId(4), Some(NodeId(1)));
        check(&order, &[0, 4, 3]);
        order.remove(NodeId(3));
        order.insert(NodeId(5), Some(NodeId(2)));
        check(&order, &[0, 4, 5]);
        order.remove(NodeId(0));
        order.remove(NodeId(0));
        order.insert(NodeId(6), Some(NodeId(4)));
        check(&order, &[6, 4, 5]);
    }
}
