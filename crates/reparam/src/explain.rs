//! Why what looks like a block was left as it is. Runs once, over the finished graph.

use std::collections::HashSet;

use super::reason::Reason;
use super::region::grow::{Stop, Walk};
use super::region::linear::{LinearMap, classify};
use super::region::lower::lower;
use super::region::{Context, Region, positions};
use super::report::Refusal;
use repserve_graph::ops::{LinearForm, Operator};
use repserve_graph::shapes::Shapes;
use repserve_graph::{Graph, Node, NodeId, ValueId};

/// Nodes that a walk for an explanation may pass.
const NODES_MAX: usize = 128;

/// Everything that was left as it is although it looks like a block.
pub(crate) fn refusals(graph: &Graph, opset: i64, shapes: &Shapes) -> Vec<Refusal> {
    let positions = positions(graph);
    let cx = Context {
        graph,
        opset,
        shapes,
        positions: &positions,
    };
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (id, node) in graph.nodes() {
        let Some(root) = node.output(0) else { continue };
        let explained = match classify(&cx, node) {
            Ok((LinearMap::Sum, data)) if data.len() > 1 => sum(&cx, root),
            Ok((_, data)) => pair(&cx, id, root, &data),
            Err(reason) => never(node, reason).map(|reason| (Stop { node: id, reason }, vec![id])),
        };
        let Some((stop, nodes)) = explained else { continue };
        if !seen.insert((stop.node, stop.reason.to_string())) {
            continue;
        }
        let others = nodes.iter().rev().filter(|n| **n != stop.node);
        found.push(Refusal {
            block: graph.value(root).name.clone(),
            nodes: std::iter::once(&stop.node)
                .chain(others)
                .map(|n| cx.label(*n))
                .collect(),
            reason: stop.reason,
        });
    }
    found
}

/// Reasons that concern a node alone.
fn never(node: &Node, reason: Reason) -> Option<Reason> {
    let weighted = matches!(form(node), Some(LinearForm::Conv | LinearForm::BatchNormalization));
    match reason {
        Reason::TrainingMode(_) => Some(reason),
        Reason::DynamicWeights(_) if weighted => Some(reason),
        _ => None,
    }
}

/// A sum whose branches come from one value: what keeps it from being a convolution.
fn sum(cx: &Context<'_>, root: ValueId) -> Option<(Stop, Vec<NodeId>)> {
    let mut walk = Walk::new(cx, root);
    let mut first: Option<Stop> = None;
    while walk.nodes.len() < NODES_MAX {
        match walk.step() {
            Ok(()) => {}
            Err(Some(stop)) => {
                first.get_or_insert(stop);
                if !walk.force() {
                    return None;
                }
            }
            Err(None) => return None,
        }
        let Some(source) = walk.source() else { continue };
        let worth = walk
            .nodes
            .iter()
            .filter_map(|id| cx.graph.node(*id))
            .any(|n| form(n).is_some_and(LinearForm::is_layer));
        if !worth {
            return None;
        }
        let nodes = &walk.nodes;
        let stop = match first {
            Some(stop) => stop,
            None => obstacle(
                cx,
                &Region {
                    source,
                    nodes,
                    terms: &[],
                },
            )?,
        };
        return Some((stop, walk.nodes));
    }
    None
}

fn form(node: &Node) -> Option<LinearForm> {
    Operator::of(node)?.linear
}

/// Why a region of linear maps was not fused.
fn obstacle(cx: &Context<'_>, region: &Region<'_>) -> Option<Stop> {
    let lowered = match lower(cx, region) {
        Ok(lowered) => lowered?,
        Err(stop) => return Some(stop),
    };
    match lowered.program.plan() {
        Err(obstacle) => Some(Stop {
            node: lowered.nodes[obstacle.op],
            reason: obstacle.reason,
        }),
        Ok(plan) => Some(Stop {
            node: region.nodes[0],
            reason: Reason::Costly {
                before: plan.cost_before as u64,
                after: plan.cost_after as u64,
            },
        }),
    }
}

/// A map and the one before it that could be one: a scale after a convolution, a convolution after a border.
fn pair(cx: &Context<'_>, id: NodeId, root: ValueId, data: &[ValueId]) -> Option<(Stop, Vec<NodeId>)> {
    let before = data.first().and_then(|v| cx.graph.producer(*v))?;
    let (own, other) = (cx.graph.node(id)?, cx.graph.node(before)?);
    let other = form(other)?;
    let folds = match form(own)? {
        LinearForm::BatchNormalization => matches!(
            other,
            LinearForm::Conv | LinearForm::Gemm | LinearForm::BatchNormalization
        ),
        LinearForm::Conv => matches!(other, LinearForm::Pad | LinearForm::BatchNormalization),
        _ => false,
    };
    if !folds {
        return None;
    }
    let mut walk = Walk::new(cx, root);
    walk.step().ok()?;
    let nodes = vec![id, before];
    match walk.step() {
        Err(stop) => stop.map(|stop| (stop, nodes)),
        Ok(()) => {
            let source = walk.source()?;
            let stop = obstacle(
                cx,
                &Region {
                    source,
                    nodes: &walk.nodes,
                    terms: &[],
                },
            )?;
            (!matches!(stop.reason, Reason::Costly { .. })).then_some((stop, nodes))
        }
    }
}
