//! Recognises a zero padding whose border is overwritten with a constant a channel, and writes it as arithmetic.
//!
//! Diverse Branch Block pads a batch-normalized value with what normalization makes of zeros. In PyTorch that is
//! `F.pad` and four assignments to the border; exporters make of each a chain of `Slice`, `Transpose`, `ScatterND` and
//! computed indices. This pass does not match such chains. It *runs* the nodes between the `Pad` and a result on labels
//! that say where each element came from. If the result is the padded image with `v[c]` at every place of the border of
//! channel `c`, then it becomes
//!
//! ```text
//! result = Add(Pad(Sub(x, v), 0), v)          v: [1, C, 1, 1]
//! ```
//!
//! which is the same function, and linear operators only. `fold_constants` must have run: indices and values have to be
//! constants by then, up to a batch extent that is not known. For that one the chain is run with several extents; an
//! exporter may have frozen one of them (the graph then works for no other), so at least one must give the pattern and
//! none may give another.

mod border;
mod chain;
mod run;
#[cfg(test)]
mod tests;

use border::border;
use chain::{Chain, passes_elements_on};
use repserve_graph::ops::Scatter;
use repserve_graph::shapes::Shapes;
use repserve_graph::{Graph, NodeId, ValueId};

/// Runs the pass; the number of chains that were rewritten.
pub(crate) fn run(graph: &mut Graph, opset: i64) -> usize {
    let ids: Vec<NodeId> = graph
        .nodes()
        .filter(|(_, n)| Scatter::is(n))
        .map(|(id, _)| id)
        .collect();
    if ids.is_empty() {
        return 0;
    }
    let shapes = Shapes::infer(graph, opset);
    let mut rewritten = 0;
    for id in ids {
        let Some(end) = last_of_chain(graph, id) else { continue };
        let Some(found) = Chain::ending_at(graph, &shapes, opset, end).and_then(|chain| border(&chain)) else {
            continue;
        };
        found.apply(graph);
        rewritten += 1;
    }
    if rewritten > 0 {
        graph.sweep();
    }
    rewritten
}

/// The result of the chain that `id` belongs to, if nothing of the chain follows it.
fn last_of_chain(graph: &Graph, id: NodeId) -> Option<ValueId> {
    let mut value = graph.node(id)?.output(0)?;
    loop {
        let mut next = None;
        for user in graph.users(value) {
            let node = graph.node(user)?;
            if Scatter::is(node) || node.is("Slice") {
                return None;
            }
            if passes_elements_on(node) && node.input(0) == Some(value) {
                if next.is_some() {
                    return None;
                }
                next = Some(node.output(0)?);
            }
        }
        match next {
            Some(next) if graph.use_count(value) <= 1 + shape_readers(graph, value) => value = next,
            _ => return Some(value),
        }
    }
}

fn shape_readers(graph: &Graph, value: ValueId) -> usize {
    graph
        .users(value)
        .filter(|u| graph.node(*u).is_some_and(|n| n.is("Shape")))
        .count()
}
