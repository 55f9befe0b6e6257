//! How much a graph holds while it computes an image.

use std::collections::{BTreeSet, HashMap};

use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{Dim, Graph, Model, ValueId};

use crate::input::Layout;

/// The most elements that the values of one image of `shape` (channels, height, width) have together at any time, where the nodes run in
/// order and a value goes with the last node that reads it. Values of unknown extents count nothing.
pub fn live_elements_max(model: &Model, shape: [usize; 3]) -> usize {
    most(&model.graph, &shapes_for(model, shape))
}

/// The shapes of all values once the input is an image of `shape`.
pub(super) fn shapes_for(model: &Model, [channels, height, width]: [usize; 3]) -> Shapes {
    let mut graph = model.graph.clone();
    if let Some(input) = graph.inputs.iter().copied().find(|v| graph.constant(*v).is_none()) {
        let stated = graph.value(input).shape.clone().unwrap_or_default();
        let extents: Vec<_> = stated.iter().map(fixed).collect();
        let layout = Layout::of(&extents).unwrap_or(Layout::ChannelsFirst);
        let image = match layout.channels_last() {
            true => [height, width, channels],
            false => [channels, height, width],
        };
        let batch = stated.first().cloned().unwrap_or(Dim::Symbol(String::new()));
        let batch = layout.has_batch().then_some(batch);
        graph.value_mut(input).shape = Some(batch.into_iter().chain(image.map(Dim::Fixed)).collect());
    }
    Shapes::infer(&graph, model.opset())
}

fn most(graph: &Graph, shapes: &Shapes) -> usize {
    let elements = |value: &ValueId| -> usize {
        let Some(extents) = shapes.of(*value).and_then(|shape| shape.get(1..)) else {
            return 0;
        };
        let count = extents
            .iter()
            .map(fixed)
            .try_fold(1, |n: usize, extent| n.checked_mul(extent?));
        count.filter(|_| graph.constant(*value).is_none()).unwrap_or(0)
    };
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for (place, (_, node)) in graph.nodes().enumerate() {
        last.extend(node.reads().chain(node.produces()).map(|value| (value, place)));
    }
    last.extend(graph.outputs.iter().map(|value| (*value, usize::MAX)));
    let mut live: usize = graph.inputs.iter().map(elements).sum();
    let mut most = live;
    for (place, (_, node)) in graph.nodes().enumerate() {
        let made: BTreeSet<ValueId> = node.produces().collect();
        live += made.iter().map(elements).sum::<usize>();
        most = most.max(live);
        let touched: BTreeSet<ValueId> = node.reads().chain(made).collect();
        let gone = touched.iter().filter(|value| last.get(value) == Some(&place));
        live -= gone.map(elements).sum::<usize>();
    }
    most
}

#[cfg(test)]
mod tests {
    use repserve_graph::{DType, Node, Tensor, Value};

    use super::*;

    /// Values of so many channels, each of 4 x 2 elements, with which `nodes` are made: what they read and make, by number.
    #[track_caller]
    fn check(channels: &[usize], nodes: &[(&[usize], usize)], expected: usize) {
        let mut model = Model {
            opsets: vec![(String::new(), 17)],
            ..Model::default()
        };
        let value = |(number, channels): (usize, &usize)| Value {
            dtype: Some(DType::F32),
            shape: Some(vec![
                Dim::Symbol("n".to_owned()),
                Dim::Fixed(*channels),
                Dim::Fixed(4),
                Dim::Fixed(2),
            ]),
            ..Value::named(format!("v{number}"))
        };
        let values: Vec<_> = channels.iter().enumerate().map(value).collect();
        let values: Vec<_> = values.into_iter().map(|value| model.graph.add_value(value)).collect();
        model.graph.inputs.push(values[0]);
        let (_, last) = nodes[nodes.len() - 1];
        model.graph.outputs.push(values[last]);
        for (reads, makes) in nodes {
            let reads = reads.iter().map(|number| values[*number]).collect();
            model.graph.push_node(Node::new("Unknown", reads, vec![values[*makes]]));
        }
        assert_eq!(live_elements_max(&model, [channels[0], 4, 2]), expected * 8);
    }

    #[test]
    fn a_chain_holds_two_values_at_a_time() {
        check(&[3, 8, 8, 2], &[(&[0], 1), (&[1], 2), (&[2], 3)], 16);
    }

    #[test]
    fn a_value_that_is_read_again_stays_until_then() {
        check(&[3, 8, 8, 8, 2], &[(&[0], 1), (&[1], 2), (&[2], 3), (&[3, 1], 4)], 24);
    }

    #[test]
    fn constants_and_unknown_extents_count_nothing() {
        let mut model = Model::default();
        let weights = model
            .graph
            .add_constant("w", Tensor::from_f32(&[1, 1000], &[0.0; 1000]));
        let unknown = model.graph.add_value(Value::named("x"));
        model.graph.outputs.push(unknown);
        model
            .graph
            .push_node(Node::new("Unknown", vec![weights], vec![unknown]));
        assert_eq!(live_elements_max(&model, [3, 4, 2]), 0);
    }
}
