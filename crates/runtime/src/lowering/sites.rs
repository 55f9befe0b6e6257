//! Where the kernels could take over: a `Conv` with the `Add` and `Relu` that follow it.

use std::collections::{HashMap, HashSet};

use repserve_graph::ops::{Clip, Conv, GlobalAverage, GraphView, Sum};
use repserve_graph::shapes::Shapes;
use repserve_graph::{DType, Dim, Graph, Model, Node, NodeId, Tensor, ValueId};
use repserve_kernels::{Algorithm, Convolution, Isa, SourceLayout, fastest};

use crate::live::shapes_for;

/// Kernels beyond this side stay with ONNX Runtime.
const KERNEL_SIDE_MAX: usize = 7;

/// One convolution and what is computed with it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// `Conv`, then `Add` and `Relu` where they follow.
    pub(super) nodes: Vec<NodeId>,
    pub(super) input: ValueId,
    /// What is added before the activation.
    pub(super) residual: Option<ValueId>,
    /// What the last of `nodes` produces.
    pub(super) output: ValueId,
    /// Readers that want only the mean of every channel of `output`, which a lowered graph takes from blocks.
    pub(super) means: Vec<NodeId>,
    pub(super) conv: Convolution,
    pub(super) weights: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) layout: SourceLayout,
    /// What computes it.
    pub(super) algorithm: Algorithm,
    /// Rows and columns of the input.
    pub(super) size: [usize; 2],
}

impl Site {
    /// Rows and columns of the output.
    pub(super) fn out_size(&self) -> (usize, usize) {
        self.conv.output_size(self.size[0], self.size[1]).unwrap_or((0, 0))
    }

    /// Names under which ONNX Runtime may report the site's time: its nodes and what they produce.
    pub(super) fn names(&self, graph: &Graph) -> HashSet<String> {
        let nodes = self.nodes.iter().filter_map(|id| graph.node(*id));
        nodes
            .flat_map(|node| {
                let outputs = node.produces().map(|v| graph.value(v).name.clone());
                outputs.chain([node.name.clone()]).collect::<Vec<_>>()
            })
            .filter(|name| !name.is_empty())
            .collect()
    }
}

/// Every convolution that the kernels can compute with `isa` for images of `shape` (channels, height, width), in the order in which
/// the graph computes their outputs.
pub(super) fn find(model: &Model, isa: Isa, shape: [usize; 3]) -> Vec<Site> {
    let shapes = shapes_for(model, shape);
    let graph = &model.graph;
    let mut taken = HashSet::new();
    let mut sites = Vec::new();
    let view = GraphView {
        graph,
        shapes: &shapes,
        opset: model.opset(),
    };
    for (id, node) in graph.nodes() {
        if let Some(mut site) = of_conv(&view, id, node, isa) {
            follow(&view, &mut site, &mut taken);
            site.means = means(&view, site.output);
            sites.push(site);
        }
    }
    let place: HashMap<NodeId, usize> = graph.nodes().enumerate().map(|(place, (id, _))| (id, place)).collect();
    sites.sort_by_key(|site| site.nodes.last().and_then(|id| place.get(id)).copied());
    sites
}

/// How often sites read a value in blocks.
pub(super) fn readers(sites: &[Site]) -> HashMap<ValueId, usize> {
    let mut readers = HashMap::new();
    for site in sites {
        let input = (site.layout == SourceLayout::Blocked).then_some(site.input);
        for value in input.into_iter().chain(site.residual) {
            *readers.entry(value).or_default() += 1;
        }
    }
    readers
}

fn of_conv(view: &GraphView<'_>, id: NodeId, node: &Node, isa: Isa) -> Option<Site> {
    let graph = view.graph;
    let decoded = Conv::of(&view.node(node)).ok()??;
    let window = decoded.window.over_image().ok()?;
    if graph.constant(decoded.input).is_some()
        || window.dilations != [1; 2]
        || window.kernel.iter().any(|side| *side > KERNEL_SIDE_MAX)
    {
        return None;
    }
    let floats = |value: ValueId| graph.constant(value).filter(|t| t.dtype() == DType::F32);
    let weights = floats(decoded.weight)?;
    let bias = match decoded.bias {
        Some(value) => Some(floats(value).filter(|b| b.shape() == [decoded.out_channels])?.clone()),
        None => None,
    };
    let conv = Convolution {
        in_channels: decoded.in_channels,
        out_channels: decoded.out_channels,
        groups: decoded.groups,
        kernel: window.kernel,
        strides: window.strides,
        pads: window.pads,
        relu: false,
    };
    let first_layer = conv.groups == 1 && conv.in_channels < isa.lanes();
    let layout = if first_layer {
        SourceLayout::Nchw
    } else {
        SourceLayout::Blocked
    };
    let [Some(height), Some(width)] = view.shapes.spatial(decoded.input, 2)?[..] else {
        return None;
    };
    Some(Site {
        algorithm: fastest(&conv, layout, isa, [height, width])?,
        size: [height, width],
        nodes: vec![id],
        input: decoded.input,
        residual: None,
        output: node.output(0)?,
        means: Vec::new(),
        conv,
        weights: weights.clone(),
        bias,
        layout,
    })
}

/// Takes the sum of two values and the clip at zero that alone read what comes before.
fn follow(view: &GraphView<'_>, site: &mut Site, taken: &mut HashSet<NodeId>) {
    let graph = view.graph;
    if let Some((id, node)) = only_reader(graph, site.output)
        && !taken.contains(&id)
        && let (Some(other), Some(sum)) = (added(view, node, site.output), node.output(0))
        && graph.constant(other).is_none()
        && alike(view.shapes, other, site.output)
    {
        taken.insert(id);
        site.nodes.push(id);
        (site.residual, site.output) = (Some(other), sum);
    }
    if let Some((id, node)) = only_reader(graph, site.output)
        && let Ok(Some(Clip {
            low: Some(0.0),
            high: None,
        })) = Clip::of(&view.node(node))
        && let Some(output) = node.output(0)
    {
        site.nodes.push(id);
        site.output = output;
        site.conv.relu = true;
    }
}

/// The readers of `value` that are means of its channels, of the shape that a global pool gives.
fn means(view: &GraphView<'_>, value: ValueId) -> Vec<NodeId> {
    let is_mean = |id: &NodeId| {
        let node = view.graph.node(*id).map(|node| view.node(node));
        let mean = node.and_then(|node| GlobalAverage::of(&node).ok()?);
        mean.is_some_and(|mean| mean.keeps_axes)
    };
    view.graph.users(value).filter(is_mean).collect()
}

/// What the node adds to `value`, if it is a sum of the two.
fn added(view: &GraphView<'_>, node: &Node, value: ValueId) -> Option<ValueId> {
    let sum = Sum::of(&view.node(node)).ok()??;
    match sum.terms[..] {
        [(a, 1.0), (b, 1.0)] if a != b => Some(if a == value { b } else { a }),
        _ => None,
    }
}

/// Whether two values have the same shape, so that adding them broadcasts nothing.
fn alike(shapes: &Shapes, a: ValueId, b: ValueId) -> bool {
    match (shapes.of(a), shapes.of(b)) {
        (Some(a), Some(b)) => a == b && a.iter().skip(1).all(|d| matches!(d, Dim::Fixed(_))),
        _ => false,
    }
}

fn only_reader(graph: &Graph, value: ValueId) -> Option<(NodeId, &Node)> {
    let id = graph.only_user(value)?;
    let node = graph.node(id)?;
    (!node.captures.contains(&value)).then_some((id, node))
}
