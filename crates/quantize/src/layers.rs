//! Which nodes of a deploy graph can compute in int8: convolutions, each with its ReLU or ReLU6, and the linear layer.

use std::collections::HashSet;

use repserve_graph::{AttributeValue, DType, Graph, Node, NodeId, ValueId};

/// A node whose weights are constants, with the ReLU or ReLU6 that follows it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Name of the value it answers with, after the clip; unique in the graph.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) node: NodeId,
    pub(super) clip: Option<Clip>,
    /// What it reads.
    pub(super) input: ValueId,
    /// What it answers with, after the clip.
    pub(super) output: ValueId,
    pub(super) weight: ValueId,
    pub(super) bias: Option<ValueId>,
    /// Output channels; weights are a matrix of `rows` rows.
    pub(super) rows: usize,
    /// Values that one output channel reads: input channels of its group times kernel taps.
    pub(super) columns: usize,
    pub(super) groups: usize,
}

/// What keeps a convolution's output from zero up: a ReLU, or a `Clip` from zero to a number (ReLU6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clip {
    pub(super) node: NodeId,
    /// The largest value that passes; infinite for a ReLU.
    pub(super) high: f32,
}

/// What kind of node a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A 2-D convolution with explicit pads.
    Conv(Window),
    /// `y = x·Wᵀ + b`; `transposed` says whether the constant lies as (rows, columns).
    Gemm {
        /// Whether the constant lies as (rows, columns) already.
        transposed: bool,
    },
}

impl Kind {
    /// A quantized convolution's output range cuts off what a clip would; a linear layer answers in f32.
    fn folds_clip(&self) -> bool {
        matches!(self, Self::Conv(_))
    }
}

/// Which input pixels a convolution reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilations: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
}

impl Layer {
    /// The weights in f64, (rows, columns), row-major.
    pub(super) fn weights(&self, graph: &Graph) -> Vec<f64> {
        let values = graph.constant(self.weight).and_then(|t| t.to_f64()).unwrap_or_default();
        if self.kind != (Kind::Gemm { transposed: false }) {
            return values;
        }
        let at = |i: usize| values[(i % self.columns) * self.rows + i / self.columns];
        (0..values.len()).map(at).collect()
    }

    /// The biases in f64, zeros where there are none.
    pub(super) fn biases(&self, graph: &Graph) -> Vec<f64> {
        self.bias
            .and_then(|b| graph.constant(b)?.to_f64())
            .unwrap_or_else(|| vec![0.0; self.rows])
    }

    /// Kernel taps; 1 for a linear layer.
    pub(super) fn taps(&self) -> usize {
        match &self.kind {
            Kind::Conv(window) => window.kernel[0] * window.kernel[1],
            Kind::Gemm { .. } => 1,
        }
    }
}

/// Every layer of the graph, in its order.
pub(super) fn layers(graph: &Graph) -> Vec<Layer> {
    let pooled = pooled(graph);
    let wide = |node: &Node| node.input(0).is_some_and(|input| !pooled.contains(&input));
    graph
        .nodes()
        .filter_map(|(id, node)| {
            if node.is("Conv") && wide(node) {
                conv(graph, id, node)
            } else if node.is("Gemm") {
                gemm(graph, id, node)
            } else {
                None
            }
        })
        .collect()
}

fn conv(graph: &Graph, id: NodeId, node: &Node) -> Option<Layer> {
    let auto_pad = node.attribute("auto_pad").map(|a| a.as_str());
    if !matches!(auto_pad, None | Some(Some("NOTSET"))) {
        return None;
    }
    let weight = node.input(1)?;
    let constant = graph.constant(weight).filter(|t| t.dtype() == DType::F32)?;
    let [rows, depth, height, width] = *constant.shape() else {
        return None;
    };
    let groups = usize::try_from(node.attribute("group").and_then(AttributeValue::as_int).unwrap_or(1)).ok()?;
    let window = Window {
        kernel: [height, width],
        strides: node.extents("strides", [1; 2])?,
        dilations: node.extents("dilations", [1; 2])?,
        pads: node.extents("pads", [0; 4])?,
    };
    if groups == 0 || rows == 0 || rows % groups != 0 || depth * height * width == 0 || window.strides.contains(&0) {
        return None;
    }
    let columns = depth * height * width;
    finish(graph, id, node, Kind::Conv(window), [rows, columns, groups])
}

