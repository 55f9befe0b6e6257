//! Generated train-time networks: the architectures of the papers with random weights, for measuring without a download.
//!
//! A block is 3x3 Conv + BN, 1x1 Conv + BN and, where input and output agree, an identity BN, summed, then ReLU
//! (Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", arXiv 2101.03697, table 2 for depths and widths).

use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};

/// Depth, widths and groups of a RepVGG.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// The name people know it by.
    pub name: &'static str,
    /// Blocks in stages 1 to 4; stage 0 always has one.
    pub blocks: [usize; 4],
    /// Output channels of stages 0 to 4.
    pub widths: [usize; 5],
    /// Groups of every second block, as in the g2 and g4 variants; 1 for none.
    pub groups: usize,
}

/// Architectures that can be generated.
pub const ARCHITECTURES: [Architecture; 4] = [
    Architecture {
        name: "repvgg-a0",
        blocks: [2, 4, 14, 1],
        widths: [48, 48, 96, 192, 1280],
        groups: 1,
    },
    Architecture {
        name: "repvgg-b0",
        blocks: [4, 6, 16, 1],
        widths: [64, 64, 128, 256, 1280],
        groups: 1,
    },
    Architecture {
        name: "repvgg-b1g4",
        blocks: [4, 6, 16, 1],
        widths: [64, 128, 256, 512, 2048],
        groups: 4,
    },
    Architecture {
        name: "repvgg-b3",
        blocks: [4, 6, 16, 1],
        widths: [64, 192, 384, 768, 2560],
        groups: 1,
    },
];

/// The train-time model of `architecture` for square inputs of `size` pixels and `classes` outputs, weights drawn from `seed`.
pub fn repvgg(architecture: &Architecture, size: usize, classes: usize, seed: u64) -> Model {
    let (mut builder, input) = Builder::new(architecture.name, size, seed);
    let stem = Block {
        channels: [3, architecture.widths[0]],
        stride: 2,
        groups: 1,
    };
    let mut value = builder.block(input, "stage0", stem);
    let (mut channels, mut layer) = (architecture.widths[0], 1);
    for (stage, (&blocks, &width)) in architecture.blocks.iter().zip(&architecture.widths[1..]).enumerate() {
        for index in 0..blocks {
            let block = Block {
                channels: [channels, width],
                stride: if index == 0 { 2 } else { 1 },
                groups: if layer % 2 == 0 { architecture.groups } else { 1 },
            };
            value = builder.block(value, &format!("stage{}.{index}", stage + 1), block);
            (channels, layer) = (width, layer + 1);
        }
    }
    builder.finish(value, channels, classes)
}

/// ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1), as [`repvgg`] makes its models.
pub fn resnet18(size: usize, classes: usize, seed: u64) -> Model {
    let (mut builder, input) = Builder::new("resnet-18", size, seed);
    let block = |channels, stride| Block {
        channels,
        stride,
        groups: 1,
    };
    let stem = builder.conv_bn(input, "stem", block([3, 64], 2), 7);
    let stem = builder.apply("Relu", &[stem], "stem.relu");
    let mut value = builder.max_pool(stem, "stem.pool");
    let mut channels = 64;
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for index in 0..2 {
            let name = format!("stage{}.{index}", stage + 1);
            let stride = if index == 0 && width != 64 { 2 } else { 1 };
            let inner = builder.conv_bn(value, &format!("{name}.first"), block([channels, width], stride), 3);
            let inner = builder.apply("Relu", &[inner], &format!("{name}.inner"));
            let outer = builder.conv_bn(inner, &format!("{name}.second"), block([width, width], 1), 3);
            if stride == 2 {
                value = builder.conv_bn(value, &format!("{name}.shortcut"), block([channels, width], 2), 1);
            }
            let sum = builder.apply("Add", &[outer, value], &format!("{name}.sum"));
            value = builder.apply("Relu", &[sum], &format!("{name}.relu"));
            channels = width;
        }
    }
    builder.finish(value, channels, classes)
}

