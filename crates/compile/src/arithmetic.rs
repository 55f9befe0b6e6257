//! How far two graphs of the same function may differ by rounding: it follows from the types that they compute in.

use std::collections::HashMap;

use repserve_graph::ops::{LinearForm, MovedInputs, Operator};
use repserve_graph::{DType, Graph, GraphEnd, Model, Node, ValueId};
use repserve_reparam::equivalence::Tolerance;
use repserve_runtime::Optimization;

use super::settings::VerifySettings;

/// Probabilities are compared as if the largest of a batch were at least this.
const PROBABILITY_SCALE_MIN: f64 = 1e-2;

/// The arithmetic of a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arithmetic {
    /// The step of the coarsest type of floats that it computes in, relative to a value.
    pub(super) epsilon: f64,
    /// Nodes that round, one after another.
    pub(super) depth: usize,
    /// Whether values are rounded to the grid of integers on the way.
    pub(super) quantized: bool,
    /// Whether such a grid depends on all values of a batch.
    pub(super) grid_of_batch: bool,
}

impl Arithmetic {
    /// That of a model's graph.
    pub(super) fn of(model: &Model) -> Self {
        let graph = &model.graph;
        let mut depths: HashMap<ValueId, usize> = HashMap::new();
        let mut found = Self {
            epsilon: f64::from(f32::EPSILON),
            depth: 0,
            quantized: false,
            grid_of_batch: false,
        };
        for (_, node) in graph.nodes() {
            let before = node.reads().filter_map(|value| depths.get(&value)).max();
            let depth = before.copied().unwrap_or(0) + usize::from(rounds(node));
            depths.extend(node.produces().map(|value| (value, depth)));
            found.depth = found.depth.max(depth);
            found.epsilon = found.epsilon.max(epsilon(graph, node));
            found.quantized |= is_quantizer(graph, node);
            found.grid_of_batch |= node.op == "DynamicQuantizeLinear" || node.op.starts_with("DynamicQuantize");
        }
        let inputs = graph.inputs.iter().filter(|value| graph.constant(**value).is_none());
        for step in inputs.filter_map(|value| step(graph.value(*value).dtype?)) {
            found.epsilon = found.epsilon.max(step);
        }
        found
    }

    /// How its train-time graph runs to be compared with. In f32 no optimization is needed, and without one ONNX Runtime holds the weights
    /// once; other types are rounded elsewhere where nodes are fused, so that they are in both graphs.
    pub(super) fn optimization(&self) -> Optimization {
        match !self.quantized && self.epsilon <= f64::from(f32::EPSILON) {
            true => Optimization::None,
            false => Optimization::Fusing,
        }
    }

    /// What may differ: what the settings say for f32; for coarser types `2 ε √depth`, for the errors of nodes in a row add up like
    /// those of a random walk. (Higham and Mary, A new approach to probabilistic rounding error analysis, 2019.)
    pub(super) fn tolerance(&self, end: &GraphEnd, settings: &VerifySettings) -> Tolerance {
        let walk = 2.0 * self.epsilon * (self.depth.max(1) as f64).sqrt();
        let probabilities = matches!(end, GraphEnd::Softmax | GraphEnd::Sigmoid);
        Tolerance {
            relative_error_max: settings.relative_error_max.max(walk.min(0.25)),
            scale_min: if probabilities {
                PROBABILITY_SCALE_MIN
            } else {
                Tolerance::default().scale_min
            },
            top1_agreement_min: settings.top1_agreement_min,
        }
    }
}

/// Whether a node computes, and so rounds.
fn rounds(node: &Node) -> bool {
    Operator::of(node).is_none_or(|operator| operator.moves == MovedInputs::None)
}

