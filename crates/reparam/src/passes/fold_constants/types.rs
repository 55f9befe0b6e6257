//! Element types of values that the file does not state, from what produces them.

use std::collections::HashMap;

use repserve_graph::ops::Operator;
use repserve_graph::{DType, Graph, ValueId};

/// What was found by now.
#[derive(Default)]
pub(super) struct Types {
    known: HashMap<ValueId, Option<DType>>,
}

impl Types {
    /// The type of `value`, where it follows.
    pub(super) fn of(&mut self, graph: &Graph, value: ValueId) -> Option<DType> {
        let mut path = Vec::new();
        let mut at = Some(value);
        let mut found = None;
        while let Some(v) = at {
            if let Some(known) = self.known.get(&v) {
                found = *known;
                break;
            }
            path.push(v);
            if let Some(dtype) = graph.value(v).dtype {
                found = Some(dtype);
                break;
            }
            let producer = graph.producer(v).and_then(|id| graph.node(id));
            at = producer
                .filter(|n| Operator::of(n).is_some_and(|op| op.keeps_type))
                .and_then(|n| n.input(0));
        }
        for v in path {
            self.known.insert(v, found);
        }
        found
    }
}