/// Values that are one number a channel: those of squeeze-and-excitation branches, in which a convolution costs nothing and
/// an error weighs much.
fn pooled(graph: &Graph) -> HashSet<ValueId> {
    const POOLS: [&str; 2] = ["GlobalAveragePool", "ReduceMean"];
    const KEEPS: [&str; 8] = [
        "Relu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Clip",
        "Conv",
        "Mul",
        "Add",
    ];
    let mut found = HashSet::new();
    for (_, node) in graph.nodes() {
        let computed = || node.inputs.iter().flatten().filter(|v| graph.constant(**v).is_none());
        let keeps = KEEPS.contains(&node.op.as_str()) && computed().next().is_some();
        if POOLS.contains(&node.op.as_str()) || keeps && computed().all(|v| found.contains(v)) {
            found.extend(node.produces());
        }
    }
    found
}

fn gemm(graph: &Graph, id: NodeId, node: &Node) -> Option<Layer> {
    let one = |name| node.attribute(name).is_none_or(|a| a.as_float() == Some(1.0));
    let flag = |name| node.attribute(name).and_then(AttributeValue::as_int).unwrap_or(0) != 0;
    if !one("alpha") || !one("beta") || flag("transA") {
        return None;
    }
    let constant = graph.constant(node.input(1)?).filter(|t| t.dtype() == DType::F32)?;
    let [first, second] = *constant.shape() else {
        return None;
    };
    let transposed = flag("transB");
    let [rows, columns] = if transposed { [first, second] } else { [second, first] };
    if rows * columns == 0 {
        return None;
    }
    finish(graph, id, node, Kind::Gemm { transposed }, [rows, columns, 1])
}

/// The parts that both kinds have: the bias, which must be a constant of one value a row, and the clip.
fn finish(graph: &Graph, id: NodeId, node: &Node, kind: Kind, [rows, columns, groups]: [usize; 3]) -> Option<Layer> {
    let bias = node.input(2);
    if let Some(bias) = bias {
        let constant = graph.constant(bias)?;
        if constant.dtype() != DType::F32 || constant.len() != rows {
            return None;
        }
    }
    let direct = node.output(0)?;
    let user = graph.only_user(direct).filter(|_| kind.folds_clip());
    let clip = user.and_then(|user| clip(graph, user));
    let output = match clip {
        Some(clip) => graph.node(clip.node)?.output(0)?,
        None => direct,
    };
    Some(Layer {
        name: graph.value(output).name.clone(),
        kind,
        node: id,
        clip,
        input: node.input(0)?,
        output,
        weight: node.input(1)?,
        bias,
        rows,
        columns,
        groups,
    })
}

/// A ReLU, or a `Clip` whose bounds are constants (inputs, before operator set 11 attributes), the lower one zero.
fn clip(graph: &Graph, id: NodeId) -> Option<Clip> {
    let node = graph.node(id)?;
    if node.is("Relu") {
        return Some(Clip {
            node: id,
            high: f32::INFINITY,
        });
    }
    let bound = |place: usize, name: &str| match node.input(place) {
        Some(value) => match graph.constant(value)?.to_f64()?[..] {
            [bound] => Some(Some(bound as f32)),
            _ => None,
        },
        None => Some(node.attribute(name).and_then(AttributeValue::as_float)),
    };
    let (low, high) = (bound(1, "min")?, bound(2, "max")?.unwrap_or(f32::INFINITY));
    (node.is("Clip") && low == Some(0.0) && high > 0.0).then_some(Clip { node: id, high })
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
