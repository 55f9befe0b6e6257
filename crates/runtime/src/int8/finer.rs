//! Layers that read or return more than 8 bits, or some of whose weights have 16, become operators of this program's own before ONNX Runtime optimizes
//! the graph: it would fold their integers into f32.
//!
//! Such a layer is a `Conv` of what `DequantizeLinear` makes of quantized values and of quantized weights. What it returns goes through
//! `QuantizeLinear`, or, behind a ReLU, through a depthwise `Conv` in f32 first. Both kinds are one operator on values in NHWC.

use std::collections::HashMap;

use repserve_graph::ops::{Conv, GraphView, MICROSOFT_DOMAIN};
use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, NodeId, Value, ValueId};
use repserve_kernels::int8::Int8Parameters;
use repserve_kernels::{Convolution, Finer, FinerNumbers, FloatDepthwise, Int8Isa, PreparedInt8Conv};

use super::Parameters;
use crate::operators::{DOMAIN, Int8Op, operator};

/// What a low byte counts of a high one.
const LOW: f32 = 256.0;

/// Whether a node makes weights of integers.
pub(super) fn makes_weights(graph: &Graph, node: &Node) -> bool {
    let codes = node.input(0).and_then(|codes| graph.constant(codes));
    node.is("DequantizeLinear") && codes.is_some_and(|codes| codes.shape().len() == 4)
}

/// A layer, from the quantized values that it reads to those that it returns.
struct Site {
    input: ValueId,
    reads_wide: bool,
    /// The node that quantizes what it returns.
    last: NodeId,
    output: ValueId,
    returns_wide: bool,
    /// Extents of what it returns, `[N, H, W, C]`, where they are known: ONNX Runtime cannot infer them, and brings only values of a known rank into NHWC.
    extents: Option<Vec<Dim>>,
    layer: PreparedInt8Conv,
}

/// Puts operators in place of the layers, and returns these. Their attribute `layer` counts from 0.
pub(super) fn lower(model: &mut Model, isa: Int8Isa) -> Vec<PreparedInt8Conv> {
    let shapes = Shapes::of_model(model);
    let view = GraphView {
        graph: &model.graph,
        shapes: &shapes,
        opset: model.opset(),
    };
    let nodes = view.graph.nodes();
    let mut sites: Vec<Site> = nodes.filter_map(|(id, node)| site(&view, id, node, isa)).collect();
    let wide_values_are_within = |sites: &[Site], site: &Site| {
        let made = |value| sites.iter().any(|site| site.returns_wide && site.output == value);
        let read = || {
            sites
                .iter()
                .filter(|reader| reader.reads_wide && reader.input == site.output)
                .count()
        };
        (!site.reads_wide || made(site.input))
            && (!site.returns_wide
                || read() == view.graph.users(site.output).count() && !view.graph.outputs.contains(&site.output))
    };
    loop {
        let within: Vec<bool> = sites.iter().map(|site| wide_values_are_within(&sites, site)).collect();
        if within.iter().all(|within| *within) {
            break;
        }
        let mut within = within.into_iter();
        sites.retain(|_| within.next().unwrap_or(false));
    }
    let graph = &mut model.graph;
    let mut pixels: HashMap<ValueId, ValueId> = HashMap::new();
    let mut layers = Vec::with_capacity(sites.len());
    for site in sites {
        let input = match pixels.get(&site.input) {
            Some(known) => *known,
            None => {
                let made = new_codes(graph, format!("{}_pixels", graph.value(site.input).name), None);
                graph.insert_node(Some(site.last), transpose(site.input, made, [0, 2, 3, 1]));
                pixels.insert(site.input, made);
                made
            }
        };
        let name = graph.value(site.output).name.clone();
        let output = new_codes(graph, format!("{name}_pixels"), site.extents);
        graph.remove_node(site.last);
        let node = operator(Int8Op::Conv.name(), name, vec![input], output)
            .with("layer", AttributeValue::Int(layers.len() as i64));
        graph.insert_node(Some(site.last), node);
        if !site.returns_wide {
            graph.insert_node(Some(site.last), transpose(output, site.output, [0, 3, 1, 2]));
        }
        pixels.insert(site.output, output);
        layers.push(site.layer);
    }
    if !layers.is_empty() {
        if !model.opsets.iter().any(|(domain, _)| domain == DOMAIN) {
            model.opsets.push((DOMAIN.to_owned(), 1));
        }
        model.graph.sweep();
    }
    layers
}

