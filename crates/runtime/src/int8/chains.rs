//! Convolutions of which each reads what earlier ones return become one operator, `Int8Chain`: ONNX Runtime calls it once, and what lies between them
//! stays in the kernels' memory.

use std::collections::HashMap;

use repserve_graph::{AttributeValue, Graph, NodeId, ValueId};
use repserve_kernels::Int8Step;

use crate::operators::{Int8Op, operator, written_steps};

/// An operator of a convolution, with a sum or without, and its place among the layers.
pub(super) struct Placed {
    pub(super) node: NodeId,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
    pub(super) layer: usize,
}

/// Joins the operators as far as only the last of a chain is read by others.
pub(super) fn join(graph: &mut Graph, mut placed: Vec<Placed>) {
    let order: HashMap<NodeId, usize> = graph.nodes().enumerate().map(|(i, (id, _))| (id, i)).collect();
    placed.sort_by_key(|operator| order.get(&operator.node).copied());
    let mut rest = &placed[..];
    while !rest.is_empty() {
        let steps = longest(graph, rest);
        let (chain, others) = rest.split_at(steps.len().max(1));
        if let ([_, _, ..], Some(last)) = (chain, chain.last()) {
            let name = graph.value(last.output).name.clone();
            let node = operator(Int8Op::Chain.name(), name, vec![chain[0].inputs[0]], last.output)
                .with("steps", AttributeValue::Ints(written_steps(&steps)));
            for operator in chain {
                graph.remove_node(operator.node);
            }
            // In the place of the last one, where all is at hand that the first one reads.
            graph.insert_node(Some(last.node), node);
        }
        rest = others;
    }
}

/// The longest chain that begins with the first operator: each reads what that reads or what others before it return, and only the last is
/// read by others.
fn longest(graph: &Graph, operators: &[Placed]) -> Vec<Int8Step> {
    let mut values: Vec<ValueId> = operators[0].inputs[..1].to_vec();
    let mut steps = Vec::new();
    for operator in operators {
        let place = |value: &ValueId| values.iter().position(|known| known == value);
        let read: Option<Vec<usize>> = operator.inputs.iter().map(place).collect();
        let Some(&[input, ref other @ ..]) = read.as_deref() else {
            break;
        };
        steps.push(Int8Step {
            layer: operator.layer,
            input,
            other: other.first().copied(),
        });
        values.push(operator.output);
    }
    let whole = |count: &usize| {
        let chain = &operators[..*count];
        let within = |user: NodeId| chain.iter().any(|operator| operator.node == user);
        let mut inner = chain[..count - 1].iter().map(|operator| operator.output);
        inner.all(|value| !graph.outputs.contains(&value) && graph.users(value).all(within))
    };
    let count = (1..=steps.len()).rev().find(whole);
    steps.truncate(count.unwrap_or(0));
    steps
}
