//! A deploy graph and its calibration in, the int8 graph out.
//!
//! A convolution with its ReLU or ReLU6 becomes one `QLinearConv`: the output range starts at zero and ends at six at most, so
//! clipping does what the activation did. The linear layer becomes `QGemm` (ONNX Runtime's own operator set), which returns f32. Sums and
//! means between them are of quantized values too (`between`). Everything else stays as it is and reads f32: behind every quantized convolution stands a `DequantizeLinear`, which is swept away
//! where no node reads it, and before the first one a `QuantizeLinear`.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use repserve_graph::ops::{GraphView, MICROSOFT_DOMAIN};
use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, DType, Graph, Model, Node, Tensor, Value, ValueId, verify};

use crate::between::{Between, Quantized};
use crate::calibration::{Calibration, LayerRecord, Precision, Returns, ValueRange};
use crate::error::Error;
use crate::finer_rewrite::{Finer, Written};
use crate::layers::{Layer, LayerKind, layers_of};
use crate::range::{Affine, Range};
use crate::{directions, equalize, rounding, scale};

/// The first version of ONNX's operator set that has `QLinearConv`.
const OPSET_MIN: i64 = 10;
/// The first version whose `DequantizeLinear` has a scale a channel.
pub(super) const FINER_OPSET_MIN: i64 = 13;

/// The int8 graph of a deploy graph.
///
/// # Errors
/// A calibration that does not belong to the graph, or a graph of an operator set before 10.
pub fn rewrite(model: Model, calibration: &Calibration) -> Result<Model, Error> {
    rewrite_exposing(model, calibration, false)
}

/// [`rewrite`]; `expose` makes what every quantized layer returns, in f32, a graph output besides, in the layers' order.
pub(super) fn rewrite_exposing(mut model: Model, calibration: &Calibration, expose: bool) -> Result<Model, Error> {
    if model.opset() < OPSET_MIN {
        return Err(Error::Opset {
            found: model.opset(),
            wanted: OPSET_MIN,
        });
    }
    let shapes = Shapes::of_model(&model);
    let view = GraphView::of(&model, &shapes);
    let layers = layers_of(&view);
    let between = calibration.quantized_sums.then(|| Between::find(&view));
    equalize_all(&mut model.graph, &layers, calibration)?;
    let records: HashMap<&str, &LayerRecord> = calibration.layers.iter().map(|r| (r.layer.as_str(), r)).collect();
    let ranges = affine_ranges(&layers, calibration);
    let model_opset = model.opset();
    let mut rewriter = Rewriter {
        graph: &mut model.graph,
        ranges,
        tensors: HashMap::new(),
        wide: HashMap::new(),
        microsoft: false,
    };
    let finer = Finer::of(rewriter.graph, &layers, &records);
    if finer.any() && model_opset < FINER_OPSET_MIN {
        return Err(Error::Opset {
            found: model_opset,
            wanted: FINER_OPSET_MIN,
        });
    }
    let mut written = HashMap::new();
    for layer in &layers {
        if let Some(record) = records
            .get(layer.name.as_str())
            .filter(|r| r.precision == Precision::Int8)
        {
            let constants = match finer.form(layer) {
                Some(form) => rewriter.quantize_finer(layer, record, form)?,
                None => rewriter.quantize(layer, record)?,
            };
            written.insert(layer.node, constants);
            if expose && !rewriter.graph.outputs.contains(&layer.output) {
                rewriter.graph.value_mut(layer.output).dtype = Some(DType::F32);
                rewriter.graph.outputs.push(layer.output);
            }
        }
    }
    if !expose {
        // Exposed values are compared with those of the deploy graph.
        finer.put_16_bit_channels_first(rewriter.graph, &layers, &written);
    }
    if let Some(between) = between {
        rewriter.microsoft |= between.quantize(rewriter.graph, &rewriter.tensors);
    }
    if rewriter.microsoft && !model.opsets.iter().any(|(domain, _)| domain == MICROSOFT_DOMAIN) {
        model.opsets.push((MICROSOFT_DOMAIN.to_owned(), 1));
    }
    model.graph.sweep();
    verify::verify(&model.graph).map_err(Error::Broken)?;
    Ok(model)
}