fn new_codes(graph: &mut Graph, name: String, shape: Option<Vec<Dim>>) -> ValueId {
    graph.add_value(Value {
        dtype: Some(DType::U8),
        shape,
        ..Value::named(name)
    })
}

fn transpose(from: ValueId, to: ValueId, order: [i64; 4]) -> Node {
    Node::new("Transpose", vec![from], vec![to]).with("perm", AttributeValue::Ints(order.to_vec()))
}

/// A scale, and the zero point of a value of 8 bits; one of 16 has none but 0.
#[derive(Clone, Copy)]
struct Codes {
    scale: f32,
    zero: u8,
    wide: bool,
}

impl Codes {
    /// Of a node that quantizes or dequantizes, of ONNX's own set or, for 16 bits, of ONNX Runtime's.
    fn of(graph: &Graph, node: &Node, op: &str) -> Option<Self> {
        let parameters = Parameters { graph, node };
        let scale = parameters.scale(1).filter(|scale| *scale > 0.0 && scale.is_finite())?;
        if node.is(op) {
            let (zero, wide) = (parameters.code(2)?, false);
            return Some(Self { scale, zero, wide });
        }
        let wide = node.op == op && node.domain == MICROSOFT_DOMAIN;
        let zero = parameters.bytes(2, DType::U16)?;
        (wide && zero == [0; 2]).then_some(Self { scale, zero: 0, wide })
    }

    /// What one step of the high byte, or of the only one, is.
    fn step(self) -> f32 {
        if self.wide { self.scale * LOW } else { self.scale }
    }
}

/// The node that makes a value which nothing else reads.
fn maker(graph: &Graph, value: ValueId, user: NodeId) -> Option<(NodeId, &Node)> {
    let id = graph.producer(value).filter(|_| graph.only_user(value) == Some(user))?;
    Some((id, graph.node(id)?))
}

/// The layer whose output a node quantizes.
fn site(view: &GraphView<'_>, last: NodeId, node: &Node, isa: Int8Isa) -> Option<Site> {
    let graph = view.graph;
    let returned = Codes::of(graph, node, "QuantizeLinear")?;
    let (mut id, mut conv) = maker(graph, node.input(0)?, last)?;
    if conv.is("Relu") {
        // The codes are cut off at their zero.
        if returned.zero != 0 {
            return None;
        }
        (id, conv) = maker(graph, conv.input(0)?, id)?;
    }
    let then = match depthwise(view, conv, returned) {
        None => None,
        Some(then) => {
            let (relu, activation) = maker(graph, conv.input(0)?, id)?;
            (_, conv) = maker(graph, activation.input(0)?, relu).filter(|_| activation.is("Relu"))?;
            Some(then)
        }
    };
    let (input, read, layer) = layer(view, conv, returned, then, isa)?;
    let output = node.output(0)?;
    Some(Site {
        input,
        reads_wide: read.wide,
        last,
        output,
        returns_wide: returned.wide,
        extents: extents(view, output, layer.written()),
        layer,
    })
}

/// Of a value in NCHW, those of as many pixels of so many channels.
fn extents(view: &GraphView<'_>, value: ValueId, channels: usize) -> Option<Vec<Dim>> {
    let [images, _, rows, columns] = view.shapes.of(value)? else {
        return None;
    };
    Some(vec![
        images.clone(),
        rows.clone(),
        columns.clone(),
        Dim::Fixed(channels),
    ])
}

