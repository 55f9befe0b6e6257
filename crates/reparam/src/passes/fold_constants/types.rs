//! Element types of values that the file does not state, from what produces them.

use std::collections::HashMap;

use repserve_graph::{DType, Graph, Node, ValueId};

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
            at = producer.filter(|n| keeps_type(n)).and_then(|n| n.input(0));
        }
        for v in path {
            self.known.insert(v, found);
        }
        found
    }
}

/// Whether an operator's result has the type of its first input.
fn keeps_type(node: &Node) -> bool {
    const KEEP: [&str; 36] = [
        "Conv",
        "BatchNormalization",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Clip",
        "Gelu",
        "Erf",
        "Softmax",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Sum",
        "Neg",
        "Sqrt",
        "Gemm",
        "MatMul",
        "AveragePool",
        "MaxPool",
        "GlobalAveragePool",
        "Concat",
        "Flatten",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Pad",
        "Slice",
        "ReduceMean",
        "ScatterND",
    ];
    node.is(&node.op) && KEEP.contains(&node.op.as_str())
}
