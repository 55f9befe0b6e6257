//! The form of a layer in int8 that reads or returns more than 8 bits, or some of whose weights have 16.
//!
//! `QLinearConv` returns 8 bits and has weights of 8 bits. So such a layer is written as what it means: a `Conv` in f32 of what `DequantizeLinear` makes
//! of quantized values and weights. ONNX Runtime computes that in f32; kernels that know the form compute it in integers, with the same results but
//! for the rounding of f32. Values of 16 bits take operators of ONNX Runtime's own set.

use std::collections::HashMap;

use bytes::Bytes;

use repserve_graph::ops::MICROSOFT_DOMAIN;
use repserve_graph::{AttributeValue, DType, Graph, Node, NodeId, Tensor, Value, ValueId};

use crate::between::Quantized;
use crate::calibration::{LayerRecord, Precision, Returns};
use crate::equalize;
use crate::error::Error;
use crate::layers::{Layer, LayerKind};
use crate::range::Affine;
use crate::rewrite::{Rewriter, Steps, bytes};
use crate::rounding;

/// Parts of a step that the low byte of a weight counts.
const LOW: f64 = 256.0;
/// The largest weight of 16 bits whose high byte is one of a weight of 8 bits.
const WIDE_MAX: f64 = 127.0 * LOW + 127.0;

/// Which layers take the form, and whose channels are put in another order.
pub(super) struct Finer {
    forms: HashMap<NodeId, Form>,
    orders: Vec<Order>,
}

/// What of a layer is finer, besides its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// It reads 16 bits.
    reads_wide: bool,
    returns: Returns,
}

/// A layer whose channels with weights of 16 bits come first, the depthwise convolution that reads it, and the layer that reads that, by their places.
struct Order {
    layers: [usize; 3],
    channels: Vec<usize>,
}

/// The constants that a layer was written with.
pub(super) struct Written {
    /// Those that have a part for each output channel.
    pub(super) rows: Vec<ValueId>,
    pub(super) weight: ValueId,
}

impl Finer {
    /// As the records of a calibration say.
    pub(super) fn of(graph: &Graph, layers: &[Layer], records: &HashMap<&str, &LayerRecord>) -> Self {
        let record = |layer: &Layer| records.get(layer.name.as_str());
        let mut forms = HashMap::new();
        let mut orders = Vec::new();
        for (place, layer) in layers.iter().enumerate() {
            let Some(known) = record(layer).filter(|record| record.precision == Precision::Int8) else {
                continue;
            };
            let before = layers
                .iter()
                .find(|before| before.output == layer.input)
                .and_then(record);
            let reads_wide = before.is_some_and(|before| before.returns == Returns::Uint16);
            if reads_wide || known.returns != Returns::Uint8 || !known.channels_16_bit.is_empty() {
                let returns = known.returns;
                forms.insert(layer.node, Form { reads_wide, returns });
            }
            let next = |layer| {
                let reader = equalize::reader(graph, layers, layer)?;
                layers.iter().position(|known| known.node == reader.node)
            };
            let readers = || {
                let depthwise = next(layer).filter(|i| layers[*i].columns == layers[*i].taps())?;
                Some([
                    place,
                    depthwise,
                    next(&layers[depthwise]).filter(|i| layers[*i].groups == 1)?,
                ])
            };
            let fits = !known.channels_16_bit.is_empty() && known.channels_16_bit.iter().all(|c| *c < layer.rows);
            orders.extend(readers().filter(|_| fits).map(|layers| Order {
                layers,
                channels: known.channels_16_bit.clone(),
            }));
        }
        Self { forms, orders }
    }

    /// Whether any layer takes the form.
    pub(super) fn any(&self) -> bool {
        !self.forms.is_empty()
    }

    /// The form of a layer, if it takes it.
    pub(super) fn form(&self, layer: &Layer) -> Option<Form> {
        self.forms.get(&layer.node).copied()
    }

