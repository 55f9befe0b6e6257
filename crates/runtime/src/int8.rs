//! Convolutions and linear layers in int8 in the graph that ONNX Runtime has optimized become operators of this program's own
//! (`kernels::int8`).
//!
//! ONNX Runtime's kernels pack the weights of `QLinearConv` and `QGemm` anew for every session, and keep them once more where sessions
//! share what they read. Here all sessions read one packed copy. A residual sum (`QLinearAdd`) is part of the convolution before it, and
//! convolutions that only others of them read are one operator ([`chains`]); so are the quantizing of an image and its transposition ([`enter`]).
//! The outputs are the same to the bit.

use std::sync::LazyLock;

use repserve_graph::ops::{GraphView, MICROSOFT_DOMAIN, NodeView, QGemm, QLinearAdd, QLinearConv, QuantizedInputs};
use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, DType, Graph, Model, Node, NodeId, ValueId};
use repserve_kernels::int8::Int8Parameters;
use repserve_kernels::{Convolution, Int8Isa, Int8Sum, PreparedInt8Conv};

use super::operators::{DOMAIN, Int8Op, Layers, operator};

mod chains;
mod enter;
mod extents;
mod finer;

use chains::Placed;
use extents::Extents;

/// Output channels of a group that make a vector of them worth it.
const GROUP_MIN: usize = 8;

/// The instructions that int8 layers are computed with in this process; `None` where they are left to ONNX Runtime.
pub fn int8_instructions() -> Option<&'static str> {
    Int8Isa::detect().map(Int8Isa::name)
}

/// Whether a model has convolutions in int8.
pub(super) fn computes_in_int8(model: &Model) -> bool {
    model.graph.nodes().any(|(_, node)| QLinearConv::is(node))
}

/// Whether `DequantizeLinear` makes weights of integers, for convolutions in f32.
pub(super) fn has_quantized_weights(model: &Model) -> bool {
    let graph = &model.graph;
    graph.nodes().any(|(_, node)| finer::makes_weights(graph, node))
}

/// Puts operators in place of the layers that ONNX Runtime would compute in f32, before it optimizes the graph. Returns the operators' layers; the graph
/// and they go to [`lower`] afterwards.
pub(super) fn lower_finer(model: &mut Model, isa: Int8Isa) -> Vec<PreparedInt8Conv> {
    finer::lower(model, isa)
}

/// Puts operators in place of the nodes that the kernels compute; the others stay ONNX Runtime's. Returns the layers that there
/// were, `finer` and those of the new operators.
pub(super) fn lower(model: &mut Model, before: Layers, finer: Vec<PreparedInt8Conv>, isa: Int8Isa) -> Layers {
    let graph = &mut model.graph;
    let mut placed: Vec<Placed> = graph
        .nodes()
        .filter_map(|(id, node)| placed_before(id, node).filter(|placed| placed.layer < finer.len()))
        .collect();
    let mut layers = finer;
    let extents = Extents::of(graph);
    let sites: Vec<Site> = graph
        .nodes()
        .filter(|(_, node)| node.domain == MICROSOFT_DOMAIN)
        .filter_map(|(id, node)| Site::of(graph, id, node, isa))
        .collect();
    for site in sites {
        let site = match site.read_sum(graph, &extents) {
            Some(sum) => site.adding(sum),
            None => site,
        };
        let name = graph.value(site.output).name.clone();
        let node = operator(site.op.name(), name, site.inputs.clone(), site.output)
            .with("layer", AttributeValue::Int(layers.len() as i64));
        // In the place of the last node, before which all is at hand that it reads.
        let last = site.nodes.last().copied();
        for id in site.nodes {
            graph.remove_node(id);
        }
        let node = graph.insert_node(last, node);
        if site.op != Int8Op::Gemm {
            placed.push(Placed {
                node,
                inputs: site.inputs,
                output: site.output,
                layer: layers.len(),
            });
        }
        layers.push(site.layer);
    }
    chains::join(graph, placed);
    if !layers.is_empty() {
        enter::lower(&mut model.graph);
        if !model.opsets.iter().any(|(domain, _)| domain == DOMAIN) {
            model.opsets.push((DOMAIN.to_owned(), 1));
        }
        model.graph.sweep();
    }
    before.with_int8(layers)
}

/// An operator that is there already.
fn placed_before(id: NodeId, node: &Node) -> Option<Placed> {
    let known = node.domain == DOMAIN && node.op == Int8Op::Conv.name();
    let layer = node.attribute("layer").and_then(AttributeValue::as_int);
    Some(Placed {
        node: id,
        inputs: vec![node.input(0).filter(|_| known)?],
        output: node.output(0)?,
        layer: usize::try_from(layer?).ok()?,
    })
}

