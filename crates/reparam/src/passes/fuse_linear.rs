//! Fuses every linear region of one source into the one convolution that it is.
//!
//! From each result, last first, the walk back meets values that everything passed depends on alone; each is the source
//! of a region. The one that saves most multiplications is compiled in one step.

use super::kept::Kept;
use crate::algebra::{MergePlan, Op};
use crate::region::emit::{Merged, node_count};
use crate::region::grow::{NODES_MAX, Walk};
use crate::region::linear::classify;
use crate::region::lower::{Lowered, lower};
use crate::region::{Context, Region, branches, positions};
use crate::report::{Block, BlockKind, ConvShape};
use repserve_graph::shapes::Shapes;
use repserve_graph::{Graph, NodeId, ValueId};

/// How much more a sum of parallel branches may cost as one convolution: it saves the sum and the traffic.
const PARALLEL_GROWTH_MAX: f64 = 2.0;

/// How many weights a merged convolution may have for each of its parts': a wide pool in a small file must not fill the memory.
const WEIGHTS_GROWTH_MAX: usize = 4;

/// Weights that are always allowed.
const WEIGHTS_MIN: usize = 1 << 20;

/// Regions in a row that are not worth it, after which the walk ends.
const MISSES_MAX: usize = 16;

/// A region that is one convolution and worth being written as one.
struct Candidate<'a> {
    lowered: Lowered<'a>,
    plan: MergePlan,
    source: ValueId,
    len: usize,
    saved: f64,
}

/// Runs the pass; the blocks it fused, last first.
pub(crate) fn run(graph: &mut Graph, opset: i64, shapes: &Shapes, kept: &mut Kept<'_>) -> Vec<Block> {
    let order: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    let mut positions = positions(graph);
    let mut blocks = Vec::new();
    for id in order.into_iter().rev() {
        let Some(root) = graph.node(id).and_then(|n| n.output(0)) else {
            continue;
        };
        let cx = Context {
            graph,
            opset,
            shapes,
            positions: &positions,
        };
        let Some((merged, block)) = best(&cx, root, kept) else {
            continue;
        };
        if kept.keeps(&block, &merged) {
            continue;
        }
        let (place, name) = (
            positions[id.0 as usize],
            block.nodes.last().cloned().unwrap_or_default(),
        );
        if let Some(new) = merged.place(graph, &name, Vec::new()) {
            positions.resize(positions.len().max(new.0 as usize + 1), 0);
            positions[new.0 as usize] = place;
        }
        blocks.push(block);
    }
    blocks
}

/// The region that ends at `root` and saves most, compiled.
fn best(cx: &Context<'_>, root: ValueId, kept: &Kept<'_>) -> Option<(Merged, Block)> {
    let producer = cx.graph.producer(root).and_then(|id| cx.graph.node(id))?;
    classify(cx, producer).ok()?;
    let mut walk = Walk::new(cx, root);
    let mut found: Option<Candidate<'_>> = None;
    let mut misses = 0;
    while misses < MISSES_MAX && walk.nodes.len() < NODES_MAX && walk.step().is_ok() {
        let Some(source) = walk.source() else { continue };
        let nodes = &walk.nodes;
        if kept.any(nodes) {
            break;
        }
        match candidate(
            cx,
            &Region {
                source,
                nodes,
                terms: &[],
            },
        ) {
            Some(new) if found.as_ref().is_none_or(|old| new.saved >= old.saved) => {
                found = Some(new);
                misses = 0;
            }
            _ => misses += 1,
        }
    }
    let Candidate {
        lowered,
        plan,
        source,
        len,
        ..
    } = found?;
    let block = block(cx, root, source, &walk.nodes[..len], &lowered, &plan);
    let merged = Merged::new(&lowered, plan, source, root, &walk.nodes[..len]);
    merged.compiled.finite.then_some((merged, block))
}

fn candidate<'a>(cx: &'a Context<'a>, region: &Region<'_>) -> Option<Candidate<'a>> {
    if region.nodes.len() < 2 {
        return None;
    }
    let lowered = lower(cx, region).ok()??;
    let plan = lowered.program.plan().ok()?;
    let smaller = node_count(lowered.target, true) < region.nodes.len();
    if !smaller || !is_worth(&lowered, &plan) {
        return None;
    }
    let pixels: f64 = plan.axes.iter().map(|a| a.stride as f64).product();
    Some(Candidate {
        saved: (plan.cost_before - plan.cost_after) * pixels,
        len: region.nodes.len(),
        source: region.source,
        lowered,
        plan,
    })
}

/// Whether the convolution costs no more than it may, in work and in weights.
pub(super) fn is_worth(lowered: &Lowered<'_>, plan: &MergePlan) -> bool {
    let growth = if is_parallel(lowered) { PARALLEL_GROWTH_MAX } else { 1.0 };
    let stored = lowered.program.ops.iter().map(|op| match op {
        Op::Conv(conv) => conv.weight.len(),
        _ => 0,
    });
    let allowed = WEIGHTS_GROWTH_MAX * stored.sum::<usize>() + WEIGHTS_MIN;
    plan.cost_after <= plan.cost_before * growth && plan.weight_count() <= allowed
}

fn is_parallel(lowered: &Lowered<'_>) -> bool {
    let mut ops = lowered.program.ops.iter();
    ops.any(|op| matches!(op, Op::Sum { terms } if terms.len() > 1))
}

pub(super) fn block(
    cx: &Context<'_>,
    root: ValueId,
    source: ValueId,
    nodes: &[NodeId],
    lowered: &Lowered<'_>,
    plan: &MergePlan,
) -> Block {
    let window = plan.window();
    let kind = if is_parallel(lowered) {
        BlockKind::Parallel
    } else if lowered.convs > 1 {
        BlockKind::Serial
    } else {
        BlockKind::Folded
    };
    Block {
        output: cx.graph.value(root).name.clone(),
        source: cx.graph.value(source).name.clone(),
        kind,
        branches: branches::describe(&lowered.program),
        nodes: nodes.iter().rev().map(|id| cx.label(*id)).collect(),
        conv: ConvShape {
            in_channels: plan.in_channels,
            out_channels: plan.out_channels,
            groups: plan.groups,
            kernel: window.kernel,
            strides: window.strides,
            dilations: window.dilations,
            pads: [window.begins, window.ends].concat(),
        },
    }
}