/// Each value's scale and zero point.
fn affine_ranges(layers: &[Layer], calibration: &Calibration) -> HashMap<String, Affine> {
    let clips: HashMap<&str, f32> = layers
        .iter()
        .filter_map(|l| Some((l.name.as_str(), l.activation?.high)))
        .collect();
    let wide: HashSet<&str> = calibration
        .layers
        .iter()
        .filter(|record| record.returns == Returns::Uint16)
        .map(|record| record.layer.as_str())
        .collect();
    let affine = |r: &ValueRange| {
        // What an activation would cut off must lie beyond the range, whatever the file says.
        let range = match clips.get(r.value.as_str()) {
            Some(most) => Range {
                low: 0.0,
                high: r.range.high.min(*most),
            },
            None => r.range,
        };
        if wide.contains(r.value.as_str()) {
            return range.affine_wide();
        }
        range.affine()
    };
    let ranges = calibration.ranges.iter();
    ranges.map(|r| (r.value.clone(), affine(r))).collect()
}

/// Scales channels as the calibration says, in f32.
pub(super) fn equalize_all(graph: &mut Graph, layers: &[Layer], calibration: &Calibration) -> Result<(), Error> {
    let known: HashSet<&str> = layers.iter().map(|l| l.name.as_str()).collect();
    for record in &calibration.layers {
        let foreign = || Error::Foreign(record.layer.clone());
        if !known.contains(record.layer.as_str()) {
            return Err(foreign());
        }
        if !record.equalization.is_empty() {
            equalize::apply(graph, layers, &record.layer, &record.equalization).ok_or_else(foreign)?;
        }
    }
    Ok(())
}

pub(super) struct Rewriter<'a> {
    pub(super) graph: &'a mut Graph,
    ranges: HashMap<String, Affine>,
    /// For each quantized tensor its values, scale and zero point.
    pub(super) tensors: HashMap<ValueId, Quantized>,
    /// The same of values of 16 bits.
    pub(super) wide: HashMap<ValueId, Quantized>,
    /// Whether there are operators of ONNX Runtime's own set.
    pub(super) microsoft: bool,
}

/// A layer's weights in steps of its rows' scales.
pub(super) struct Steps {
    pub(super) scales: Vec<f32>,
    pub(super) steps: Vec<f64>,
    pub(super) up: Vec<bool>,
}

/// The constants of a quantized layer.
struct Weights {
    quantized: Tensor,
    scales: Vec<f32>,
    biases: Vec<i32>,
}