/// EfficientNet-Lite0 as [`repvgg`] makes its models: EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for
/// Convolutional Neural Networks", arXiv 1905.11946, table 1) without squeeze-and-excitation and with ReLU6.
pub fn efficientnet_lite0(size: usize, classes: usize, seed: u64) -> Model {
    // Blocks, kernel, stride of the first block, expansion, output channels.
    const STAGES: [[usize; 5]; 7] = [
        [1, 3, 1, 1, 16],
        [2, 3, 2, 6, 24],
        [2, 5, 2, 6, 40],
        [3, 3, 2, 6, 80],
        [3, 5, 1, 6, 112],
        [4, 5, 2, 6, 192],
        [1, 3, 1, 6, 320],
    ];
    let (mut builder, input) = Builder::new("efficientnet-lite0", size, seed);
    let block = |channels, stride, groups| Block {
        channels,
        stride,
        groups,
    };
    let mut value = builder.conv_relu6(input, "stem", block([3, 32], 2, 1), 3);
    let mut channels = 32;
    for (stage, [blocks, kernel, first, expansion, width]) in STAGES.into_iter().enumerate() {
        for index in 0..blocks {
            let name = format!("stage{}.{index}", stage + 1);
            let (source, inner) = (value, channels * expansion);
            let stride = if index == 0 { first } else { 1 };
            if expansion > 1 {
                value = builder.conv_relu6(value, &format!("{name}.expand"), block([channels, inner], 1, 1), 1);
            }
            let depthwise = block([inner, inner], stride, inner);
            value = builder.conv_relu6(value, &format!("{name}.depthwise"), depthwise, kernel);
            value = builder.conv_bn(value, &format!("{name}.project"), block([inner, width], 1, 1), 1);
            if channels == width && stride == 1 {
                value = builder.apply("Add", &[value, source], &format!("{name}.sum"));
            }
            channels = width;
        }
    }
    value = builder.conv_relu6(value, "features", block([channels, 1280], 1, 1), 1);
    builder.finish(value, 1280, classes)
}

#[derive(Clone, Copy)]
struct Block {
    channels: [usize; 2],
    stride: usize,
    groups: usize,
}

struct Builder {
    graph: Graph,
    random: fastrand::Rng,
}

impl Builder {
    /// A graph with its input.
    fn new(name: &str, size: usize, seed: u64) -> (Self, ValueId) {
        let mut builder = Self {
            graph: Graph::default(),
            random: fastrand::Rng::with_seed(seed),
        };
        builder.graph.name = name.to_owned();
        let image = [3, size, size].map(Dim::Fixed);
        let input = builder.graph.add_value(Value {
            dtype: Some(DType::F32),
            shape: Some(std::iter::once(Dim::Symbol("batch".into())).chain(image).collect()),
            ..Value::named("input")
        });
        builder.graph.inputs.push(input);
        (builder, input)
    }

    /// The model with its classifier.
    fn finish(mut self, value: ValueId, channels: usize, classes: usize) -> Model {
        let logits = self.head(value, channels, classes);
        self.graph.outputs.push(logits);
        Model {
            graph: self.graph,
            ir_version: 8,
            opsets: vec![(String::new(), 17)],
            producer_name: "repserve-synth".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            ..Model::default()
        }
    }

    fn max_pool(&mut self, source: ValueId, name: &str) -> ValueId {
        let out = self.graph.add_value(Value::named(name));
        let ints = |values: &[i64]| AttributeValue::Ints(values.to_vec());
        let node = Node::new("MaxPool", vec![source], vec![out])
            .with("kernel_shape", ints(&[3, 3]))
            .with("strides", ints(&[2, 2]))
            .with("pads", ints(&[1; 4]));
        self.graph.push_node(node);
        out
    }

    fn block(&mut self, source: ValueId, name: &str, block: Block) -> ValueId {
        let mut sum = self.conv_bn(source, &format!("{name}.dense"), block, 3);
        let point = self.conv_bn(source, &format!("{name}.point"), block, 1);
        sum = self.apply("Add", &[sum, point], &format!("{name}.sum"));
        if block.channels[0] == block.channels[1] && block.stride == 1 {
            let identity = self.batch_norm(source, &format!("{name}.identity"), block.channels[1]);
            sum = self.apply("Add", &[sum, identity], &format!("{name}.sum_identity"));
        }
        self.apply("Relu", &[sum], &format!("{name}.relu"))
    }

