use super::*;
use repserve_graph::{AttributeValue, DType, Dim, Node, Tensor, Value};

const CHANNELS: usize = 3;
const SIDE: usize = 4;
const FILL: [f32; CHANNELS] = [0.5, -1.0, 2.0];

/// Pads `x` by one and overwrites the border as an exporter does, one side after the other.
struct Builder {
    graph: Graph,
    at: ValueId,
}

impl Builder {
    fn new(batch: Dim) -> Self {
        let mut graph = Graph::default();
        let mut input = Value::named("x");
        input.dtype = Some(DType::F32);
        input.shape = Some(vec![batch, Dim::Fixed(CHANNELS), Dim::Fixed(SIDE), Dim::Fixed(SIDE)]);
        let x = graph.add_value(input);
        graph.inputs.push(x);
        let pads = graph.add_constant("pads", Tensor::from_i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]));
        let mut builder = Self { graph, at: x };
        builder.at = builder.node(Node::new("Pad", vec![x, pads], vec![]));
        builder
    }

    fn node(&mut self, mut node: Node) -> ValueId {
        let output = self.graph.add_value(Value::named(node.op.to_lowercase()));
        node.outputs = vec![Some(output)];
        self.graph.push_node(node);
        output
    }

    fn ints(&mut self, shape: &[usize], values: &[i64]) -> ValueId {
        self.graph.add_constant("ints", Tensor::from_i64(shape, values))
    }

    /// `F.pad`'s border as TorchScript writes it: every index computed, the batch frozen to `batch`.
    fn frozen(&mut self, axis: usize, at: usize, batch: usize, fill: &[f32]) {
        let mut extents = [batch, CHANNELS, SIDE + 2, SIDE + 2];
        extents[axis] = 1;
        let mut indices = Vec::new();
        for n in 0..batch {
            for c in 0..CHANNELS {
                for other in 0..SIDE + 2 {
                    let (row, column) = if axis == 2 { (at, other) } else { (other, at) };
                    indices.extend([n, c, row, column].map(|i| i as i64));
                }
            }
        }
        let indices = self.ints(&[extents[0], extents[1], extents[2], extents[3], 4], &indices);
        let fill = self
            .graph
            .add_constant("fill", Tensor::from_f32(&[CHANNELS, 1, 1], fill));
        let shape = self.ints(&[4], &extents.map(|n| n as i64));
        let updates = self.node(Node::new("Expand", vec![fill, shape], vec![]));
        self.at = self.node(Node::new("ScatterND", vec![self.at, indices, updates], vec![]));
    }

    /// The same as `torch.export` writes it: the axis in front, one index, the batch left open.
    fn open(&mut self, axis: usize, at: i64, fill: &[f32]) {
        let perm: Vec<i64> = if axis == 2 { vec![2, 1, 0, 3] } else { vec![3, 1, 2, 0] };
        let transposed = |of| Node::new("Transpose", vec![of], vec![]).with("perm", AttributeValue::Ints(perm.clone()));
        let x = self.graph.inputs[0];
        let batch = Node::new("Shape", vec![x], vec![]).with("end", AttributeValue::Int(1));
        let batch = self.node(batch);
        let side = (SIDE + 2) as i64;
        let rest = self.ints(&[3], &if axis == 2 { [3, 1, side] } else { [3, side, 1] });
        let shape = self.node(Node::new("Concat", vec![batch, rest], vec![]).with("axis", AttributeValue::Int(0)));
        let fill = self
            .graph
            .add_constant("fill", Tensor::from_f32(&[CHANNELS, 1, 1], fill));
        let updates = self.node(Node::new("Expand", vec![fill, shape], vec![]));
        let updates = self.node(transposed(updates));
        let index = self.ints(&[1, 1], &[at]);
        let image = self.node(transposed(self.at));
        let written = self.node(Node::new("ScatterND", vec![image, index, updates], vec![]));
        let back = self.node(transposed(written));
        self.at = self.node(Node::new("Identity", vec![back], vec![]));
    }

    fn run(mut self) -> (usize, Graph) {
        let at = self.at;
        let output = self.node(Node::new("Relu", vec![at], vec![]));
        self.graph.outputs.push(output);
        let rewritten = run(&mut self.graph, 17);
        repserve_graph::verify::verify(&self.graph).unwrap();
        (rewritten, self.graph)
    }
}

fn check_rewritten(builder: Builder) {
    let (rewritten, graph) = builder.run();
    assert_eq!(rewritten, 1, "{graph}");
    let ops: Vec<&str> = graph.nodes().map(|(_, n)| n.op.as_str()).collect();
    assert_eq!(ops, ["Sub", "Pad", "Add", "Relu"]);
    let fill = graph.nodes().find_map(|(_, n)| graph.constant(n.input(1)?)).unwrap();
    assert_eq!(fill.shape(), [1, CHANNELS, 1, 1]);
    assert_eq!(fill.to_f64().unwrap(), FILL.map(f64::from));
}

fn check_left(builder: Builder) {
    let before = builder.graph.node_count() + 1;
    let (rewritten, graph) = builder.run();
    assert_eq!((rewritten, graph.node_count()), (0, before), "{graph}");
}

fn symbol() -> Dim {
    Dim::Symbol("batch".into())
}

fn frozen(batch: Dim) -> Builder {
    let mut builder = Builder::new(batch);
    for (axis, at) in [(2, 0), (2, SIDE + 1), (3, 0), (3, SIDE + 1)] {
        builder.frozen(axis, at, 2, &FILL);
    }
    builder
}

#[test]
fn four_writes_with_computed_indices_are_a_border() {
    check_rewritten(frozen(Dim::Fixed(2)));
}

#[test]
fn indices_for_two_of_three_images_are_no_border() {
    check_left(frozen(symbol()));
    check_left(frozen(Dim::Fixed(3)));
}

#[test]
fn four_writes_through_transposes_are_a_border() {
    let mut builder = Builder::new(symbol());
    for (axis, at) in [(2, 0), (2, -1), (3, 0), (3, -1)] {
        builder.open(axis, at, &FILL);
    }
    check_rewritten(builder);
}

#[test]
fn a_missing_side_is_no_border() {
    let mut builder = Builder::new(symbol());
    for (axis, at) in [(2, 0), (2, -1), (3, 0)] {
        builder.open(axis, at, &FILL);
    }
    check_left(builder);
}

#[test]
fn sides_of_different_value_are_no_border() {
    let mut builder = Builder::new(symbol());
    for (axis, at) in [(2, 0), (2, -1), (3, 0)] {
        builder.open(axis, at, &FILL);
    }
    builder.open(3, -1, &[0.5, -1.0, 3.0]);
    check_left(builder);
}

#[test]
fn a_write_inside_the_image_is_no_border() {
    let mut builder = Builder::new(symbol());
    for (axis, at) in [(2, 0), (2, -1), (3, 1), (3, -1)] {
        builder.open(axis, at, &FILL);
    }
    check_left(builder);
}