/// Whether values that are no constants are rounded to a grid, or multiplied as integers.
fn is_quantizer(graph: &Graph, node: &Node) -> bool {
    let rounding = Operator::of(node).is_some_and(|operator| operator.linear == Some(LinearForm::Rounding));
    let constant = node.reads().next().is_some_and(|value| graph.constant(value).is_some());
    rounding && !constant
        || ["QLinear", "QGemm", "DynamicQuantize"]
            .iter()
            .any(|op| node.op.starts_with(op))
        || node.op.ends_with("Integer")
}

/// The step of the type that a node computes in: that of its constants, or what it casts values to.
fn epsilon(graph: &Graph, node: &Node) -> f64 {
    let data = node.reads().any(|value| graph.constant(value).is_none());
    if !data {
        return 0.0;
    }
    let cast = node
        .produces()
        .filter(|_| node.is("Cast"))
        .filter_map(|value| graph.value(value).dtype);
    let parameters = node
        .reads()
        .filter_map(|value| graph.constant(value))
        .map(repserve_graph::Tensor::dtype);
    cast.chain(parameters).filter_map(step).fold(0.0, f64::max)
}

/// Machine epsilon of types of floats that are coarser than f32.
fn step(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F16 => Some(f64::powi(2.0, -10)),
        DType::BF16 => Some(f64::powi(2.0, -7)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_graph::{Tensor, Value};

    /// `depth` products with a constant of this type.
    fn products(dtype: DType, depth: usize) -> Model {
        let mut model = Model::default();
        let mut value = model.graph.add_value(Value::named("x"));
        model.graph.inputs.push(value);
        for _ in 0..depth {
            let factor = model.graph.add_constant("w", Tensor::from_f64(dtype, &[1], &[2.0]));
            let next = model.graph.add_value(Value::named("y"));
            model.graph.push_node(Node::new("Mul", vec![value, factor], vec![next]));
            value = next;
        }
        model
    }

    fn bound(dtype: DType, depth: usize) -> f64 {
        let arithmetic = Arithmetic::of(&products(dtype, depth));
        assert_eq!(arithmetic.depth, depth);
        let tolerance = arithmetic.tolerance(&GraphEnd::Other(String::new()), &VerifySettings::default());
        tolerance.relative_error_max
    }

    #[test]
    fn what_may_differ_grows_with_the_step_and_the_depth() {
        assert_eq!(bound(DType::F32, 100), VerifySettings::default().relative_error_max);
        assert_eq!(bound(DType::F64, 100), VerifySettings::default().relative_error_max);
        assert_eq!(bound(DType::F16, 4), 4.0 / 1024.0);
        assert_eq!(bound(DType::F16, 64), 16.0 / 1024.0);
        assert_eq!(bound(DType::BF16, 4), 4.0 / 128.0);
        assert_eq!(bound(DType::BF16, 10_000), 0.25);
    }

    #[test]
    fn quantizers_of_values_are_told_from_those_of_weights() {
        let mut model = products(DType::F32, 1);
        let scale = model.graph.add_constant("s", Tensor::from_f32(&[], &[0.1]));
        let codes = model
            .graph
            .add_constant("q", Tensor::new(DType::I8, vec![1], vec![1].into()).unwrap());
        let weight = model.graph.add_value(Value::named("weight"));
        model
            .graph
            .push_node(Node::new("DequantizeLinear", vec![codes, scale], vec![weight]));
        assert!(!Arithmetic::of(&model).quantized);
        let rounded = model.graph.add_value(Value::named("rounded"));
        let x = model.graph.find("x").unwrap();
        model
            .graph
            .push_node(Node::new("QuantizeLinear", vec![x, scale], vec![rounded]));
        assert!(Arithmetic::of(&model).quantized);
    }

    #[test]
    fn probabilities_have_a_floor() {
        let arithmetic = Arithmetic::of(&products(DType::F32, 1));
        let settings = VerifySettings::default();
        assert_eq!(
            arithmetic.tolerance(&GraphEnd::Sigmoid, &settings).scale_min,
            PROBABILITY_SCALE_MIN
        );
    }
}
