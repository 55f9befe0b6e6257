//! Putting nodes in an order in which every value is produced before it is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Node, ValueId};

/// An order of `nodes` (by index), the file's own wherever that works; `Err` is a node on a cycle.
pub(super) fn topological(nodes: &[Node], value_count: usize) -> Result<Vec<usize>, usize> {
    let mut producer: Vec<Option<usize>> = vec![None; value_count];
    for (index, node) in nodes.iter().enumerate() {
        for ValueId(v) in node.produces() {
            producer[v as usize] = Some(index);
        }
    }
    let needs = |node: &Node| -> Vec<usize> { node.reads().filter_map(|v| producer[v.0 as usize]).collect() };
    let mut waits: Vec<usize> = vec![0; nodes.len()];
    let mut feeds: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut in_order = true;
    for (index, node) in nodes.iter().enumerate() {
        for needed in needs(node) {
            waits[index] += 1;
            feeds[needed].push(index);
            in_order &= needed < index;
        }
    }
    if in_order {
        return Ok((0..nodes.len()).collect());
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len()).filter(|i| waits[*i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for fed in &feeds[index] {
            waits[*fed] -= 1;
            if waits[*fed] == 0 {
                ready.push(Reverse(*fed));
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    Err(on_cycle(nodes.len(), &waits, |i| {
        needs(&nodes[i]).into_iter().find(|n| waits[*n] > 0)
    }))
}

/// Walks back from a waiting node to one that is certainly on a cycle.
fn on_cycle(count: usize, waits: &[usize], needed: impl Fn(usize) -> Option<usize>) -> usize {
    let mut at = waits.iter().position(|w| *w > 0).unwrap_or(0);
    for _ in 0..count {
        at = needed(at).unwrap_or(at);
    }
    at
}
