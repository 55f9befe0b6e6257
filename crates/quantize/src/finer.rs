//! What may be finer than 8 bits, and where that takes away most noise.
//!
//! A depthwise convolution has few multiplications and adds much noise: it rounds what it reads and what it returns to 8 bits, for few products each. So
//! it may read what the layer before it returns in f32, and compute in f32. What it returns may have 16 bits, which the 1x1 convolution behind it
//! multiplies in two parts. And of the layer before it a few output channels make most of the noise of rounded weights: these may have weights of
//! 16 bits (coarse to fine, arXiv 2312.10588).

use repserve_graph::Graph;

use crate::calibration::{Calibration, LayerRecord, Precision, Returns};
use crate::equalize;
use crate::layers::{Layer, LayerKind};

/// One of so many output channels has weights of 16 bits.
const CHANNELS_PER_FINE: usize = 8;
/// Kernels compute so many channels together.
const CHANNELS_TOGETHER: usize = 16;
/// By how much more than was seen a value of 16 bits may be, before it is cut off.
pub(super) const HEADROOM: f32 = 1.5;

/// A layer that only a depthwise convolution reads; by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) depthwise: usize,
    /// The 1x1 convolution that alone reads the depthwise one, and may read 16 bits.
    pub(super) reader: Option<usize>,
}

impl Pair {
    /// Its layers and their reader.
    pub(super) fn layers(&self) -> [Option<usize>; 3] {
        [Some(self.first), Some(self.depthwise), self.reader]
    }
}

/// The pairs of a graph, in its order.
pub(super) fn pairs(graph: &Graph, layers: &[Layer]) -> Vec<Pair> {
    let of = |(first, layer): (usize, &Layer)| {
        let depthwise = next(graph, layers, first)?;
        let fits = layer.groups == 1 && layer.activation.is_some() && is_depthwise(&layers[depthwise]);
        let undilated = [layer, &layers[depthwise]].into_iter().all(|layer| match &layer.kind {
            LayerKind::Conv(window) => window.dilations == [1; 2],
            LayerKind::Gemm { .. } => false,
        });
        let reader = next(graph, layers, depthwise);
        let reader = reader.filter(|reader| is_pointwise(&layers[*reader]) && layers[depthwise].activation.is_some());
        (fits && undilated).then_some(Pair {
            first,
            depthwise,
            reader,
        })
    };
    layers.iter().enumerate().filter_map(of).collect()
}

fn next(graph: &Graph, layers: &[Layer], place: usize) -> Option<usize> {
    let reader = equalize::reader(graph, layers, &layers[place])?;
    layers.iter().position(|layer| layer.node == reader.node)
}

fn is_depthwise(layer: &Layer) -> bool {
    layer.groups > 1 && layer.groups == layer.rows && layer.columns == layer.taps()
}

fn is_pointwise(layer: &Layer) -> bool {
    let plain = match &layer.kind {
        LayerKind::Conv(window) => window.kernel == [1; 2] && window.pads == [0; 4],
        LayerKind::Gemm { .. } => false,
    };
    plain && layer.groups == 1 && layer.columns.is_multiple_of(4)
}

/// The output channels of each pair's first layer whose weights are to have 16 bits: those that make most of the noise. `active` says for each layer and
/// channel how often its output is not zero, in any unit that the channels share.
pub(super) fn channels(
    graph: &Graph,
    layers: &[Layer],
    pairs: &[Pair],
    records: &[LayerRecord],
    active: &[Vec<f64>],
) -> Vec<Vec<usize>> {
    let weigh = weights(graph, layers, active);
    let of = |pair: &Pair| {
        let layer = &layers[pair.first];
        if pair.reader.is_none() || !is_pointwise(layer) {
            return Vec::new();
        }
        let noise = records[pair.first]
            .noise
            .iter()
            .zip(&weigh[pair.first])
            .map(|(noise, weight)| noise * weight);
        let mut ranked: Vec<(usize, f64)> = noise.enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(
            (layer.rows / CHANNELS_PER_FINE)
                .next_multiple_of(CHANNELS_TOGETHER)
                .min(layer.rows),
        );
        let mut channels: Vec<usize> = ranked.into_iter().map(|(channel, _)| channel).collect();
        channels.sort_unstable();
        channels
    };
    pairs.iter().map(of).collect()
}

/// How much noise of each layer's output channels, before the activation, is worth: what becomes of its variance on the way to the end, where noise of
/// pixels and channels is taken to be independent. Only comparable within a layer.
fn weights(graph: &Graph, layers: &[Layer], active: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = layers.iter().map(|layer| vec![0.0; layer.rows]).collect();
    for (place, layer) in layers.iter().enumerate().rev() {
        let mut behind = vec![0.0; layer.rows];
        for (i, reader) in layers
            .iter()
            .enumerate()
            .filter(|(_, reader)| reader.input == layer.output)
        {
            let (taps, rows_per_group) = (reader.taps(), reader.rows / reader.groups);
            let depth = reader.columns / taps;
            for (at, weight) in reader.weights(graph).into_iter().enumerate() {
                let (row, column) = (at / reader.columns, at % reader.columns);
                if let Some(sum) = behind.get_mut(row / rows_per_group * depth + column / taps) {
                    *sum += weight * weight * found[i][row];
                }
            }
        }
        if behind.iter().all(|sum| *sum == 0.0) {
            behind.fill(1.0);
        }
        let most = behind.iter().copied().fold(0.0, f64::max);
        for (channel, sum) in behind.into_iter().enumerate() {
            found[place][channel] = sum / most * active[place].get(channel).copied().unwrap_or(1.0);
        }
    }
    found
}

impl Calibration {
    /// Depthwise convolutions in f32 of what is not quantized, and weights of 16 bits.
    pub(super) fn make_finer(&mut self, pairs: &[Pair], channels: &[Vec<usize>]) {
        let depthwise: Vec<usize> = pairs.iter().map(|pair| pair.depthwise).collect();
        self.leave_in_fp32(&depthwise);
        for (pair, channels) in pairs.iter().zip(channels) {
            let record = &mut self.layers[pair.first];
            record.returns = Returns::Fp32;
            record.channels_16_bit.clone_from(channels);
        }
    }

    /// What a depthwise convolution returns has 16 bits, up to `high`, or 8, up to what was before.
    pub(super) fn returns(&mut self, layer: usize, returns: Returns, high: f32) {
        self.layers[layer].returns = returns;
        let name = &self.layers[layer].layer;
        for range in self.ranges.iter_mut().filter(|range| range.value == *name) {
            range.range.low = if returns == Returns::Uint16 {
                0.0
            } else {
                range.range.low
            };
            range.range.high = high;
        }
    }

    /// The end of the range of what a layer returns.
    pub(super) fn high(&self, layer: usize) -> f32 {
        let name = &self.layers[layer].layer;
        let range = self.ranges.iter().find(|range| range.value == *name);
        range.map_or(0.0, |range| range.range.high)
    }

    /// The layers that compute in fp32, by their places.
    pub(super) fn in_fp32(&self) -> Vec<usize> {
        let layers = self.layers.iter().enumerate();
        layers
            .filter(|(_, layer)| layer.precision == Precision::Fp32)
            .map(|(i, _)| i)
            .collect()
    }
}