/// Nodes that one operator computes.
struct Site {
    op: Int8Op,
    nodes: Vec<NodeId>,
    inputs: Vec<ValueId>,
    output: ValueId,
    layer: PreparedInt8Conv,
}

/// A node that adds another value to what a site returns.
struct ReadSum {
    node: NodeId,
    other: ValueId,
    output: ValueId,
    sum: Int8Sum,
}

impl Site {
    fn of(graph: &Graph, id: NodeId, node: &Node, isa: Int8Isa) -> Option<Self> {
        let (op, layer) = prepare(graph, node, isa)?;
        Some(Self {
            op,
            nodes: vec![id],
            inputs: vec![node.input(0)?],
            output: node.output(0)?,
            layer,
        })
    }

    /// The sum whose first term is what this site, a convolution, returns, if nothing else reads that.
    fn read_sum(&self, graph: &Graph, extents: &Extents) -> Option<ReadSum> {
        let id = graph.only_user(self.output).filter(|_| self.op == Int8Op::Conv)?;
        let node = graph.node(id)?;
        let terms = QLinearAdd::of(&plain_view(graph).node(node)).ok()??.terms;
        if terms[0] != self.output || !extents.alike(terms[0], terms[1]) {
            return None;
        }
        let parameters = Parameters { graph, node };
        let zeros = QLinearAdd::ZEROS.map(|place| parameters.code(place));
        let scales = QLinearAdd::SCALES.map(|place| parameters.scale(place));
        let ([Some(a), Some(b), Some(sum)], [Some(scale_a), Some(scale_b), Some(scale)]) = (zeros, scales) else {
            return None;
        };
        Some(ReadSum {
            node: id,
            other: terms[1],
            output: node.output(0)?,
            sum: Int8Sum::new([scale_a, scale_b, scale], [a, b, sum])?,
        })
    }

    fn adding(mut self, sum: ReadSum) -> Self {
        self.op = Int8Op::ConvAdd;
        self.nodes.push(sum.node);
        self.inputs.push(sum.other);
        self.output = sum.output;
        self.layer = self.layer.with_sum(Some(sum.sum));
        self
    }
}

/// The graph is ONNX Runtime's, whose pads are resolved; no operator that is read has changed since its first version.
fn plain_view(graph: &Graph) -> GraphView<'_> {
    static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::default);
    GraphView {
        graph,
        shapes: &SHAPES,
        opset: 1,
    }
}

/// A layer, where the node's parameters are all constants and the kernels compute it.
fn prepare(graph: &Graph, node: &Node, isa: Int8Isa) -> Option<(Int8Op, PreparedInt8Conv)> {
    let view = plain_view(graph);
    let parameters = Parameters { graph, node };
    let (op, conv, inputs) = match convolution(&view.node(node)) {
        Some(conv) => (Int8Op::Conv, conv, QLinearConv::INPUTS),
        None => (Int8Op::Gemm, linear(&view.node(node))?, QGemm::INPUTS),
    };
    let symmetric = parameters
        .bytes(inputs.weight_zero, DType::I8)?
        .iter()
        .all(|zero| *zero == 0);
    let depthwise = conv.in_channels == conv.groups && conv.out_channels == conv.groups;
    if !symmetric || conv.out_channels / conv.groups < GROUP_MIN && !depthwise {
        return None;
    }
    let weights: Vec<i8> = parameters
        .bytes(inputs.weight, DType::I8)?
        .iter()
        .map(|b| b.cast_signed())
        .collect();
    let output_zero = match op {
        Int8Op::Conv => parameters.code(inputs.output_zero)?,
        Int8Op::ConvAdd | Int8Op::Gemm | Int8Op::Chain => 0,
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
        let input = self.scale(inputs.input_scale)?;
        let output = match op {
            Int8Op::Conv => Some(self.scale(inputs.output_scale)?),
            Int8Op::ConvAdd | Int8Op::Gemm | Int8Op::Chain => None,
        };
        let of = |channel: usize| {
            let weight = weights.get(if weights.len() == 1 { 0 } else { channel })?;
            let scale = input * weight;
            Some(output.map_or(scale, |output| scale / output))
        };
        (0..count).map(of).collect()
    }

    /// A constant of one f32.
    fn scale(&self, place: usize) -> Option<f32> {
        match self.floats(place)?[..] {
            [scale] => Some(scale),
            _ => None,
        }
    }

    fn floats(&self, place: usize) -> Option<Vec<f32>> {
        let words = self.bytes(place, DType::F32)?.as_chunks().0;
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests;
