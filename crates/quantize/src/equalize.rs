//! Cross-layer equalization. Channels of one tensor share one scale, so a channel that stays small gets few of the 256 values. Where a
//! convolution's output, ReLU or not (but no ReLU6), is read by one other convolution only, a channel may be divided by any factor
//! that the reader's weights are multiplied by: ReLU(x / s) · s = ReLU(x) (Nagel et al., arXiv 1906.04721, section 4.1).
//!
//! A factor is a power of the end of the channel's own range over the tensor's (geometric) mean, rounded to a quarter of a power of two. That
//! end is where the channel alone would best be clipped ([`crate::magnitudes`]), which rare extremes move less than its largest
//! value. The power 1 makes the activations even and makes the weights that read them uneven, of which an output channel
//! has one scale; 1/2 is between. Which is better is measured. A depthwise convolution has one input channel an output channel: what
//! the channel is divided by goes into the scale of its weights and costs nothing, so there the power is 1.

use std::collections::BTreeMap;

use repserve_graph::{Graph, Tensor, ValueId};

use crate::layers::{Layer, LayerKind};

/// Parts of a power of two that exponents count.
pub(super) const PARTS: i8 = 4;
/// Largest exponent of a factor, in quarters.
pub(super) const EXPONENT_MAX: i8 = 5 * PARTS;
/// 2 to the power of 0, 1/4, 1/2 and 3/4: as constants, so that every machine has the same factors to the bit.
const ROOTS: [f32; PARTS as usize] = [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_8];

/// 2 to the power of a quarter of `exponent`.
pub(super) fn factor(exponent: i8) -> f32 {
    let whole = i32::from(exponent.div_euclid(PARTS));
    ROOTS[usize::from(exponent.rem_euclid(PARTS).unsigned_abs())] * 2f32.powi(whole)
}

/// For each layer whose output may be scaled the quarters of powers of two that its channels are divided by. `ends` gives the end of
/// the range of each channel of a layer's output, `power` how far they are equalized, 0 to 1.
pub(super) fn exponents(
    graph: &Graph,
    layers: &[Layer],
    ends: &BTreeMap<String, Vec<f32>>,
    power: f64,
) -> BTreeMap<String, Vec<i8>> {
    let mut found = BTreeMap::new();
    for layer in layers {
        let Some(ends) = ends.get(&layer.name).filter(|m| m.len() == layer.rows) else {
            continue;
        };
        let Some(reader) = reader(graph, layers, layer) else {
            continue;
        };
        let depthwise = reader.columns == reader.taps();
        let exponents = of_ends(ends, if depthwise { 1.0 } else { power });
        if exponents.iter().any(|e| *e != 0) {
            found.insert(layer.name.clone(), exponents);
        }
    }
    found
}

fn of_ends(ends: &[f32], power: f64) -> Vec<i8> {
    let most_exponent = f64::from(EXPONENT_MAX);
    let logarithms = ends.iter().map(|m| f64::from(PARTS) * libm::log2(f64::from(*m)));
    let finite: Vec<f64> = logarithms.clone().filter(|l| l.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
    let exponent = |l: f64| {
        if l.is_finite() {
            (power * (l - mean)).round().clamp(-most_exponent, most_exponent) as i8
        } else {
            0
        }
    };
    logarithms.map(exponent).collect()
}

/// Scales weights and biases. `None` where the layer's output may not be scaled or the number of exponents is wrong.
pub(super) fn apply(graph: &mut Graph, layers: &[Layer], name: &str, exponents: &[i8]) -> Option<()> {
    let layer = layers.iter().find(|l| l.name == name && l.rows == exponents.len())?;
    let reader = reader(graph, layers, layer)?;
    let factors: Vec<f32> = exponents.iter().map(|e| factor(*e)).collect();
    scale(graph, layer.weight, |i| 1.0 / factors[i / layer.columns]);
    if let Some(bias) = layer.bias {
        scale(graph, bias, |i| 1.0 / factors[i]);
    }
    let depth = reader.columns / reader.taps();
    let rows_per_group = reader.rows / reader.groups;
    scale(graph, reader.weight, |i| {
        let (row, column) = (i / reader.columns, i % reader.columns);
        factors[row / rows_per_group * depth + column / reader.taps()]
    });
    Some(())
}

/// The convolution that alone reads the layer's output, if every constant involved is read once.
pub(super) fn reader<'a>(graph: &Graph, layers: &'a [Layer], layer: &Layer) -> Option<&'a Layer> {
    let user = graph.only_user(layer.output)?;
    let reader = layers.iter().find(|l| l.node == user && l.input == layer.output)?;
    let convolutions = matches!((&layer.kind, &reader.kind), (LayerKind::Conv(_), LayerKind::Conv(_)));
    let own = |value: ValueId| graph.use_count(value) == 1;
    let constants = [Some(layer.weight), layer.bias, Some(reader.weight)];
    let fits = reader.columns / reader.taps() * reader.groups == layer.rows;
    // ReLU6(x / s) · s is not ReLU6(x).
    let scales = layer.activation.is_none_or(|clip| clip.high == f32::INFINITY);
    (convolutions && fits && scales && constants.into_iter().flatten().all(own)).then_some(reader)
}

fn scale(graph: &mut Graph, value: ValueId, factor: impl Fn(usize) -> f32) {
    if let Some((shape, values)) = graph
        .constant(value)
        .and_then(|t| Some((t.shape().to_vec(), t.to_f64()?)))
    {
        let scaled: Vec<f32> = values.iter().enumerate().map(|(i, v)| *v as f32 * factor(i)).collect();
        graph.set_constant(value, Tensor::from_f32(&shape, &scaled));
    }
}

#[cfg(test)]
mod tests;