    fn conv_relu6(&mut self, source: ValueId, name: &str, block: Block, kernel: usize) -> ValueId {
        let [low, high] = [("low", 0.0), ("high", 6.0)].map(|(part, limit)| {
            let limit = Tensor::from_f32(&[], &[limit]);
            self.graph.add_constant(format!("{name}.{part}"), limit)
        });
        let sum = self.conv_bn(source, name, block, kernel);
        self.apply("Clip", &[sum, low, high], &format!("{name}.relu6"))
    }

    fn conv_bn(&mut self, source: ValueId, name: &str, block: Block, kernel: usize) -> ValueId {
        let [channels_in, channels_out] = block.channels;
        let fan_in = channels_in / block.groups * kernel * kernel;
        // Two to three branches are summed; half of He's variance each keeps activations near unit scale in depth.
        let weight = self.normal(
            &[channels_out, channels_in / block.groups, kernel, kernel],
            (1.0 / fan_in as f32).sqrt(),
        );
        let weight = self.graph.add_constant(format!("{name}.weight"), weight);
        let out = self.graph.add_value(Value::named(format!("{name}.conv")));
        let (k, s, p) = (kernel as i64, block.stride as i64, kernel as i64 / 2);
        let node = Node::new("Conv", vec![source, weight], vec![out])
            .with("kernel_shape", AttributeValue::Ints(vec![k, k]))
            .with("strides", AttributeValue::Ints(vec![s, s]))
            .with("pads", AttributeValue::Ints(vec![p; 4]))
            .with("group", AttributeValue::Int(block.groups as i64));
        self.graph.push_node(node);
        self.batch_norm(out, name, channels_out)
    }

    fn batch_norm(&mut self, source: ValueId, name: &str, channels: usize) -> ValueId {
        let [scale, bias, mean, variance] = [
            ("scale", 0.8, 0.2),
            ("bias", 0.0, 0.1),
            ("mean", 0.0, 0.1),
            ("variance", 1.0, 0.25),
        ]
        .map(|(part, centre, spread)| {
            let values: Vec<f32> = (0..channels)
                .map(|_| centre + spread * (2.0 * self.random.f32() - 1.0))
                .collect();
            self.graph
                .add_constant(format!("{name}.bn.{part}"), Tensor::from_f32(&[channels], &values))
        });
        let out = self.graph.add_value(Value::named(format!("{name}.bn")));
        let node = Node::new(
            "BatchNormalization",
            vec![source, scale, bias, mean, variance],
            vec![out],
        )
        .with("epsilon", AttributeValue::Float(1e-5));
        self.graph.push_node(node);
        out
    }

    fn head(&mut self, source: ValueId, channels: usize, classes: usize) -> ValueId {
        let pooled = self.apply("GlobalAveragePool", &[source], "pool");
        let flat = self.apply("Flatten", &[pooled], "flat");
        let weight = self.normal(&[classes, channels], (1.0 / channels as f32).sqrt());
        let weight = self.graph.add_constant("head.weight", weight);
        let bias = self
            .graph
            .add_constant("head.bias", Tensor::from_f32(&[classes], &vec![0.0; classes]));
        let shape = Some(vec![Dim::Symbol("batch".into()), Dim::Fixed(classes)]);
        let logits = self.graph.add_value(Value {
            dtype: Some(DType::F32),
            shape,
            ..Value::named("logits")
        });
        self.graph.push_node(
            Node::new("Gemm", vec![flat, weight, bias], vec![logits]).with("transB", AttributeValue::Int(1)),
        );
        logits
    }

    fn apply(&mut self, op: &str, inputs: &[ValueId], name: &str) -> ValueId {
        let out = self.graph.add_value(Value::named(name));
        self.graph.push_node(Node::new(op, inputs.to_vec(), vec![out]));
        out
    }

    /// Roughly normal: the sum of four uniforms, scaled to standard deviation `deviation`.
    fn normal(&mut self, shape: &[usize], deviation: f32) -> Tensor {
        let scale = deviation * 3f32.sqrt();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| scale * ((0..4).map(|_| self.random.f32()).sum::<f32>() - 2.0))
            .collect();
        Tensor::from_f32(shape, &values)
    }
}
