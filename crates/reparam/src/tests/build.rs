//! Networks written by hand, with random weights.

use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};

/// A network under construction.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) graph: Graph,
    pub(super) opset: i64,
    pub(super) dtype: DType,
    state: u64,
}

/// A convolution's attributes; the default is 3x3, stride 1, padded to keep the size.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) kernel: Vec<usize>,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) groups: usize,
    /// In front, then behind.
    pub(super) pads: Vec<usize>,
    pub(super) bias: bool,
}

/// A square window that keeps the size at stride 1.
pub(super) fn square(k: usize) -> Shape {
    window(&[k, k])
}

/// A window that keeps the size at stride 1.
pub(super) fn window(kernel: &[usize]) -> Shape {
    let pads: Vec<usize> = kernel.iter().map(|k| k / 2).collect();
    Shape {
        kernel: kernel.to_vec(),
        stride: 1,
        dilation: 1,
        groups: 1,
        pads: [pads.clone(), pads].concat(),
        bias: false,
    }
}

impl Shape {
    pub(super) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(super) fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(super) fn bias(self) -> Self {
        Self { bias: true, ..self }
    }

    pub(super) fn dilated(self, dilation: usize) -> Self {
        let pads = self.pads.iter().map(|p| p * dilation).collect();
        Self { dilation, pads, ..self }
    }

    pub(super) fn unpadded(self) -> Self {
        let pads = vec![0; self.pads.len()];
        Self { pads, ..self }
    }
}

fn ints(values: &[usize]) -> AttributeValue {
    AttributeValue::Ints(values.iter().map(|v| *v as i64).collect())
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            graph: Graph::default(),
            opset: 17,
            dtype: DType::F32,
            state: seed.wrapping_add(1),
        }
    }

    /// The model as it stands.
    pub(super) fn model(&self) -> Model {
        Model {
            graph: self.graph.clone(),
            ir_version: 8,
            opsets: vec![(String::new(), self.opset)],
            producer_name: "tests".into(),
            ..Model::default()
        }
    }

    pub(super) fn random(&mut self) -> f64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) as f64 / f64::from(1u32 << 31)) * 2.0 - 1.0
    }

    pub(super) fn randoms(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.random()).collect()
    }

    /// An input of these extents behind a dynamic batch.
    pub(super) fn input(&mut self, extents: &[usize]) -> ValueId {
        let dims: Vec<Dim> = extents.iter().map(|n| Dim::Fixed(*n)).collect();
        self.input_of(&dims)
    }

    /// An input of these dimensions behind a dynamic batch.
    pub(super) fn input_of(&mut self, dims: &[Dim]) -> ValueId {
        let batch = [Dim::Symbol("batch".into())];
        let shape = batch.into_iter().chain(dims.iter().cloned()).collect();
        let id = self.graph.add_value(Value {
            dtype: Some(self.dtype),
            shape: Some(shape),
            ..Value::named("input")
        });
        self.graph.inputs.push(id);
        id
    }

    pub(super) fn output(&mut self, value: ValueId) {
        self.graph.value_mut(value).dtype = Some(self.dtype);
        self.graph.outputs.push(value);
    }

    /// A constant of random numbers.
    pub(super) fn constant(&mut self, shape: &[usize]) -> ValueId {
        let values = self.randoms(shape.iter().product());
        self.given(shape, &values)
    }

    /// A constant.
    pub(super) fn given(&mut self, shape: &[usize], values: &[f64]) -> ValueId {
        self.graph
            .add_constant("constant", Tensor::from_f64(self.dtype, shape, values))
    }

    pub(super) fn push(&mut self, node: Node) -> ValueId {
        let mut node = node;
        let output = self.graph.add_value(Value::named(node.op.to_lowercase()));
        node.outputs = vec![Some(output)];
        self.graph.push_node(node);
        output
    }

    pub(super) fn op(&mut self, op: &str, inputs: &[ValueId]) -> ValueId {
        self.push(Node::new(op, inputs.to_vec(), Vec::new()))
    }

    pub(super) fn conv(&mut self, x: ValueId, channels: [usize; 2], shape: &Shape) -> ValueId {
        let extents = [&[channels[1], channels[0] / shape.groups], &shape.kernel[..]].concat();
        let weight = self.constant(&extents);
        let mut inputs = vec![x, weight];
        if shape.bias {
            inputs.push(self.constant(&[channels[1]]));
        }
        let rank = shape.kernel.len();
        let node = Node::new("Conv", inputs, Vec::new())
            .with("kernel_shape", ints(&shape.kernel))
            .with("strides", ints(&vec![shape.stride; rank]))
            .with("dilations", ints(&vec![shape.dilation; rank]))
            .with("group", AttributeValue::Int(shape.groups as i64))
            .with("pads", ints(&shape.pads));
        self.push(node)
    }

    pub(super) fn bn(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut inputs = vec![x];
        for _ in 0..3 {
            inputs.push(self.constant(&[channels]));
        }
        let variance: Vec<f64> = self.randoms(channels).iter().map(|v| v.abs() + 0.5).collect();
        inputs.push(self.given(&[channels], &variance));
        self.push(Node::new("BatchNormalization", inputs, Vec::new()).with("epsilon", AttributeValue::Float(1e-3)))
    }

    pub(super) fn conv_bn(&mut self, x: ValueId, channels: [usize; 2], shape: &Shape) -> ValueId {
        let y = self.conv(x, channels, shape);
        self.bn(y, channels[1])
    }

    pub(super) fn relu(&mut self, x: ValueId) -> ValueId {
        self.op("Relu", &[x])
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op("Add", &[a, b])
    }

    /// An average pool.
    pub(super) fn pool(&mut self, x: ValueId, shape: &Shape, counts: bool) -> ValueId {
        let rank = shape.kernel.len();
        let node = Node::new("AveragePool", vec![x], Vec::new())
            .with("kernel_shape", ints(&shape.kernel))
            .with("strides", ints(&vec![shape.stride; rank]))
            .with("pads", ints(&shape.pads))
            .with("count_include_pad", AttributeValue::Int(i64::from(counts)));
        self.push(node)
    }

    /// A border of zeros around the last two axes.
    pub(super) fn pad(&mut self, x: ValueId, pad: i64, mode: &str) -> ValueId {
        let pads = Tensor::from_i64(&[8], &[0, 0, pad, pad, 0, 0, pad, pad]);
        let pads = self.graph.add_constant("pads", pads);
        let mode = AttributeValue::String(mode.to_owned().into());
        self.push(Node::new("Pad", vec![x, pads], Vec::new()).with("mode", mode))
    }
}
