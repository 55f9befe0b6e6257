//! Shapes of values, as far as the file gives them or they follow from its inputs.
//!
//! A helper, not a type checker: where an operator is not listed or its attributes are odd, its outputs stay unknown.

mod layers;
mod movement;
mod reshape;
mod rules;
#[cfg(test)]
mod tests;

pub use crate::known::{Shapes, fixed};

use crate::body::Graph;
use crate::known::unknown;
use crate::model::Model;
use crate::ops::GraphView;
use crate::value::{Dim, ValueId};

impl Shapes {
    /// Collects what the graph says and infers the rest from inputs to outputs.
    pub fn infer(graph: &Graph, opset: i64) -> Self {
        let mut shapes = Self::default();
        shapes.update(graph, opset);
        shapes
    }

    /// [`Shapes::infer`] of a model's graph and operator set.
    pub fn of_model(model: &Model) -> Self {
        Self::infer(&model.graph, model.opset())
    }

    /// Adds what is not known by now, after an edit: no edit changes the shape that a value has.
    pub fn update(&mut self, graph: &Graph, opset: i64) {
        self.known.resize(graph.value_count(), None);
        let named = graph.inputs.iter().copied().chain(graph.constants().map(|(v, _)| v));
        for value in named {
            let known = &mut self.known[value.0 as usize];
            if known.is_none() {
                *known = stated(graph, value);
            }
        }
        for (_, node) in graph.nodes() {
            if node.produces().all(|output| self.of(output).is_some()) {
                continue;
            }
            let view = GraphView {
                graph,
                shapes: self,
                opset,
            };
            let inferred = rules::first_output(&view, node);
            for (i, output) in node.outputs.iter().enumerate() {
                let Some(output) = output else { continue };
                let inferred = inferred.as_ref().filter(|_| i == 0).cloned();
                self.known[output.0 as usize] = merged(inferred, stated(graph, *output));
            }
        }
    }
}

fn stated(graph: &Graph, value: ValueId) -> Option<Vec<Dim>> {
    match graph.constant(value) {
        Some(tensor) => Some(tensor.shape().iter().map(|n| Dim::Fixed(*n)).collect()),
        None => graph.value(value).shape.clone(),
    }
}

/// What two sources say together; where they contradict, nothing.
fn merged(inferred: Option<Vec<Dim>>, stated: Option<Vec<Dim>>) -> Option<Vec<Dim>> {
    let (a, b) = match (inferred, stated) {
        (Some(a), Some(b)) if a.len() == b.len() => (a, b),
        (Some(_), Some(_)) => return None,
        (a, b) => return a.or(b),
    };
    let both = a.into_iter().zip(b).map(|pair| match pair {
        (Dim::Fixed(a), Dim::Fixed(b)) if a != b => unknown(),
        (Dim::Fixed(a), _) => Dim::Fixed(a),
        (_, b) => b,
    });
    Some(both.collect())
}
