//! Where planes of f32 become pixels of codes: `QuantizeLinear` and the `Transpose` that ONNX Runtime puts behind it are one operator.

use repserve_graph::ops::Transpose;
use repserve_graph::{AttributeValue, Graph, NodeId, ValueId};

use super::{Parameters, plain_view};
use crate::operators::{ENTER, operator};

/// Planes to pixels.
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

struct Site {
    quantize: NodeId,
    transpose: NodeId,
    input: ValueId,
    output: ValueId,
    scale: f32,
    zero: u8,
}

/// Puts `Int8Enter` in the place of both.
pub(super) fn lower(graph: &mut Graph) {
    let sites: Vec<Site> = graph.nodes().filter_map(|(id, _)| site(graph, id)).collect();
    for site in sites {
        let name = graph.value(site.output).name.clone();
        let node = operator(ENTER, name, vec![site.input], site.output)
            .with("scale", AttributeValue::Float(site.scale))
            .with("zero", AttributeValue::Int(site.zero.into()));
        graph.remove_node(site.quantize);
        graph.remove_node(site.transpose);
        graph.insert_node(Some(site.transpose), node);
    }
}

fn site(graph: &Graph, transpose: NodeId) -> Option<Site> {
    let node = graph.node(transpose)?;
    let order = Transpose::of(&plain_view(graph).node(node)).ok()??.order;
    let codes = node
        .input(0)
        .filter(|codes| graph.only_user(*codes) == Some(transpose))?;
    let quantize = graph.producer(codes)?;
    let source = graph.node(quantize)?;
    if order != CHANNELS_LAST || !source.is("QuantizeLinear") {
        return None;
    }
    let parameters = Parameters { graph, node: source };
    let scale = parameters.scale(1)?;
    (scale > 0.0 && scale.is_finite()).then_some(Site {
        quantize,
        transpose,
        input: source.input(0)?,
        output: node.output(0)?,
        scale,
        zero: parameters.code(2)?,
    })
}
