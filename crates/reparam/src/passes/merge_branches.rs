//! Merges those branches of a sum that are one convolution, where the whole sum is not: other terms have another source,
//! or a border that would differ. The sum is regrouped; the terms that stay are added behind.

use std::collections::HashSet;

use crate::region::emit::Merged;
use crate::region::grow::Walk;
use crate::region::linear::{LinearMap, classify};
use crate::region::lower::lower;
use crate::region::{Context, Region, positions};
use crate::report::Block;
use repserve_graph::ops::{LinearForm, Operator, Sum};
use repserve_graph::shapes::Shapes;
use repserve_graph::{Graph, Node, NodeId, Value, ValueId};

use super::fuse_linear::{block, is_worth};
use super::kept::Kept;

/// Terms of a sum that are looked at.
const TERMS_MAX: usize = 32;

/// Nodes that a branch may have.
const BRANCH_NODES_MAX: usize = 64;

/// A term of a sum: a value with its sign.
type Term = (ValueId, f64);

/// A sum written as nested `Add`, `Sub` and `Sum`, opened up.
struct Tree {
    root: ValueId,
    /// Its nodes, the result's first.
    nodes: Vec<NodeId>,
    terms: Vec<Term>,
}

/// A term as a linear map of a source: the nodes between the two.
struct Branch {
    term: usize,
    source: ValueId,
    nodes: Vec<NodeId>,
}

/// Runs the pass; the blocks that it fused.
pub(crate) fn run(graph: &mut Graph, opset: i64, shapes: &Shapes, kept: &mut Kept<'_>) -> Vec<Block> {
    let is_sum = |node: &Node| Operator::of(node).is_some_and(|op| op.linear == Some(LinearForm::Sum));
    if !graph.nodes().any(|(_, node)| is_sum(node)) {
        return Vec::new();
    }
    let positions = positions(graph);
    let order: Vec<NodeId> = graph.nodes().map(|(id, _)| id).rev().collect();
    let mut blocks = Vec::new();
    let mut touched: HashSet<NodeId> = HashSet::new();
    for id in order {
        if touched.contains(&id) {
            continue;
        }
        let cx = Context {
            graph,
            opset,
            shapes,
            positions: &positions,
        };
        let Some(tree) = Tree::open(&cx, id) else { continue };
        touched.extend(&tree.nodes);
        if kept.any(&tree.nodes) {
            continue;
        }
        let Some((chosen, merged, block)) = cluster(&cx, &tree) else {
            continue;
        };
        if kept.any(&merged.nodes) || kept.keeps(&block, &merged) {
            continue;
        }
        blocks.push(block);
        regroup(graph, &tree, &chosen, merged);
    }
    blocks
}

impl Tree {
    /// Opens up the sum that ends at node `id`, if it is one of three or more terms.
    fn open(cx: &Context<'_>, id: NodeId) -> Option<Self> {
        let root = cx.graph.node(id)?.output(0)?;
        let mut tree = Self {
            root,
            nodes: Vec::new(),
            terms: Vec::new(),
        };
        tree.add(cx, root, 1.0, true);
        (tree.terms.len() > 2 && tree.terms.len() <= TERMS_MAX).then_some(tree)
    }

    fn add(&mut self, cx: &Context<'_>, value: ValueId, sign: f64, is_root: bool) {
        let inner = is_root || cx.graph.only_user(value).is_some();
        let node = cx
            .graph
            .producer(value)
            .and_then(|id| cx.graph.node(id).map(|n| (id, n)));
        let inner = node.filter(|_| inner && self.terms.len() < TERMS_MAX);
        match inner.and_then(|(id, node)| Some((id, plain_sum(cx, node)?))) {
            None => self.terms.push((value, sign)),
            Some((id, sum)) => {
                self.nodes.push(id);
                for (input, own) in sum.terms {
                    self.add(cx, input, sign * own, false);
                }
            }
        }
    }
}

/// A sum or difference of values alone.
fn plain_sum(cx: &Context<'_>, node: &Node) -> Option<Sum> {
    let (map, data) = classify(cx, node).ok()?;
    let sum = Sum::of(&cx.view().node(node)).ok()??;
    let plain = data.len() == sum.terms.len() && sum.terms.iter().all(|(_, factor)| factor.abs() == 1.0);
    (map == LinearMap::Sum && plain && cx.opset >= 7).then_some(sum)
}