    /// Puts channels whose weights have 16 bits before the others, so that kernels compute them together.
    pub(super) fn put_16_bit_channels_first(
        &self,
        graph: &mut Graph,
        layers: &[Layer],
        written: &HashMap<NodeId, Written>,
    ) {
        for Order {
            layers: places,
            channels,
        } in &self.orders
        {
            let [first, depthwise, reader] = places.map(|place| &layers[place]);
            let others = (0..first.rows).filter(|channel| !channels.contains(channel));
            let order: Vec<usize> = channels.iter().copied().chain(others).collect();
            if order.len() != first.rows {
                continue;
            }
            for layer in [first, depthwise] {
                let own = || [Some(layer.weight), layer.bias].into_iter().flatten().collect();
                let rows = written
                    .get(&layer.node)
                    .map_or_else(own, |written| written.rows.clone());
                rows.into_iter()
                    .for_each(|constant| reorder(graph, constant, 0, &order));
            }
            let weight = written
                .get(&reader.node)
                .map_or(reader.weight, |written| written.weight);
            reorder(graph, weight, 1, &order);
        }
    }
}

/// Takes the parts of a constant along an axis in this order.
fn reorder(graph: &mut Graph, constant: ValueId, axis: usize, order: &[usize]) {
    let Some(tensor) = graph.constant(constant) else {
        return;
    };
    let shape = tensor.shape().to_vec();
    if shape.get(axis) != Some(&order.len()) || tensor.is_empty() {
        return;
    }
    let outer: usize = shape[..axis].iter().product();
    let part = tensor.data().len() / outer / order.len();
    let mut data = Vec::with_capacity(tensor.data().len());
    for line in tensor.data().chunks_exact(part * order.len()) {
        order
            .iter()
            .for_each(|from| data.extend_from_slice(&line[from * part..][..part]));
    }
    if let Ok(tensor) = Tensor::new(tensor.dtype(), shape, Bytes::from(data)) {
        graph.set_constant(constant, tensor);
    }
}

