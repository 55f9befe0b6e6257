//! What stands between quantized layers and is computed on quantized values too: residual sums and the mean of all pixels.
//!
//! A sum of two quantized values that a layer reads quantized becomes a `QLinearAdd`; a ReLU or ReLU6 behind it is in the range of the
//! sum, as it is for a layer. The mean of a quantized value's pixels becomes a `QLinearGlobalAveragePool`. Both are of ONNX Runtime's own
//! operator set. Without them each value would go through f32 and back.

use std::collections::HashMap;

use repserve_graph::ops::{Clip, GlobalAverage, GraphView, MICROSOFT_DOMAIN, Sum};
use repserve_graph::{AttributeValue, DType, Dim, Graph, Node, NodeId, Value, ValueId};

/// A quantized value, its scale and its zero point.
pub(super) type Quantized = [ValueId; 3];

/// The sums and means of a deploy graph that may be of quantized values, in its order.
pub(super) struct Between {
    sites: Vec<Site>,
}

enum Site {
    /// Two values of one shape, in the graph's order; the sum, behind its activation.
    Sum {
        node: NodeId,
        terms: [ValueId; 2],
        /// The most that the activation lets pass, from zero up, if there is one.
        high: Option<f64>,
        output: ValueId,
    },
    /// A mean, with what only takes its axes away, if there is that.
    Mean {
        node: NodeId,
        input: ValueId,
        mean: ValueId,
        flattening: Option<NodeId>,
        output: ValueId,
    },
}

impl Between {
    /// Looks for them.
    pub(super) fn find(view: &GraphView<'_>) -> Self {
        let site = |(id, node): (NodeId, &Node)| sum(view, id, node).or_else(|| mean(view, id, node));
        Self {
            sites: view.graph.nodes().filter_map(site).collect(),
        }
    }

    /// Puts operators on quantized values where `tensors` has all that they read and make. Returns whether there are any.
    pub(super) fn quantize(self, graph: &mut Graph, tensors: &HashMap<ValueId, Quantized>) -> bool {
        let mut any = false;
        for site in self.sites {
            any |= site.quantize(graph, tensors).is_some();
        }
        any
    }
}

fn sum(view: &GraphView<'_>, id: NodeId, node: &Node) -> Option<Site> {
    let sum = Sum::of(&view.node(node)).ok()??;
    let &[(a, 1.0), (b, 1.0)] = &sum.terms[..] else {
        return None;
    };
    let alike = match (view.shapes.of(a), view.shapes.of(b)) {
        (Some(a), Some(b)) => a == b && a.iter().skip(1).all(|d| matches!(d, Dim::Fixed(_))),
        _ => false,
    };
    if a == b || !alike {
        return None;
    }
    let output = node.output(0)?;
    let clipped = || {
        let user = view.graph.node(view.graph.only_user(output)?)?;
        let clip = Clip::of(&view.node(user)).ok()??;
        let from_zero = clip.low == Some(0.0);
        from_zero.then(|| Some((clip.high.unwrap_or(f64::INFINITY), user.output(0)?)))?
    };
    let (high, output) = clipped().map_or((None, output), |(high, output)| (Some(high), output));
    // The layer that is computed last is the first term: kernels add the other one to what they return.
    let made = |value| place(view.graph, view.graph.producer(value));
    let terms = if made(a) > made(b) { [a, b] } else { [b, a] };
    Some(Site::Sum {
        node: id,
        terms,
        high,
        output,
    })
}

fn mean(view: &GraphView<'_>, id: NodeId, node: &Node) -> Option<Site> {
    let mean = GlobalAverage::of(&view.node(node)).ok()??;
    if !mean.keeps_axes {
        return None;
    }
    let made = node.output(0)?;
    let flattening = view.graph.only_user(made).filter(|user| {
        let flattens = |node: &Node| ["Flatten", "Reshape", "Squeeze"].iter().any(|op| node.is(op));
        view.graph
            .node(*user)
            .is_some_and(|node| flattens(node) && node.input(0) == Some(made))
    });
    let output = flattening.map_or(Some(made), |id| view.graph.node(id)?.output(0))?;
    Some(Site::Mean {
        node: id,
        input: mean.input,
        mean: made,
        flattening,
        output,
    })
}

