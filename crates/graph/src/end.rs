//! What a value of a graph is computed by in the end: whether a classifier makes probabilities itself.

use std::fmt;

use crate::body::Graph;
use crate::node::Node;
use crate::ops::{LinearForm, MovedInputs, Operator};
use crate::value::ValueId;

/// Nodes that a walk back passes at most.
const STEPS_MAX: usize = 32;

/// The last operator that computes something, seen from a value backwards past those that only move or round elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphEnd {
    /// A softmax, written as one operator or as a quotient of exponentials.
    Softmax,
    /// The logarithm of a softmax.
    LogSoftmax,
    /// A sigmoid, written as one operator or as a reciprocal.
    Sigmoid,
    /// Another operator, by its name; empty where there is none.
    Other(String),
}

impl GraphEnd {
    /// What computes `value`.
    pub fn of(graph: &Graph, value: ValueId) -> Self {
        let mut value = value;
        for _ in 0..STEPS_MAX {
            let Some(node) = producer(graph, value) else {
                return Self::Other(String::new());
            };
            match passed(node) {
                Some(before) => value = before,
                None => return Self::at(graph, node),
            }
        }
        Self::Other(String::new())
    }

    fn at(graph: &Graph, node: &Node) -> Self {
        let first = || node.reads().next().map(|input| Self::of(graph, input));
        match node.op.as_str() {
            "Softmax" | "QLinearSoftmax" => Self::Softmax,
            "LogSoftmax" => Self::LogSoftmax,
            "Sigmoid" | "HardSigmoid" | "QLinearSigmoid" => Self::Sigmoid,
            "Log" if first() == Some(Self::Softmax) => Self::LogSoftmax,
            "Exp" if first() == Some(Self::LogSoftmax) => Self::Softmax,
            "Div" | "Reciprocal" => quotient(graph, node),
            _ => Self::Other(node.op.clone()),
        }
    }
}

/// `exp(x) / Σ exp(x)` is a softmax, `1 / (1 + exp(-x))` a sigmoid.
fn quotient(graph: &Graph, node: &Node) -> GraphEnd {
    let below = node.reads().last().and_then(|value| producer(graph, value));
    let above = node.reads().next();
    let of_exp = |node: &Node| {
        let mut inputs = node.reads();
        inputs.find(|value| producer(graph, *value).is_some_and(|node| node.is("Exp")))
    };
    match below.map(|below| (below, of_exp(below))) {
        Some((sum, exp)) if sum.is("ReduceSum") && exp.is_some() && exp == above => GraphEnd::Softmax,
        Some((sum, Some(_))) if sum.is("Add") => GraphEnd::Sigmoid,
        _ => GraphEnd::Other(node.op.clone()),
    }
}

fn producer(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.node(graph.producer(value)?)
}

/// What a node passes on, where it computes nothing but a rounding.
fn passed(node: &Node) -> Option<ValueId> {
    let operator = Operator::of(node)?;
    let keeps_all = matches!(
        operator.name,
        "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Transpose" | "Unsqueeze" | "Cast"
    ) && matches!(operator.moves, MovedInputs::These([0]));
    let rounds = matches!(operator.linear, Some(LinearForm::Rounding | LinearForm::Dropout));
    (keeps_all || rounds).then(|| node.reads().next()).flatten()
}

impl fmt::Display for GraphEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Softmax => "Softmax",
            Self::LogSoftmax => "LogSoftmax",
            Self::Sigmoid => "Sigmoid",
            Self::Other(name) if name.is_empty() => "no operator that is known",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use crate::value::Value;

    /// A chain of operators of one operand.
    fn chain(ops: &[&str]) -> GraphEnd {
        let mut graph = Graph::default();
        let mut value = graph.add_value(Value::named("x"));
        for op in ops {
            let next = graph.add_value(Value::named("y"));
            graph.push_node(Node::new(*op, vec![value], vec![next]));
            value = next;
        }
        GraphEnd::of(&graph, value)
    }

    #[test]
    fn what_moves_or_rounds_is_passed() {
        assert_eq!(chain(&["Gemm", "Softmax"]), GraphEnd::Softmax);
        assert_eq!(
            chain(&["Softmax", "QuantizeLinear", "DequantizeLinear", "Squeeze", "Cast"]),
            GraphEnd::Softmax
        );
        assert_eq!(chain(&["Softmax", "Log"]), GraphEnd::LogSoftmax);
        assert_eq!(chain(&["LogSoftmax", "Exp", "Identity"]), GraphEnd::Softmax);
        assert_eq!(chain(&["Sigmoid", "Reshape"]), GraphEnd::Sigmoid);
        assert_eq!(chain(&["Softmax", "Relu"]), GraphEnd::Other("Relu".to_owned()));
        assert_eq!(chain(&[]), GraphEnd::Other(String::new()));
    }

    #[test]
    fn quotients_of_exponentials_are_recognized() {
        let mut graph = Graph::default();
        let value = |graph: &mut Graph| graph.add_value(Value::named("v"));
        let [x, exp, sum, softmax, more, sigmoid] = std::array::from_fn(|_| value(&mut graph));
        let one = graph.add_constant("one", Tensor::from_f32(&[], &[1.0]));
        graph.push_node(Node::new("Exp", vec![x], vec![exp]));
        graph.push_node(Node::new("ReduceSum", vec![exp], vec![sum]));
        graph.push_node(Node::new("Div", vec![exp, sum], vec![softmax]));
        graph.push_node(Node::new("Add", vec![one, exp], vec![more]));
        graph.push_node(Node::new("Div", vec![one, more], vec![sigmoid]));
        assert_eq!(GraphEnd::of(&graph, softmax), GraphEnd::Softmax);
        assert_eq!(GraphEnd::of(&graph, sigmoid), GraphEnd::Sigmoid);
        assert_eq!(GraphEnd::of(&graph, more), GraphEnd::Other("Add".to_owned()));
    }
}
