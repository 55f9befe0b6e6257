//! The convolution that a region is, put in its place.

use super::lower::Lowered;
use super::target::Target;
use crate::algebra::{Compiled, MergePlan};
use repserve_graph::ops::{SamePadding, Window};
use repserve_graph::{AttributeValue, DType, Graph, Node, NodeId, Patch, Tensor, ValueId};

/// A region that was compiled, free of the graph.
pub(crate) struct Merged {
    /// What it reads.
    pub(crate) source: ValueId,
    /// What it makes.
    pub(crate) root: ValueId,
    /// The nodes that it replaces, from the result backwards.
    pub(crate) nodes: Vec<NodeId>,
    /// What it becomes.
    pub(crate) target: Target,
    /// Element type of its weights.
    pub(crate) dtype: DType,
    /// Geometry.
    pub(crate) plan: MergePlan,
    /// Weights.
    pub(crate) compiled: Compiled,
}

/// How many nodes a region becomes.
pub(crate) fn node_count(target: Target, bias: bool) -> usize {
    1 + usize::from(target == Target::MatMul && bias)
}

impl Merged {
    /// Compiles a region that was found worth it.
    pub(crate) fn new(
        lowered: &Lowered<'_>,
        plan: MergePlan,
        source: ValueId,
        root: ValueId,
        nodes: &[NodeId],
    ) -> Self {
        let compiled = lowered.program.compile(&plan, lowered.dtype);
        Self {
            source,
            root,
            nodes: nodes.to_vec(),
            target: lowered.target,
            dtype: lowered.dtype,
            plan,
            compiled,
        }
    }

    /// Replaces the region's nodes, `tail` behind; the result keeps its name. Returns the node that makes the result.
    pub(crate) fn place(self, graph: &mut Graph, name: &str, tail: Vec<Node>) -> Option<NodeId> {
        let stem = graph.value(self.root).name.clone();
        let at = *self.nodes.first()?;
        let bias = self.compiled.bias;
        let bias = bias
            .iter()
            .any(|b| *b != 0.0)
            .then(|| Tensor::from_f64(self.dtype, &[bias.len()], &bias));
        let weight = match self.target {
            Target::MatMul => transposed(&self.compiled.weight),
            _ => self.compiled.weight,
        };
        let weight = graph.add_constant(format!("{stem}.weight"), weight);
        let bias = bias.map(|b| graph.add_constant(format!("{stem}.bias"), b));
        let mut patch = Patch {
            remove: self.nodes,
            ..Patch::default()
        };
        let mut inputs = vec![self.source, weight];
        if let (Target::MatMul, Some(bias)) = (self.target, bias) {
            let mut product = repserve_graph::Value::named(format!("{stem}.product"));
            product.dtype = graph.value(self.root).dtype;
            product.shape = graph.value(self.root).shape.clone();
            let product = graph.add_value(product);
            patch.insert.push((at, Node::new("MatMul", inputs, vec![product])));
            patch
                .insert
                .push((at, Node::new("Add", vec![product, bias], vec![self.root])));
        } else {
            inputs.extend(bias);
            let node = match self.target {
                Target::Conv => conv(&self.plan, inputs, self.root),
                Target::Gemm => Node::new("Gemm", inputs, vec![self.root]).with("transB", AttributeValue::Int(1)),
                Target::MatMul => Node::new("MatMul", inputs, vec![self.root]),
            };
            patch.insert.push((at, node));
        }
        if let Some((_, last)) = patch.insert.last_mut() {
            name.clone_into(&mut last.name);
        }
        patch.insert.extend(tail.into_iter().map(|node| (at, node)));
        patch.apply(graph);
        graph.producer(self.root)
    }
}

fn conv(plan: &MergePlan, inputs: Vec<ValueId>, root: ValueId) -> Node {
    let Window {
        kernel,
        strides,
        dilations,
        begins,
        ends,
        auto,
    } = plan.window();
    let ints = |list: &[usize]| AttributeValue::Ints(list.iter().map(|v| *v as i64).collect());
    let node = Node::new("Conv", inputs, vec![root])
        .with("dilations", ints(&dilations))
        .with("group", AttributeValue::Int(plan.groups as i64))
        .with("kernel_shape", ints(&kernel))
        .with("strides", ints(&strides));
    match auto {
        None => node.with("pads", ints(&[begins, ends].concat())),
        Some(SamePadding::Upper) => node.with("auto_pad", AttributeValue::String("SAME_UPPER".into())),
        Some(SamePadding::Lower) => node.with("auto_pad", AttributeValue::String("SAME_LOWER".into())),
    }
}

/// `[out, in]` as `[in, out]`.
fn transposed(weight: &Tensor) -> Tensor {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    let size = weight.dtype().size_bytes().unwrap_or(1);
    let mut data = Vec::with_capacity(weight.data().len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            data.extend_from_slice(&weight.data()[at..at + size]);
        }
    }
    Tensor::new(weight.dtype(), vec![columns, rows], data.into()).unwrap_or_else(|_| weight.clone())
}