impl Site {
    /// `None` where a value is not quantized.
    fn quantize(self, graph: &mut Graph, tensors: &HashMap<ValueId, Quantized>) -> Option<()> {
        match self {
            Self::Sum {
                node,
                terms,
                high,
                output,
            } => {
                let [a, b] = [tensors.get(&terms[0])?, tensors.get(&terms[1])?];
                let made = tensors.get(&output)?;
                let cut_off = high.is_none_or(|high| ends_at(graph, made, high));
                if !cut_off || !before(graph, a[0], node) || !before(graph, b[0], node) {
                    return None;
                }
                let conversion = conversion(graph, output, made)?;
                let inputs = [&a[..], &b[..], &made[1..]].concat();
                graph.remove_node(conversion);
                let sum = microsoft(Node::new("QLinearAdd", inputs, vec![made[0]]));
                graph.insert_node(Some(node), sum);
                bring_back(graph, output, made);
            }
            Self::Mean {
                node,
                input,
                mean,
                flattening,
                output,
            } => {
                let (read, made) = (*tensors.get(&input)?, *tensors.get(&output)?);
                if !before(graph, read[0], node) {
                    return None;
                }
                let conversion = conversion(graph, output, &made)?;
                graph.remove_node(conversion);
                let codes = match flattening {
                    None => made[0],
                    Some(_) => graph.add_value(Value {
                        dtype: Some(DType::U8),
                        shape: graph.value(mean).shape.clone(),
                        ..Value::named(format!("{}_pooled_uint8", graph.value(mean).name))
                    }),
                };
                let inputs = [&read[..], &made[1..]].concat();
                let pool = microsoft(Node::new("QLinearGlobalAveragePool", inputs, vec![codes]))
                    .with("channels_last", AttributeValue::Int(0));
                graph.insert_node(Some(node), pool);
                if let Some(id) = flattening {
                    let mut flat = graph.node(id)?.clone();
                    flat.name = format!("{}_uint8", flat.name);
                    flat.inputs[0] = Some(codes);
                    flat.outputs[0] = Some(made[0]);
                    graph.insert_node(Some(id), flat);
                }
            }
        }
        Some(())
    }
}

/// The node that quantizes `value`, where one does.
fn conversion(graph: &Graph, value: ValueId, quantized: &Quantized) -> Option<NodeId> {
    let makes = |id: &NodeId| {
        let node = graph.node(*id);
        node.is_some_and(|node| node.is("QuantizeLinear") && node.output(0) == Some(quantized[0]))
    };
    graph.users(value).find(makes)
}

/// Where a node stands in the graph's order; `None`, the first place, where there is none: a graph input.
fn place(graph: &Graph, node: Option<NodeId>) -> Option<usize> {
    node.and_then(|wanted| graph.nodes().position(|(id, _)| id == wanted))
}

/// Whether a value is made before `node`.
fn before(graph: &Graph, value: ValueId, node: NodeId) -> bool {
    place(graph, graph.producer(value)) < place(graph, Some(node))
}

/// Whether a quantized value stands for nothing below zero, and nothing beyond `high` but for rounding.
fn ends_at(graph: &Graph, [_, scale, zero]: &Quantized, high: f64) -> bool {
    let scale = graph.constant(*scale).and_then(|t| t.to_f64()).unwrap_or_default();
    let zero = graph.constant(*zero).map(|t| t.data().as_ref());
    zero == Some(&[0]) && matches!(scale[..], [scale] if scale * 254.5 <= high)
}

/// What else reads the sum in f32 reads what the quantized one stands for.
fn bring_back(graph: &mut Graph, value: ValueId, quantized: &Quantized) {
    let producer = graph.producer(value);
    if let Some(id) = producer {
        graph.remove_node(id);
    }
    graph.insert_node(producer, Node::new("DequantizeLinear", quantized.to_vec(), vec![value]));
}

fn microsoft(node: Node) -> Node {
    Node {
        domain: MICROSOFT_DOMAIN.to_owned(),
        ..node
    }
}

#[cfg(test)]
mod tests;
