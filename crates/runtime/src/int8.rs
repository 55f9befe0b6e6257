//! Convolutions and linear layers in int8 in the graph that ONNX Runtime has optimized become operators of this program's own
//! (`kernels::int8`).
//!
//! ONNX Runtime's kernels pack the weights of `QLinearConv` and `QGemm` anew for every session, and keep them once more where sessions
//! share what they read. Here all sessions read one packed copy. The outputs are the same to the bit.

use repserve_graph::{AttributeValue, DType, Graph, Model, Node};
use repserve_kernels::int8::Codes;
use repserve_kernels::{CodeIsa, Convolution, PreparedInt8Conv};

use super::operators::{DOMAIN, Int8Op, Layers, operator};

/// ONNX Runtime's domain; its `QLinearConv` reads NHWC where the attribute says so.
const MICROSOFT: &str = "com.microsoft";
/// Output channels of a group that make a vector of them worth it.
const GROUP_MIN: usize = 8;

/// Whether a model has convolutions in int8.
pub(super) fn computes_in_int8(model: &Model) -> bool {
    model.graph.nodes().any(|(_, node)| node.op == "QLinearConv")
}

/// Puts operators in place of the nodes that the kernels compute; the others stay ONNX Runtime's. Returns the layers that there
/// were and those of the new operators.
pub(super) fn lower(model: &mut Model, before: Layers, isa: CodeIsa) -> Layers {
    let graph = &mut model.graph;
    let mut layers = Vec::new();
    let nodes: Vec<_> = graph
        .nodes()
        .filter(|(_, node)| node.domain == MICROSOFT)
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
fn prepare(graph: &Graph, node: &Node, isa: CodeIsa) -> Option<(Int8Op, PreparedInt8Conv)> {
    let parameters = Parameters { graph, node };
    let (op, conv, output_zero) = match node.op.as_str() {
        "QLinearConv" => (Int8Op::Conv, parameters.convolution()?, parameters.code(7)?),
        "QGemm" => (Int8Op::Gemm, parameters.linear()?, 0),
        _ => return None,
    };
    let symmetric = parameters.bytes(5, DType::I8)?.iter().all(|zero| *zero == 0);
    if !symmetric || conv.groups == 0 || conv.out_channels / conv.groups < GROUP_MIN {
        return None;
    }
    let weights: Vec<i8> = parameters
        .bytes(3, DType::I8)?
        .iter()
        .map(|b| b.cast_signed())
        .collect();
    let (bias, output_scale) = match op {
        Int8Op::Conv => (8, Some(6)),
        Int8Op::Gemm => (6, None),
    };
    let codes = Codes {
        weights: &weights,
        bias: &parameters.biases(bias, conv.out_channels)?,
        scales: &parameters.scales(output_scale, conv.out_channels)?,
        zeros: [parameters.code(2)?, output_zero],
    };
    Some((op, PreparedInt8Conv::new(conv, isa, &codes).ok()?))
}

/// The constants and attributes of a node. Inputs 0 to 5 of `QLinearConv` and `QGemm` are alike: the input, its scale and zero, the
/// weights, their scales and zeros.
struct Parameters<'a> {
    graph: &'a Graph,
    node: &'a Node,
}

impl<'a> Parameters<'a> {
    /// In NHWC, undilated, with explicit pads.
    fn convolution(&self) -> Option<Convolution> {
        let pads_given = self.node.attribute("auto_pad").and_then(AttributeValue::as_str);
        let undilated = self.node.extents("dilations", [1; 2])? == [1; 2];
        if self.int("channels_last") != Some(1) || !undilated || !matches!(pads_given, None | Some("NOTSET")) {
            return None;
        }
        let &[out_channels, depth, height, width] = self.graph.constant(self.node.input(3)?)?.shape() else {
            return None;
        };
        let groups = usize::try_from(self.int("group").unwrap_or(1)).ok()?;
        Some(Convolution {
            in_channels: depth.checked_mul(groups)?,
            out_channels,
            groups,
            kernel: [height, width],
            strides: self.node.extents("strides", [1; 2])?,
            pads: self.node.extents("pads", [0; 4])?,
            relu: false,
        })
    }

    /// A matrix of a row an output channel, an answer in f32.
    fn linear(&self) -> Option<Convolution> {
        let one = self.node.attribute("alpha").is_none_or(|a| a.as_float() == Some(1.0));
        let answers_in_f32 = self.node.input(7).is_none() && self.node.input(8).is_none();
        if !one || !answers_in_f32 || self.int("transA").unwrap_or(0) != 0 || self.int("transB") != Some(1) {
            return None;
        }
        let &[out_channels, in_channels] = self.graph.constant(self.node.input(3)?)?.shape() else {
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

    fn int(&self, name: &str) -> Option<i64> {
        self.node.attribute(name).and_then(AttributeValue::as_int)
    }

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
    fn scales(&self, output: Option<usize>, count: usize) -> Option<Vec<f32>> {
        let weights = self.floats(4)?;
        let single = |place: usize| match self.floats(place)?[..] {
            [scale] => Some(scale),
            _ => None,
        };
        let input = single(1)?;
        let output = match output {
            Some(place) => Some(single(place)?),
            None => None,
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
