//! Which nodes of a deploy graph can compute in int8: convolutions, each with its ReLU or ReLU6, and the linear layer.

use std::collections::HashSet;

use repserve_graph::ops::{Clip, Conv, Elementwise, Gemm, GlobalAverage, GraphView, ImageWindow, LinearForm, Operator};
use repserve_graph::shapes::Shapes;
use repserve_graph::{DType, Graph, Model, Node, NodeId, ValueId};

/// A node whose weights are constants, with the ReLU or ReLU6 that follows it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Name of the value it returns, after the activation; unique in the graph.
    pub(super) name: String,
    pub(super) kind: LayerKind,
    pub(super) node: NodeId,
    pub(super) activation: Option<Activation>,
    /// What it reads.
    pub(super) input: ValueId,
    /// What it returns, after the activation.
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
pub(super) struct Activation {
    pub(super) node: NodeId,
    /// The largest value that passes; infinite for a ReLU.
    pub(super) high: f32,
}

/// What kind of node a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// A 2-D convolution.
    Conv(ImageWindow),
    /// `y = x·Wᵀ + b`; `transposed` says whether the constant lies as (rows, columns).
    Gemm {
        /// Whether the constant lies as (rows, columns) already.
        transposed: bool,
    },
}

impl LayerKind {
    /// A quantized convolution's output range cuts off what a clip would; a linear layer returns f32.
    fn folds_activation(&self) -> bool {
        matches!(self, Self::Conv(_))
    }
}

impl Layer {
    /// The weights in f64, (rows, columns), row-major.
    pub(super) fn weights(&self, graph: &Graph) -> Vec<f64> {
        let values = graph.constant(self.weight).and_then(|t| t.to_f64()).unwrap_or_default();
        if self.kind != (LayerKind::Gemm { transposed: false }) {
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
            LayerKind::Conv(window) => window.kernel[0] * window.kernel[1],
            LayerKind::Gemm { .. } => 1,
        }
    }
}

/// Every layer of the graph, in its order.
pub(super) fn layers(model: &Model) -> Vec<Layer> {
    layers_of(&GraphView::of(model, &Shapes::of_model(model)))
}

/// [`layers`] of a graph whose shapes are known.
pub(super) fn layers_of(view: &GraphView<'_>) -> Vec<Layer> {
    let pooled = pooled(view);
    let of_image = |node: &Node| node.input(0).is_some_and(|input| !pooled.contains(&input));
    let layer = |(id, node): (NodeId, &Node)| match conv(view, id, node) {
        Some(layer) => Some(layer).filter(|_| of_image(node)),
        None => gemm(view, id, node),
    };
    view.graph.nodes().filter_map(layer).collect()
}

fn conv(view: &GraphView<'_>, id: NodeId, node: &Node) -> Option<Layer> {
    let conv = Conv::of(&view.node(node)).ok()??;
    let window = conv.window.over_image().ok()?;
    let columns = conv.in_channels / conv.groups * conv.window.taps();
    let parts = Parts {
        node: id,
        input: conv.input,
        output: node.output(0)?,
        weight: conv.weight,
        bias: conv.bias,
    };
    parts.layer(view, LayerKind::Conv(window), [conv.out_channels, columns, conv.groups])
}

/// Values that are one number a channel: those of squeeze-and-excitation branches, in which a convolution costs nothing and
/// an error weighs much.
fn pooled(view: &GraphView<'_>) -> HashSet<ValueId> {
    let graph = view.graph;
    let mut found = HashSet::new();
    for (_, node) in graph.nodes() {
        let computed = || node.inputs.iter().flatten().filter(|v| graph.constant(**v).is_none());
        let pixelwise = |op: &Operator| op.elementwise != Elementwise::No || op.linear == Some(LinearForm::Conv);
        let keeps = Operator::of(node).is_some_and(pixelwise) && computed().next().is_some();
        let pools = matches!(GlobalAverage::of(&view.node(node)), Ok(Some(_)));
        if pools || keeps && computed().all(|v| found.contains(v)) {
            found.extend(node.produces());
        }
    }
    found
}

fn gemm(view: &GraphView<'_>, id: NodeId, node: &Node) -> Option<Layer> {
    let gemm = Gemm::of(&view.node(node)).ok()??;
    if gemm.alpha != 1.0 || gemm.beta != 1.0 || gemm.input_transposed {
        return None;
    }
    let &[first, second] = view.graph.constant(gemm.weight)?.shape() else {
        return None;
    };
    let [columns, rows] = gemm.features([first, second]);
    let parts = Parts {
        node: id,
        input: gemm.input,
        output: node.output(0)?,
        weight: gemm.weight,
        bias: gemm.bias,
    };
    let transposed = gemm.weight_transposed;
    parts.layer(view, LayerKind::Gemm { transposed }, [rows, columns, 1])
}

/// The node of a layer and its values.
struct Parts {
    node: NodeId,
    input: ValueId,
    output: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
}

impl Parts {
    /// The layer, with the activation that follows. Its weights must be f32 constants, its bias one of a value a row.
    fn layer(self, view: &GraphView<'_>, kind: LayerKind, [rows, columns, groups]: [usize; 3]) -> Option<Layer> {
        let graph = view.graph;
        let floats = |value: ValueId| graph.constant(value).filter(|t| t.dtype() == DType::F32);
        let weights = floats(self.weight)?;
        if weights.is_empty()
            || self
                .bias
                .is_some_and(|bias| floats(bias).is_none_or(|t| t.len() != rows))
        {
            return None;
        }
        let user = graph.only_user(self.output).filter(|_| kind.folds_activation());
        let activation = user.and_then(|user| activation(view, user));
        let output = match activation {
            Some(activation) => graph.node(activation.node)?.output(0)?,
            None => self.output,
        };
        Some(Layer {
            name: graph.value(output).name.clone(),
            kind,
            node: self.node,
            activation,
            input: self.input,
            output,
            weight: self.weight,
            bias: self.bias,
            rows,
            columns,
            groups,
        })
    }
}

/// A ReLU, or a `Clip` from zero to a constant.
fn activation(view: &GraphView<'_>, id: NodeId) -> Option<Activation> {
    let clip = Clip::of(&view.node(view.graph.node(id)?)).ok()??;
    let high = clip.high.map_or(f32::INFINITY, |high| high as f32);
    (clip.low == Some(0.0) && high > 0.0).then_some(Activation { node: id, high })
}

#[cfg(test)]
mod tests;
