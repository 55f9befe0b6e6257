//! Counting a graph: operators, parameters, multiplications.

use super::report::GraphStats;
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{Graph, Node};

/// Counts `graph`; the hash is the file's and not known here.
pub(crate) fn stats(graph: &Graph, shapes: &Shapes) -> GraphStats {
    GraphStats {
        sha256: String::new(),
        operators: graph.op_counts(),
        parameters: graph.parameter_count(),
        macs: graph
            .nodes()
            .try_fold(0u64, |sum, (_, node)| sum.checked_add(macs(shapes, node)?)),
    }
}

/// Multiplications of a node for one image; `None` where a shape is unknown.
fn macs(shapes: &Shapes, node: &Node) -> Option<u64> {
    if !matches!(node.op.as_str(), "Conv" | "Gemm" | "MatMul") || !node.is(&node.op) {
        return Some(0);
    }
    let weight = node.input(1).and_then(|v| shapes.of(v))?;
    let output = node.output(0).and_then(|v| shapes.of(v))?;
    let whole = |dims: &[repserve_graph::Dim]| {
        let mut extents = dims.iter().map(fixed);
        extents.try_fold(1u64, |n, d| n.checked_mul(d? as u64))
    };
    let row = match node.op.as_str() {
        "Conv" => whole(weight.get(1..)?)?,
        "Gemm" => {
            let columns = output.get(1).and_then(fixed)? as u64;
            whole(weight)?.checked_div(columns)?
        }
        _ => fixed(weight.get(weight.len().checked_sub(2)?)?)? as u64,
    };
    whole(output.get(1..)?)?.checked_mul(row)
}
