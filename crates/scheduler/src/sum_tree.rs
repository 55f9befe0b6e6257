//! An ordered map that knows the sum of the values before a key: insertion, removal and sums take O(log n).
//!
//! A treap (Seidel and Aragon, "Randomized search trees", 1996): a search tree by key that is a heap by a random rank, so that its
//! depth is logarithmic whatever order keys come in. Each node keeps the sum of the values below it.

use std::ops::Add;

/// An ordered map with sums.
#[derive(Debug)]
pub(crate) struct SumTree<K, V> {
    root: Link<K, V>,
    len: usize,
    seed: u64,
}

type Link<K, V> = Option<Box<Node<K, V>>>;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    sum: V,
    rank: u64,
    left: Link<K, V>,
    right: Link<K, V>,
}

impl<K, V> Default for SumTree<K, V> {
    fn default() -> Self {
        Self {
            root: None,
            len: 0,
            seed: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl<K: Ord + Copy, V: Copy + Default + Add<Output = V>> SumTree<K, V> {
    /// Adds a value under a key that is not in the tree.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let (before, after) = split(self.root.take(), &|other| *other < key);
        let node = Box::new(Node {
            key,
            value,
            sum: value,
            rank: self.random(),
            left: None,
            right: None,
        });
        self.root = merge(merge(before, Some(node)), after);
        self.len += 1;
    }

    /// Takes the value under a key out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (before, rest) = split(self.root.take(), &|other| other < key);
        let (found, after) = split(rest, &|other| other <= key);
        self.root = merge(before, after);
        let value = found.map(|node| node.value)?;
        self.len -= 1;
        Some(value)
    }

    /// The smallest key.
    pub(crate) fn first(&self) -> Option<K> {
        let mut node = self.root.as_ref()?;
        while let Some(left) = &node.left {
            node = left;
        }
        Some(node.key)
    }

    /// The sum of the values whose keys are less than `key`.
    pub(crate) fn sum_before(&self, key: &K) -> V {
        let (mut sum, mut link) = (V::default(), &self.root);
        while let Some(node) = link {
            if node.key < *key {
                sum = sum + sum_of(&node.left) + node.value;
                link = &node.right;
            } else {
                link = &node.left;
            }
        }
        sum
    }

    /// The sum of the values whose keys are greater than `after` and at most `last`.
    pub(crate) fn sum_between(&self, after: &K, last: &K) -> V {
        let mut link = &self.root;
        while let Some(node) = link {
            if node.key <= *after {
                link = &node.right;
            } else if node.key > *last {
                link = &node.left;
            } else {
                return sum_after(&node.left, after) + node.value + sum_until(&node.right, last);
            }
        }
        V::default()
    }

    /// The sum of all values.
    pub(crate) fn total(&self) -> V {
        sum_of(&self.root)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Xorshift (Marsaglia 2003): ranks need to be unrelated to the keys, no more.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

fn sum_of<K, V: Copy + Default>(link: &Link<K, V>) -> V {
    link.as_ref().map_or_else(V::default, |node| node.sum)
}

fn sum_after<K: Ord, V: Copy + Default + Add<Output = V>>(mut link: &Link<K, V>, after: &K) -> V {
    let mut sum = V::default();
    while let Some(node) = link {
        if node.key > *after {
            sum = node.value + sum_of(&node.right) + sum;
            link = &node.left;
        } else {
            link = &node.right;
        }
    }
    sum
}

fn sum_until<K: Ord, V: Copy + Default + Add<Output = V>>(mut link: &Link<K, V>, last: &K) -> V {
    let mut sum = V::default();
    while let Some(node) = link {
        if node.key <= *last {
            sum = sum + sum_of(&node.left) + node.value;
            link = &node.right;
        } else {
            link = &node.left;
        }
    }
    sum
}

fn summed<K, V: Copy + Default + Add<Output = V>>(mut node: Box<Node<K, V>>) -> Link<K, V> {
    node.sum = sum_of(&node.left) + node.value + sum_of(&node.right);
    Some(node)
}

/// Those for which `first` holds (a prefix of the order), and the others.
fn split<K, V>(link: Link<K, V>, first: &impl Fn(&K) -> bool) -> (Link<K, V>, Link<K, V>)
where
    V: Copy + Default + Add<Output = V>,
{
    let Some(mut node) = link else {
        return (None, None);
    };
    if first(&node.key) {
        let (inner, after) = split(node.right.take(), first);
        node.right = inner;
        (summed(node), after)
    } else {
        let (before, inner) = split(node.left.take(), first);
        node.left = inner;
        (before, summed(node))
    }
}

/// Joins two trees; every key of the first is less than every key of the second.
fn merge<K, V: Copy + Default + Add<Output = V>>(before: Link<K, V>, after: Link<K, V>) -> Link<K, V> {
    match (before, after) {
        (link, None) | (None, link) => link,
        (Some(mut a), Some(mut b)) => {
            if a.rank > b.rank {
                a.right = merge(a.right.take(), Some(b));
                summed(a)
            } else {
                b.left = merge(Some(a), b.left.take());
                summed(b)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn depth<K, V>(link: &Link<K, V>) -> usize {
        link.as_ref()
            .map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn ten_thousand_in_order_stay_shallow() {
        let mut tree = SumTree::default();
        (0..10_000_u32).for_each(|key| tree.insert(key, 1_u64));
        assert!(depth(&tree.root) < 60, "{}", depth(&tree.root));
        assert_eq!(tree.sum_before(&7000), 7000);
    }

    proptest! {
        #[test]
        fn it_is_a_map_with_sums(steps in prop::collection::vec((any::<bool>(), 0_u8..40, 0_u64..100), 0..200), key in 0_u8..41, width in 0_u8..20) {
            let (mut tree, mut map) = (SumTree::default(), BTreeMap::new());
            for (insert, key, value) in steps {
                if !insert {
                    prop_assert_eq!(tree.remove(&key), map.remove(&key));
                } else if let std::collections::btree_map::Entry::Vacant(entry) = map.entry(key) {
                    entry.insert(value);
                    tree.insert(key, value);
                }
                prop_assert_eq!(tree.len(), map.len());
            }
            prop_assert_eq!(tree.first(), map.keys().next().copied());
            prop_assert_eq!(tree.total(), map.values().sum::<u64>());
            prop_assert_eq!(tree.sum_before(&key), map.range(..key).map(|(_, value)| value).sum::<u64>());
            let last = key.saturating_add(width);
            let between = map.range(key + 1..=last.max(key + 1)).filter(|(other, _)| **other <= last);
            prop_assert_eq!(tree.sum_between(&key, &last), between.map(|(_, value)| value).sum::<u64>());
        }
    }
}
