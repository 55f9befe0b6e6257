//! Where the kernels could take over: a `Conv` with the `Add` and `Relu` that follow it.

use std::collections::{HashMap, HashSet};

use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, NodeId, Tensor, ValueId};
use repserve_kernels::{Algorithm, Convolution, Isa, SourceLayout, fastest};

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
    for (id, node) in graph.nodes().filter(|(_, n)| n.is("Conv")) {
        if let Some(mut site) = of_conv(graph, &shapes, id, node, isa) {
            follow(graph, &shapes, &mut site, &mut taken);
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

/// How many operators want only the mean of every channel of `value`, which a lowered graph takes from blocks.
pub(super) fn means(graph: &Graph, value: ValueId) -> usize {
    let users = graph.users(value).filter_map(|id| graph.node(id));
    users.filter(|n| n.is("GlobalAveragePool")).count()
}

/// The shapes of all values once the input is an image of `shape`.
fn shapes_for(model: &Model, [channels, height, width]: [usize; 3]) -> Shapes {
    let mut graph = model.graph.clone();
    if let Some(input) = graph.inputs.iter().copied().find(|v| graph.constant(*v).is_none()) {
        let batch = graph.value(input).shape.as_ref().and_then(|s| s.first()).cloned();
        let batch = batch.unwrap_or(Dim::Symbol(String::new()));
        let image = [channels, height, width].map(Dim::Fixed);
        graph.value_mut(input).shape = Some(std::iter::once(batch).chain(image).collect());
    }
    Shapes::infer(&graph, model.opset())
}

fn of_conv(graph: &Graph, shapes: &Shapes, id: NodeId, node: &Node, isa: Isa) -> Option<Site> {
    let (input, output) = (node.input(0)?, node.output(0)?);
    if graph.constant(input).is_some() {
        return None;
    }
    let weights = graph.constant(node.input(1)?)?;
    let &[out_channels, depth, kh, kw] = weights.shape() else {
        return None;
    };
    let bias = match node.input(2) {
        Some(value) => Some(graph.constant(value)?.clone()),
        None => None,
    };
    let floats = |t: &Tensor| t.dtype() == DType::F32;
    if !floats(weights) || !bias.as_ref().is_none_or(|b| floats(b) && b.shape() == [out_channels]) {
        return None;
    }
    let groups = match node.attribute("group") {
        Some(value) => usize::try_from(value.as_int()?).ok()?,
        None => 1,
    };
    let conv = Convolution {
        in_channels: depth.checked_mul(groups)?,
        out_channels,
        groups,
        kernel: [kh, kw],
        strides: node.extents("strides", [1; 2])?,
        pads: pads(node)?,
        relu: false,
    };
    let agrees = node.extents("kernel_shape", [kh, kw])? == [kh, kw] && node.extents("dilations", [1; 2])? == [1; 2];
    if !agrees || kh > KERNEL_SIDE_MAX || kw > KERNEL_SIDE_MAX {
        return None;
    }
    let first_layer = groups == 1 && conv.in_channels < isa.lanes();
    let layout = if first_layer {
        SourceLayout::Nchw
    } else {
        SourceLayout::Blocked
    };
    let [Some(height), Some(width)] = shapes.spatial(input, 2)?[..] else {
        return None;
    };
    Some(Site {
        algorithm: fastest(&conv, layout, isa, [height, width])?,
        size: [height, width],
        nodes: vec![id],
        input,
        residual: None,
        output,
        conv,
        weights: weights.clone(),
        bias,
        layout,
    })
}

/// Takes the `Add` and the `Relu` that alone read what comes before.
fn follow(graph: &Graph, shapes: &Shapes, site: &mut Site, taken: &mut HashSet<NodeId>) {
    if let Some((id, node)) = only_reader(graph, site.output, "Add")
        && !taken.contains(&id)
        && let (Some(a), Some(b), Some(sum)) = (node.input(0), node.input(1), node.output(0))
    {
        let other = if a == site.output { b } else { a };
        if other != site.output && graph.constant(other).is_none() && alike(shapes, other, site.output) {
            taken.insert(id);
            site.nodes.push(id);
            (site.residual, site.output) = (Some(other), sum);
        }
    }
    if let Some((id, node)) = only_reader(graph, site.output, "Relu")
        && let Some(output) = node.output(0)
    {
        site.nodes.push(id);
        site.output = output;
        site.conv.relu = true;
    }
}

/// Whether two values have the same shape, so that adding them broadcasts nothing.
fn alike(shapes: &Shapes, a: ValueId, b: ValueId) -> bool {
    match (shapes.of(a), shapes.of(b)) {
        (Some(a), Some(b)) => a == b && a.iter().skip(1).all(|d| matches!(d, Dim::Fixed(_))),
        _ => false,
    }
}

fn only_reader<'a>(graph: &'a Graph, value: ValueId, op: &str) -> Option<(NodeId, &'a Node)> {
    let id = graph.only_user(value)?;
    let node = graph.node(id)?;
    (node.is(op) && !node.captures.contains(&value)).then_some((id, node))
}

fn pads(node: &Node) -> Option<[usize; 4]> {
    match node.attribute("auto_pad").map(AttributeValue::as_str) {
        None | Some(Some("NOTSET")) => node.extents("pads", [0; 4]),
        Some(Some("VALID")) => Some([0; 4]),
        _ => None,
    }
}
