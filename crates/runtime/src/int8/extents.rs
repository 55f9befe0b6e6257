//! Which values have the same shape, where the graph does not say so: ONNX Runtime writes no shapes for values that it made.
//!
//! Extents are numbers without a meaning: two are the same number only if they are equal whatever the input's are. A
//! convolution's follow from its input's by `⌊(extent + pads − kernel) / stride⌋ + 1`, so that equal `pads − kernel` and `stride` make equal
//! extents of equal ones.

use std::collections::HashMap;

use repserve_graph::ops::QLinearAdd;
use repserve_graph::{Graph, ValueId};
use repserve_kernels::Convolution;

use super::{convolution, plain_view};

/// Images, rows and columns of values in NHWC, and their channels.
#[derive(Default)]
pub(super) struct Extents {
    of: HashMap<ValueId, [usize; 3]>,
    channels: HashMap<ValueId, usize>,
    /// An extent by the one that it follows from, `pads − kernel` and the stride.
    derived: HashMap<(usize, i64, usize), usize>,
    count: usize,
}

impl Extents {
    /// Of all values that convolutions in int8 read or make, and their sums.
    pub(super) fn of(graph: &Graph) -> Self {
        let mut extents = Self::default();
        let view = plain_view(graph);
        for (_, node) in graph.nodes() {
            let Some(output) = node.output(0) else { continue };
            if let (Some(conv), Some(input)) = (convolution(&view.node(node)), node.input(0)) {
                extents.channels.insert(input, conv.in_channels);
                extents.channels.insert(output, conv.out_channels);
                let made = extents.convolved(input, &conv);
                extents.of.insert(output, made);
            } else if let Ok(Some(QLinearAdd { terms: [a, b] })) = QLinearAdd::of(&view.node(node))
                && extents.alike(a, b)
            {
                extents.of.insert(output, extents.of[&a]);
                extents.channels.insert(output, extents.channels[&a]);
            }
        }
        extents
    }

    /// Whether two values are known to have the same shape, so that adding them broadcasts nothing.
    pub(super) fn alike(&self, a: ValueId, b: ValueId) -> bool {
        let shape = |value| Some((self.of.get(&value)?, self.channels.get(&value)?));
        a != b && shape(a).is_some() && shape(a) == shape(b)
    }

    fn convolved(&mut self, input: ValueId, conv: &Convolution) -> [usize; 3] {
        let known = self.of.get(&input).copied();
        let [images, rows, columns] = known.unwrap_or_else(|| [(); 3].map(|()| self.fresh()));
        self.of.insert(input, [images, rows, columns]);
        let mut axis = |extent, axis: usize| {
            let (pads, stride) = (conv.pads[axis] + conv.pads[axis + 2], conv.strides[axis]);
            // What a model's file names is bounded long before this loses anything.
            let change = pads as i64 - conv.kernel[axis] as i64;
            if (change, stride) == (-1, 1) {
                return extent;
            }
            if let Some(known) = self.derived.get(&(extent, change, stride)) {
                return *known;
            }
            let fresh = self.fresh();
            self.derived.insert((extent, change, stride), fresh);
            fresh
        };
        [images, axis(rows, 0), axis(columns, 1)]
    }

    fn fresh(&mut self) -> usize {
        self.count += 1;
        self.count
    }
}