/// A depthwise convolution in f32: its geometry, weights and biases in steps of its output.
struct Depthwise {
    geometry: FloatDepthwise,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

fn depthwise(view: &GraphView<'_>, node: &Node, returned: Codes) -> Option<Depthwise> {
    let conv = Conv::of(&view.node(node)).ok()??;
    let window = conv.window.over_image().ok()?;
    let parameters = Parameters {
        graph: view.graph,
        node,
    };
    let in_steps = |values: Vec<f32>| values.into_iter().map(|value| value / returned.scale).collect();
    let weights = in_steps(parameters.floats(1)?);
    let bias = match node.input(2) {
        Some(_) => in_steps(parameters.floats(2)?),
        None => vec![0.0; conv.out_channels],
    };
    let channels = conv.groups;
    (channels > 1 && conv.in_channels == channels && conv.out_channels == channels && window.dilations == [1; 2])
        .then_some(Depthwise {
            geometry: FloatDepthwise {
                kernel: window.kernel,
                strides: window.strides,
                pads: window.pads,
                zero: returned.zero,
                wide: returned.wide,
            },
            weights,
            bias,
        })
}

/// The quantized values that a convolution reads, what they are, and the layer.
fn layer(
    view: &GraphView<'_>,
    node: &Node,
    returned: Codes,
    then: Option<Depthwise>,
    isa: Int8Isa,
) -> Option<(ValueId, Codes, PreparedInt8Conv)> {
    let graph = view.graph;
    let conv = Conv::of(&view.node(node)).ok()??;
    let window = conv.window.over_image().ok()?;
    let source = graph.node(graph.producer(node.input(0)?)?)?;
    let read = Codes::of(graph, source, "DequantizeLinear")?;
    let (codes, scales) = weights(graph, node.input(1)?, conv.out_channels)?;
    if window.dilations != [1; 2] || conv.groups != 1 || (then.is_none() && returned.wide) {
        return None;
    }
    let columns = codes.len() / conv.out_channels;
    let bytes = Bytes::of(&codes, columns);
    let units: Vec<f32> = scales
        .iter()
        .zip(&bytes.wide)
        .map(|(scale, wide)| read.step() * if *wide { scale * LOW } else { *scale })
        .collect();
    let biases = match node.input(2) {
        Some(_) => Parameters { graph, node }.floats(2)?,
        None => vec![0.0; conv.out_channels],
    };
    let bias: Vec<i32> = biases
        .iter()
        .zip(&units)
        .map(|(bias, unit)| (f64::from(*bias) / f64::from(*unit)).round() as i32)
        .collect();
    let over = if then.is_some() { 1.0 } else { returned.scale };
    let parameters = Int8Parameters {
        weights: &bytes.high,
        bias: &bias,
        scales: &units.iter().map(|unit| unit / over).collect::<Vec<_>>(),
        zeros: [read.zero, returned.zero],
    };
    let finer = Finer {
        rows: bytes.wide.iter().rposition(|wide| *wide).map_or(0, |last| last + 1),
        wide: read.wide,
        then: then.as_ref().map(|then| then.geometry),
    };
    let numbers = FinerNumbers {
        low: &bytes.low,
        weights: then.as_ref().map_or(&[], |then| &then.weights),
        bias: then.as_ref().map_or(&[], |then| &then.bias),
    };
    let geometry = Convolution {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        groups: 1,
        kernel: window.kernel,
        strides: window.strides,
        pads: window.pads,
        relu: false,
    };
    let layer = PreparedInt8Conv::finer(geometry, isa, &parameters, finer, &numbers).ok()?;
    Some((source.input(0)?, read, layer))
}

/// Integers and their scales, one an output channel, that weights are made of.
fn weights(graph: &Graph, value: ValueId, rows: usize) -> Option<(Vec<i32>, Vec<f32>)> {
    let node = graph.node(graph.producer(value)?)?;
    let parameters = Parameters { graph, node };
    let codes = graph.constant(node.input(0)?)?;
    let known =
        node.is("DequantizeLinear") && node.input(2).is_none() && [DType::I8, DType::I32].contains(&codes.dtype());
    let codes: Vec<i32> = codes
        .to_i64()
        .filter(|_| known)?
        .into_iter()
        .map(|code| code as i32)
        .collect();
    let scales = parameters.floats(1)?;
    let most = 127 * LOW as i32 + 127;
    let fits = scales.len() == rows && codes.iter().all(|code| code.abs() <= most);
    (fits && !codes.is_empty() && codes.len().is_multiple_of(rows)).then_some((codes, scales))
}

/// Weights in bytes.
struct Bytes {
    high: Vec<i8>,
    low: Vec<i8>,
    /// For each row, whether its weights have a low byte.
    wide: Vec<bool>,
}

impl Bytes {
    fn of(codes: &[i32], columns: usize) -> Self {
        let rows = codes.chunks(columns.max(1));
        let wide: Vec<bool> = rows
            .map(|row| row.iter().any(|code| i8::try_from(*code).is_err()))
            .collect();
        let split = |(i, code): (usize, &i32)| {
            let high = if wide[i / columns] { (code + 128) >> 8 } else { *code };
            let low = if wide[i / columns] { code - 256 * high } else { 0 };
            (high as i8, low as i8)
        };
        let (high, low) = codes.iter().enumerate().map(split).unzip();
        Self { high, low, wide }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_16_bits_are_256_high_bytes_and_a_low_one() {
        let codes = [127 * 256 + 127, -127 * 256 - 128, 127, -128, 100, -127];
        let bytes = Bytes::of(&codes, 2);
        assert_eq!(bytes.wide, [true, false, false]);
        assert_eq!(bytes.high, [127, -127, 127, -128, 100, -127]);
        assert_eq!(bytes.low, [127, -128, 0, 0, 0, 0]);
    }
}