impl Rewriter<'_> {
    fn quantize(&mut self, layer: &Layer, record: &LayerRecord) -> Result<Written, Error> {
        let [quantized, scale, zero] = self.input(layer)?;
        let step = self.affine(layer.input)?.scale;
        let weights = self.weights(layer, record, step)?;
        let rows = layer.rows;
        let name = &layer.name;
        let weight = self
            .graph
            .add_constant(format!("{name}_weight_int8"), weights.quantized);
        let weight_scale = self.graph.add_constant(
            format!("{name}_weight_scale"),
            Tensor::from_f32(&[rows], &weights.scales),
        );
        let weight_zero = self
            .graph
            .add_constant(format!("{name}_weight_zero"), bytes(DType::I8, &[rows], vec![0; rows])?);
        let bias: Vec<u8> = weights.biases.iter().flat_map(|b| b.to_le_bytes()).collect();
        let bias = self
            .graph
            .add_constant(format!("{name}_bias_int32"), bytes(DType::I32, &[rows], bias)?);
        let written = Written {
            rows: vec![weight, weight_scale, weight_zero, bias],
            weight,
        };
        let mut inputs = vec![quantized, scale, zero, weight, weight_scale, weight_zero];
        let old = self.graph.node(layer.node).cloned().unwrap_or_default();
        let mut node = match layer.kind {
            LayerKind::Conv(window) => {
                let [output, output_scale, output_zero] = self.quantize_value(layer.output)?;
                inputs.extend([output_scale, output_zero, bias]);
                let ints = |list: &[usize]| AttributeValue::Ints(list.iter().map(|v| *v as i64).collect());
                Node::new("QLinearConv", inputs, vec![output])
                    .with("dilations", ints(&window.dilations))
                    .with("group", AttributeValue::Int(layer.groups as i64))
                    .with("kernel_shape", ints(&window.kernel))
                    .with("pads", ints(&window.pads))
                    .with("strides", ints(&window.strides))
            }
            LayerKind::Gemm { .. } => {
                self.microsoft = true;
                inputs.push(bias);
                let node = Node::new("QGemm", inputs, vec![layer.output]);
                Node {
                    domain: MICROSOFT_DOMAIN.to_owned(),
                    ..node
                }
                .with("transB", AttributeValue::Int(1))
            }
        };
        node.name.clone_from(&old.name);
        self.graph.remove_node(layer.node);
        if let Some(clip) = layer.activation {
            self.graph.remove_node(clip.node);
        }
        self.graph.insert_node(Some(layer.node), node);
        if let Some(tensors) = self.tensors.get(&layer.output) {
            let node = Node::new("DequantizeLinear", tensors.to_vec(), vec![layer.output]);
            self.graph.insert_node(Some(layer.node), node);
        }
        Ok(written)
    }

    /// The quantized input of a layer, made before it where it does not exist yet.
    pub(super) fn input(&mut self, layer: &Layer) -> Result<Quantized, Error> {
        if let Some(tensors) = self.tensors.get(&layer.input) {
            return Ok(*tensors);
        }
        let tensors = self.quantize_value(layer.input)?;
        let [quantized, scale, zero] = tensors;
        let node = Node::new("QuantizeLinear", vec![layer.input, scale, zero], vec![quantized]);
        self.graph.insert_node(Some(layer.node), node);
        Ok(tensors)
    }

    /// A new tensor for the quantized `value`, with its scale and zero point.
    pub(super) fn quantize_value(&mut self, value: ValueId) -> Result<Quantized, Error> {
        let Affine { scale, zero_point } = self.affine(value)?;
        let name = self.graph.value(value).name.clone();
        let scale = self
            .graph
            .add_constant(format!("{name}_scale"), Tensor::from_f32(&[], &[scale]));
        let zero = self
            .graph
            .add_constant(format!("{name}_zero_point"), bytes(DType::U8, &[], vec![zero_point])?);
        let shape = self.graph.value(value).shape.clone();
        let quantized = self.graph.add_value(Value {
            dtype: Some(DType::U8),
            shape,
            ..Value::named(format!("{name}_uint8"))
        });
        self.tensors.insert(value, [quantized, scale, zero]);
        Ok([quantized, scale, zero])
    }

    pub(super) fn affine(&self, value: ValueId) -> Result<Affine, Error> {
        let name = &self.graph.value(value).name;
        self.ranges
            .get(name.as_str())
            .copied()
            .ok_or_else(|| Error::NoRange(name.clone()))
    }

    /// The weights in steps of their scales, and which way each is rounded.
    pub(super) fn steps(&self, layer: &Layer, record: &LayerRecord) -> Result<Steps, Error> {
        let foreign = || Error::Foreign(layer.name.clone());
        let values = layer.weights(self.graph);
        if record.bias_correction.len() != layer.rows {
            return Err(foreign());
        }
        let scales = scale::scales(&values, layer.columns, layer.taps());
        let steps = rounding::steps(&values, &scales, layer.columns);
        let up = directions::decode(&record.rounding, &steps).ok_or_else(foreign)?;
        Ok(Steps { scales, steps, up })
    }

    /// Quantized weights, scales and biases. A bias counts in steps of the input's times the weight's scale.
    fn weights(&self, layer: &Layer, record: &LayerRecord, step: f32) -> Result<Weights, Error> {
        let Steps { scales, steps, up } = self.steps(layer, record)?;
        let quantized: Vec<u8> = steps
            .iter()
            .zip(&up)
            .map(|(step, up)| rounding::quantized(*step, *up) as u8)
            .collect();
        let shape = match layer.kind {
            LayerKind::Conv(_) => self.graph.constant(layer.weight).map(|t| t.shape().to_vec()),
            LayerKind::Gemm { .. } => Some(vec![layer.rows, layer.columns]),
        };
        let biases = layer.biases(self.graph);
        let integer = |i: usize| {
            let unit = f64::from(step) * f64::from(scales[i]);
            let value = ((biases[i] + record.bias_correction[i]) / unit).round();
            value.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32
        };
        Ok(Weights {
            quantized: bytes(DType::I8, &shape.unwrap_or_default(), quantized)?,
            biases: (0..layer.rows).map(integer).collect(),
            scales,
        })
    }
}

pub(super) fn bytes(dtype: DType, shape: &[usize], data: Vec<u8>) -> Result<Tensor, Error> {
    Ok(Tensor::new(dtype, shape.to_vec(), Bytes::from(data))?)
}
