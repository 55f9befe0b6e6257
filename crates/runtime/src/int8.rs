//! Convolutions and linear layers in int8 in the graph that ONNX Runtime has optimized become operators of this program's own
//! (`kernels::int8`).
//!
//! ONNX Runtime's kernels pack the weights of `QLinearConv` and `QGemm` anew for every session, and keep them once more where sessions
//! share what they read. Here all sessions read one packed copy. The outputs are the same to the bit.

use repserve_graph::ops::{GraphView, MICROSOFT_DOMAIN, NodeView, QGemm, QLinearConv, QuantizedInputs};
use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, DType, Graph, Model, Node};
use repserve_kernels::int8::Int8Parameters;
use repserve_kernels::{Convolution, Int8Isa, PreparedInt8Conv};

use super::operators::{DOMAIN, Int8Op, Layers, operator};

/// Output channels of a group that make a vector of them worth it.
const GROUP_MIN: usize = 8;

/// Whether a model has convolutions in int8.
pub(super) fn computes_in_int8(model: &Model) -> bool {
    model.graph.nodes().any(|(_, node)| QLinearConv::is(node))
}

/// Puts operators in place of the nodes that the kernels compute; the others stay ONNX Runtime's. Returns the layers that there
/// were and those of the new operators.
pub(super) fn lower(model: &mut Model, before: Layers, isa: Int8Isa) -> Layers {
    let graph = &mut model.graph;
    let mut layers = Vec::new();
    let nodes: Vec<_> = graph
        .nodes()
        .filter(|(_, node)| node.domain == MICROSOFT_DOMAIN)
        .filter_map(|(id, node)| Some((id, node.input(0)?, node.output(0)?, prepare(graph, node, isa)?)))
        .collect();
    for (id, input, output, (op, layer)) in nodes {
        let name = graph.value(output).name.clone();
        let node =
            operator(op.name(), name, vec![input], output).with("layer", AttributeValue::Int(layers.len() as i64));
        graph.remove_node(id);
        graph.insert_node(Some(id), node);
        layers.push(layer);
    }
    if !layers.is_empty() {
        if !model.opsets.iter().any(|(domain, _)| domain == DOMAIN) {
            model.opsets.push((DOMAIN.to_owned(), 1));
        }
        model.graph.sweep();
    }
    before.with_int8(layers)
}

/// A layer, where the node's parameters are all constants and the kernels compute it.
fn prepare(graph: &Graph, node: &Node, isa: Int8Isa) -> Option<(Int8Op, PreparedInt8Conv)> {
    let shapes = Shapes::default();
    // Neither operator has changed since its first version; the graph is ONNX Runtime's, whose pads are resolved.
    let view = GraphView {
        graph,
        shapes: &shapes,
        opset: 1,
    };
    let parameters = Parameters { graph, node };
    let (op, conv, inputs) = match convolution(&view.node(node)) {
        Some(conv) => (Int8Op::Conv, conv, QLinearConv::INPUTS),
        None => (Int8Op::Gemm, linear(&view.node(node))?, QGemm::INPUTS),
    };
    let symmetric = parameters
        .bytes(inputs.weight_zero, DType::I8)?
        .iter()
        .all(|zero| *zero == 0);
    if !symmetric || conv.out_channels / conv.groups < GROUP_MIN {
        return None;
    }
    let weights: Vec<i8> = parameters
        .bytes(inputs.weight, DType::I8)?
        .iter()
        .map(|b| b.cast_signed())
        .collect();
    let output_zero = match op {
        Int8Op::Conv => parameters.code(inputs.output_zero)?,
        Int8Op::Gemm => 0,
    };
    let values = Int8Parameters {
        weights: &weights,
        bias: &parameters.biases(inputs.bias, conv.out_channels)?,
        scales: &parameters.scales(&inputs, op, conv.out_channels)?,
        zeros: [parameters.code(inputs.input_zero)?, output_zero],
    };
    Some((op, PreparedInt8Conv::new(conv, isa, &values).ok()?))
}

/// A convolution in NHWC, undilated.
fn convolution(view: &NodeView<'_>) -> Option<Convolution> {
    let QLinearConv { conv, channels_last } = QLinearConv::of(view).ok()??;
    let window = conv.window.over_image().ok()?;
    (channels_last && window.dilations == [1; 2]).then_some(Convolution {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        groups: conv.groups,
        kernel: window.kernel,
        strides: window.strides,
        pads: window.pads,
        relu: false,
    })
}

/// A product with a matrix of a row an output channel, which returns f32.
fn linear(view: &NodeView<'_>) -> Option<Convolution> {
    let QGemm { gemm, returns_floats } = QGemm::of(view).ok()??;
    if gemm.alpha != 1.0 || !returns_floats || gemm.input_transposed || !gemm.weight_transposed {
        return None;
    }
    let &[out_channels, in_channels] = view.constant(QGemm::INPUTS.weight)?.shape() else {
        return None;
    };
    Some(Convolution {
        in_channels,
        out_channels,
        groups: 1,
        kernel: [1, 1],
        strides: [1, 1],
        pads: [0; 4],
        relu: false,
    })
}

/// The constants of a node.
struct Parameters<'a> {
    graph: &'a Graph,
    node: &'a Node,
}

impl<'a> Parameters<'a> {
    fn bytes(&self, place: usize, dtype: DType) -> Option<&'a [u8]> {
        let tensor = self.graph.constant(self.node.input(place)?)?;
        (tensor.dtype() == dtype).then(|| tensor.data().as_ref())
    }

    /// A constant of one u8.
    fn code(&self, place: usize) -> Option<u8> {
        match self.bytes(place, DType::U8)? {
            [code] => Some(*code),
            _ => None,
        }
    }

    /// Zeros where the node has none.
    fn biases(&self, place: usize, count: usize) -> Option<Vec<i32>> {
        if self.node.input(place).is_none() {
            return Some(vec![0; count]);
        }
        let words = self.bytes(place, DType::I32)?.as_chunks().0;
        Some(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
    }

    /// The input's times the weight's over the output's scale, in f32 and in ONNX Runtime's order.
    fn scales(&self, inputs: &QuantizedInputs, op: Int8Op, count: usize) -> Option<Vec<f32>> {
        let weights = self.floats(inputs.weight_scale)?;
        let single = |place: usize| match self.floats(place)?[..] {
            [scale] => Some(scale),
            _ => None,
        };
        let input = single(inputs.input_scale)?;
        let output = match op {
            Int8Op::Conv => Some(single(inputs.output_scale)?),
            Int8Op::Gemm => None,
        };
        let of = |channel: usize| {
            let weight = weights.get(if weights.len() == 1 { 0 } else { channel })?;
            let scale = input * weight;
            Some(output.map_or(scale, |output| scale / output))
        };
        (0..count).map(of).collect()
    }

    fn floats(&self, place: usize) -> Option<Vec<f32>> {
        let words = self.bytes(place, DType::F32)?.as_chunks().0;
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests;
