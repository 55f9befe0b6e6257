//! Counting a graph: operators, parameters, multiplications.

use super::report::{GraphStats, LayerStats};
use repserve_graph::ops::{Conv, ConvTranspose, Gemm, GraphView, MatMul, NodeView, OperatorError};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{Graph, Model, ValueId};

/// Counts `graph`; the hash is the file's and not known here.
pub(crate) fn stats(graph: &Graph, opset: i64, shapes: &Shapes) -> GraphStats {
    let view = GraphView { graph, shapes, opset };
    GraphStats {
        sha256: String::new(),
        operators: graph.op_counts(),
        parameters: graph.parameter_count(),
        macs: graph
            .nodes()
            .try_fold(0u64, |sum, (_, node)| sum.checked_add(macs(shapes, &view.node(node))?)),
    }
}

/// The layers that multiply, in graph order.
pub fn layers(model: &Model) -> Vec<LayerStats> {
    let graph = &model.graph;
    let shapes = Shapes::of_model(model);
    let view = GraphView::of(model, &shapes);
    let layer = |node: &repserve_graph::Node| {
        let output = node.output(0)?;
        let macs = macs(&shapes, &view.node(node));
        let constants = node.inputs.iter().flatten().filter_map(|input| graph.constant(*input));
        (macs != Some(0)).then(|| LayerStats {
            output: graph.value(output).name.clone(),
            operator: node.op.clone(),
            parameters: constants.filter(|t| t.dtype().is_float()).map(|t| t.len()).sum(),
            macs,
        })
    };
    graph.nodes().filter_map(|(_, node)| layer(node)).collect()
}

/// What a layer multiplies for one image.
enum Work {
    /// Nothing: it is no layer.
    None,
    /// So many numbers for each element of a value.
    Each(Option<ValueId>, Option<usize>),
}

/// Multiplications of a node for one image; `None` where a shape is unknown.
fn macs(shapes: &Shapes, view: &NodeView<'_>) -> Option<u64> {
    let (value, each) = match work(shapes, view).ok()? {
        Work::None => return Some(0),
        Work::Each(value, each) => (value?, u64::try_from(each?).ok()?),
    };
    let mut extents = shapes.of(value)?.get(1..)?.iter().map(fixed);
    extents.try_fold(each, |n, extent| n.checked_mul(u64::try_from(extent?).ok()?))
}

fn work(shapes: &Shapes, view: &NodeView<'_>) -> Result<Work, OperatorError> {
    let output = view.node.output(0);
    if let Some(conv) = Conv::of(view)? {
        let taps = conv.window.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k));
        let row = taps.and_then(|taps| taps.checked_mul(conv.in_channels / conv.groups));
        return Ok(Work::Each(output, row));
    }
    if let Some(conv) = ConvTranspose::of(view)? {
        let taps = conv.kernel.iter().try_fold(1usize, |n, k| n.checked_mul(*k));
        let row = taps.and_then(|taps| taps.checked_mul(conv.out_channels / conv.groups));
        return Ok(Work::Each(Some(conv.input), row));
    }
    let extent = |value: ValueId, from_end: usize| {
        let shape = shapes.of(value)?;
        fixed(shape.get(shape.len().checked_sub(from_end)?)?)
    };
    if let Some(gemm) = Gemm::of(view)? {
        let row = extent(gemm.weight, if gemm.weight_transposed { 1 } else { 2 });
        return Ok(Work::Each(output, row));
    }
    Ok(match MatMul::of(view)? {
        Some(product) => Work::Each(output, extent(product.weight, 2)),
        None => Work::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_graph::{AttributeValue, Dim, Node, Tensor, Value};

    /// Multiplications of one node over an input of `shape` behind the batch, with weights of the shape `weights`.
    #[track_caller]
    fn check(node: Node, shape: &[usize], weights: &[usize], expected: Option<u64>) {
        let mut graph = Graph::default();
        let batch = Dim::Symbol("batch".into());
        let x = graph.add_value(Value {
            shape: Some(
                std::iter::once(batch)
                    .chain(shape.iter().map(|n| Dim::Fixed(*n)))
                    .collect(),
            ),
            ..Value::named("x")
        });
        graph.inputs.push(x);
        let count = weights.iter().product();
        let w = graph.add_constant("w", Tensor::from_f32(weights, &vec![0.0; count]));
        let y = graph.add_value(Value::named("y"));
        graph.push_node(Node {
            inputs: vec![Some(x), Some(w)],
            outputs: vec![Some(y)],
            ..node
        });
        let opset = 17;
        assert_eq!(stats(&graph, opset, &Shapes::infer(&graph, opset)).macs, expected);
    }

    fn node(op: &str) -> Node {
        Node::new(op, Vec::new(), Vec::new())
    }

    #[test]
    fn multiplications_are_counted_for_one_image() {
        let strides = AttributeValue::Ints(vec![2, 2]);
        let grouped = node("Conv").with("group", AttributeValue::Int(2));
        check(
            grouped.with("strides", strides.clone()),
            &[4, 9, 9],
            &[6, 2, 3, 3],
            Some(6 * 4 * 4 * 2 * 9),
        );
        let transposed = node("ConvTranspose").with("strides", strides);
        check(transposed, &[4, 5, 5], &[4, 6, 2, 2], Some(4 * 5 * 5 * 6 * 4));
        check(node("Gemm"), &[8], &[8, 3], Some(24));
        let turned = node("Gemm").with("transB", AttributeValue::Int(1));
        check(turned, &[8], &[3, 8], Some(24));
        check(node("MatMul"), &[5, 8], &[8, 3], Some(5 * 24));
        check(node("Relu"), &[8], &[1], Some(0));
        check(node("Conv"), &[4, 9], &[6, 4, 3, 3], None);
    }
}