impl Rewriter<'_> {
    /// A layer in the form.
    pub(super) fn quantize_finer(&mut self, layer: &Layer, record: &LayerRecord, form: Form) -> Result<Written, Error> {
        if !matches!(layer.kind, LayerKind::Conv(_)) {
            return Err(Error::Foreign(layer.name.clone()));
        }
        let codes = if form.reads_wide {
            self.wide_input(layer)?
        } else {
            self.input(layer)?
        };
        let read = self.graph.value(layer.input).clone();
        let read = self.graph.add_value(Value {
            dtype: Some(DType::F32),
            name: format!("{}_read", layer.name),
            ..read
        });
        self.insert_dequantize(layer, codes.to_vec(), read, form.reads_wide);
        let step = self.affine(layer.input)?.scale;
        let (written, weight, bias) = self.finer_weights(layer, record, step)?;
        let mut node = self.graph.node(layer.node).cloned().unwrap_or_default();
        node.inputs = vec![Some(read), Some(weight), Some(bias)];
        self.graph.remove_node(layer.node);
        self.graph.insert_node(Some(layer.node), node);
        if form.returns == Returns::Uint8 {
            self.quantize_output(layer)?;
        }
        Ok(written)
    }

    /// The layer's input in 16 bits, made before it where it does not exist yet.
    fn wide_input(&mut self, layer: &Layer) -> Result<Quantized, Error> {
        if let Some(tensors) = self.wide.get(&layer.input) {
            return Ok(*tensors);
        }
        let Affine { scale, .. } = self.affine(layer.input)?;
        let Value { name, shape, .. } = self.graph.value(layer.input).clone();
        let graph = &mut self.graph;
        let scale = graph.add_constant(format!("{name}_scale_uint16"), Tensor::from_f32(&[], &[scale]));
        let zero = graph.add_constant(format!("{name}_zero_point_uint16"), bytes(DType::U16, &[], vec![0; 2])?);
        let codes = graph.add_value(Value {
            dtype: Some(DType::U16),
            shape,
            ..Value::named(format!("{name}_uint16"))
        });
        let node = microsoft(Node::new("QuantizeLinear", vec![layer.input, scale, zero], vec![codes]));
        graph.insert_node(Some(layer.node), node);
        self.microsoft = true;
        self.wide.insert(layer.input, [codes, scale, zero]);
        Ok([codes, scale, zero])
    }

    fn insert_dequantize(&mut self, layer: &Layer, inputs: Vec<ValueId>, output: ValueId, wide: bool) {
        let node = Node::new("DequantizeLinear", inputs, vec![output]);
        let node = if wide { microsoft(node) } else { node };
        self.graph.insert_node(Some(layer.node), node);
    }

    /// The layer's output, behind its activation, goes through 8 bits.
    fn quantize_output(&mut self, layer: &Layer) -> Result<(), Error> {
        let value = self.graph.value(layer.output).clone();
        let exact = self.graph.add_value(Value {
            name: format!("{}_exact", layer.name),
            ..value
        });
        let last = layer.activation.map_or(layer.node, |clip| clip.node);
        let mut node = self.graph.node(last).cloned().unwrap_or_default();
        node.outputs = vec![Some(exact)];
        self.graph.remove_node(last);
        self.graph.insert_node(Some(last), node);
        let tensors = self.quantize_value(layer.output)?;
        let [codes, scale, zero] = tensors;
        let quantize = Node::new("QuantizeLinear", vec![exact, scale, zero], vec![codes]);
        self.graph.insert_node(Some(last), quantize);
        let dequantize = Node::new("DequantizeLinear", tensors.to_vec(), vec![layer.output]);
        self.graph.insert_node(Some(last), dequantize);
        Ok(())
    }

    /// The constants, and the weights and biases in f32. Weights of 16 bits need no correction of the bias, which counts in steps of the input's times
    /// the weight's scale.
    fn finer_weights(
        &mut self,
        layer: &Layer,
        record: &LayerRecord,
        step: f32,
    ) -> Result<(Written, ValueId, ValueId), Error> {
        let Steps { mut scales, steps, up } = self.steps(layer, record)?;
        let wide = |row: usize| record.channels_16_bit.binary_search(&row).is_ok();
        let code = |i: usize| match wide(i / layer.columns) {
            true => (steps[i] * LOW).round().clamp(-WIDE_MAX, WIDE_MAX) as i32,
            false => i32::from(rounding::quantized(steps[i], up[i])),
        };
        let codes = (0..steps.len()).map(code);
        let shape = self
            .graph
            .constant(layer.weight)
            .map_or_else(Vec::new, |t| t.shape().to_vec());
        let codes = if record.channels_16_bit.is_empty() {
            bytes(DType::I8, &shape, codes.map(|code| code as u8).collect())?
        } else {
            bytes(DType::I32, &shape, codes.flat_map(i32::to_le_bytes).collect())?
        };
        let biases = layer.biases(self.graph);
        let bias = |row: usize| {
            let unit = f64::from(step) * f64::from(scales[row]);
            let correction = if wide(row) { 0.0 } else { record.bias_correction[row] };
            (((biases[row] + correction) / unit).round() * unit) as f32
        };
        let biases: Vec<f32> = (0..layer.rows).map(bias).collect();
        for (row, scale) in scales.iter_mut().enumerate().filter(|(row, _)| wide(*row)) {
            debug_assert!(wide(row));
            *scale /= LOW as f32;
        }
        let name = &layer.name;
        let graph = &mut self.graph;
        let kind = if record.channels_16_bit.is_empty() {
            "int8"
        } else {
            "int16"
        };
        let codes = graph.add_constant(format!("{name}_weight_{kind}"), codes);
        let scales = graph.add_constant(format!("{name}_weight_scale"), Tensor::from_f32(&[layer.rows], &scales));
        let bias = graph.add_constant(format!("{name}_bias"), Tensor::from_f32(&[layer.rows], &biases));
        let weight = graph.add_value(Value {
            dtype: Some(DType::F32),
            ..Value::named(format!("{name}_weight_read"))
        });
        let node = Node::new("DequantizeLinear", vec![codes, scales], vec![weight]);
        graph.insert_node(Some(layer.node), node.with("axis", AttributeValue::Int(0)));
        let written = Written {
            rows: vec![codes, scales, bias],
            weight: codes,
        };
        Ok((written, weight, bias))
    }
}

fn microsoft(node: Node) -> Node {
    Node {
        domain: MICROSOFT_DOMAIN.to_owned(),
        ..node
    }
}

#[cfg(test)]
mod tests;