/// The terms that become one convolution: the largest set found.
fn cluster(cx: &Context<'_>, tree: &Tree) -> Option<(Vec<usize>, Merged, Block)> {
    let branches = branches(cx, tree);
    let mut sources: Vec<ValueId> = branches.iter().map(|b| b.source).collect();
    sources.sort_unstable();
    sources.dedup();
    let mut best: Option<(ValueId, Vec<&Branch>)> = None;
    for source in sources {
        let own: Vec<&Branch> = branches.iter().filter(|b| b.source == source).collect();
        if own.len() < 2 || best.as_ref().is_some_and(|(_, b)| b.len() >= own.len()) {
            continue;
        }
        for first in 0..own.len() {
            let mut chosen = vec![own[first]];
            for other in own.iter().enumerate().filter(|(i, _)| *i != first).map(|(_, b)| b) {
                chosen.push(other);
                if merge(cx, tree, source, &chosen, false).is_none() {
                    chosen.pop();
                }
            }
            if chosen.len() > 1 && best.as_ref().is_none_or(|(_, b)| chosen.len() > b.len()) {
                best = Some((source, chosen));
            }
        }
    }
    let (source, chosen) = best.filter(|(_, chosen)| chosen.len() < tree.terms.len())?;
    let (merged, block) = merge(cx, tree, source, &chosen, true)??;
    merged
        .compiled
        .finite
        .then(|| (chosen.iter().map(|b| b.term).collect(), merged, block))
}

/// Every way to read a term as a linear map of one value; a value is one of itself.
fn branches(cx: &Context<'_>, tree: &Tree) -> Vec<Branch> {
    let mut found = Vec::new();
    for (term, (value, _)) in tree.terms.iter().enumerate() {
        let whole = |source, nodes: &[NodeId]| Branch {
            term,
            source,
            nodes: nodes.to_vec(),
        };
        found.push(whole(*value, &[]));
        let mut users = cx.graph.users(*value);
        if cx.graph.outputs.contains(value) || users.any(|user| !tree.nodes.contains(&user)) {
            continue;
        }
        let mut walk = Walk::new(cx, *value);
        while walk.nodes.len() < BRANCH_NODES_MAX && walk.step().is_ok() {
            if let Some(source) = walk.source() {
                found.push(whole(source, &walk.nodes));
            }
        }
    }
    found
}

/// Whether these branches are one convolution worth having (outer), and it, compiled (inner, where `compile`).
fn merge(
    cx: &Context<'_>,
    tree: &Tree,
    source: ValueId,
    chosen: &[&Branch],
    compile: bool,
) -> Option<Option<(Merged, Block)>> {
    let mut nodes: Vec<NodeId> = chosen.iter().flat_map(|b| b.nodes.iter().copied()).collect();
    nodes.sort_unstable_by_key(|id| std::cmp::Reverse(cx.positions[id.0 as usize]));
    nodes.dedup();
    let terms: Vec<Term> = chosen.iter().map(|b| tree.terms[b.term]).collect();
    let region = Region {
        source,
        nodes: &nodes,
        terms: &terms,
    };
    let lowered = lower(cx, &region).ok()??;
    let plan = lowered.program.plan().ok()?;
    if !is_worth(&lowered, &plan) {
        return None;
    }
    if !compile {
        return Some(None);
    }
    let block = block(cx, tree.root, source, &nodes, &lowered, &plan);
    let removed: Vec<NodeId> = tree.nodes.iter().chain(&nodes).copied().collect();
    Some(Some((Merged::new(&lowered, plan, source, tree.root, &removed), block)))
}

/// Puts the convolution in the place of its branches and adds the other terms to it.
fn regroup(graph: &mut Graph, tree: &Tree, chosen: &[usize], mut merged: Merged) {
    let typed = |graph: &mut Graph, name: String| {
        let like = graph.value(tree.root).clone();
        graph.add_value(Value { name, ..like })
    };
    let stem = graph.value(tree.root).name.clone();
    let mut sum = typed(graph, format!("{stem}.merged"));
    merged.root = sum;
    let rest: Vec<Term> = (0..tree.terms.len())
        .filter(|i| !chosen.contains(i))
        .map(|i| tree.terms[i])
        .collect();
    let mut tail = Vec::new();
    for (i, (value, sign)) in rest.iter().enumerate() {
        let to = if i + 1 == rest.len() {
            tree.root
        } else {
            typed(graph, format!("{stem}.partial"))
        };
        let op = if *sign < 0.0 { "Sub" } else { "Add" };
        tail.push(Node::new(op, vec![sum, *value], vec![to]));
        sum = to;
    }
    merged.place(graph, &format!("{stem}.merged"), tail);
}
