//! What lies between a `Pad` and a result.

use repserve_graph::ops::{GraphView, NodeView, Operator, Pad};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{DType, Graph, Node, ValueId};

/// Elements that a padded image may have for one batch item; above, the chain is left alone.
pub(super) const LABELS_MAX: usize = 1 << 22;

/// Nodes that the chain behind one `Pad` may have.
pub(super) const CHAIN_NODES_MAX: usize = 1024;

/// What lies between a `Pad` and a result.
pub(super) struct Chain<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a Shapes,
    pub(super) opset: i64,
    /// What is padded.
    pub(super) source: ValueId,
    pub(super) pad: &'a Node,
    pub(super) result: ValueId,
    /// Channels, height and width of the source.
    pub(super) extents: [usize; 3],
    /// Rows in front, columns in front, rows behind, columns behind.
    pub(super) pads: [usize; 4],
}

impl<'a> Chain<'a> {
    /// The chain that ends at `result`, if a zero `Pad` of an image of known size begins it.
    pub(super) fn ending_at(graph: &'a Graph, shapes: &'a Shapes, opset: i64, result: ValueId) -> Option<Self> {
        let mut at = result;
        let mut steps = 0;
        let pad = loop {
            let node = graph.node(graph.producer(at)?)?;
            if node.is("Pad") {
                break node;
            }
            steps += 1;
            if !passes_elements_on(node) || steps > CHAIN_NODES_MAX {
                return None;
            }
            at = node.input(0)?;
        };
        let source = pad.input(0)?;
        let [_, c, h, w] = shapes.of(source)? else {
            return None;
        };
        let extents = [fixed(c)?, fixed(h)?, fixed(w)?];
        let view = GraphView { graph, shapes, opset };
        let pads = pads_of(&view.node(pad))?;
        let padded = [
            extents[0],
            extents[1] + pads[0] + pads[2],
            extents[2] + pads[1] + pads[3],
        ];
        let labels = padded.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        (labels <= LABELS_MAX && labels > 0).then_some(Self {
            graph,
            shapes,
            opset,
            source,
            pad,
            result,
            extents,
            pads,
        })
    }

    /// The graph as the decoders of operators read it.
    pub(super) fn view(&self) -> GraphView<'a> {
        GraphView {
            graph: self.graph,
            shapes: self.shapes,
            opset: self.opset,
        }
    }

    /// The element type of the image, where the file says it.
    pub(super) fn dtype(&self) -> Option<DType> {
        let stated = |v: ValueId| self.graph.value(v).dtype;
        stated(self.source).or_else(|| stated(self.result))
    }
}

/// Whether an operator passes the elements of its first input on without computing, all but those that it overwrites.
pub(super) fn passes_elements_on(node: &Node) -> bool {
    Operator::of(node).is_some_and(Operator::keeps_extents)
}

/// Rows in front, columns in front, rows behind, columns behind of a zero `Pad` of an image.
fn pads_of(view: &NodeView<'_>) -> Option<[usize; 4]> {
    let pad = Pad::of(view).ok()??;
    if pad.mode != "constant" || Pad::fill(view) != Ok(0.0) || pad.names_axes() {
        return None;
    }
    let [before, after] = pad.along(4).ok()?;
    let (&[0, 0, top, left], &[0, 0, bottom, right]) = (&before[..], &after[..]) else {
        return None;
    };
    let narrow = |v: i64| usize::try_from(v).ok().filter(|v| *v < 1 << 16);
    Some([narrow(top)?, narrow(left)?, narrow(bottom)?, narrow(right)?])
}
