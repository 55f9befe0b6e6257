//! Small classifiers as exporters write them: one function in several dialects, input layouts, element types and ends.

use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};

/// Side of the images, in pixels.
pub const SIDE: usize = 12;
/// Classes of every end but [`End::OneLogit`].
pub const CLASSES: usize = 6;
/// Images of [`Layout::Batch`].
pub const BATCH: usize = 3;
/// The batch that [`Dialect::Reshaped`] fixes inside.
pub const BATCH_INSIDE: usize = 2;
/// What graphs of bytes subtract and divide by.
const LEVELS: [f32; 2] = [120.0, 60.0];

const MICROSOFT: &str = "com.microsoft";
const CHANNELS: [usize; 2] = [8, 12];

/// How the layers between input and head are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Branches of convolution and batch normalization, added.
    Branches,
    /// The same with the normalizations folded away.
    Folded,
    /// Channels last, with a pair of transpositions around each convolution.
    ChannelsLast,
    /// Weights and activations through `QuantizeLinear` and `DequantizeLinear`.
    QuantizePairs(Quantization),
    /// Weights in f32, activations quantized between blocks, as quantization-aware training leaves them.
    QuantizedBetween,
    /// `QLinearConv`.
    IntegerOperators(Quantization),
    /// Layers in 16-bit floats between two casts.
    Half,
    /// Weights stored in 16-bit floats, each with a cast to f32.
    HalfWeights,
    /// A branch whose `Reshape` fixes the batch.
    Reshaped,
}

/// How weights and activations are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// Type of activations: bytes or signed ones.
    pub activations: DType,
    /// Type of weights: bytes or signed ones.
    pub weights: DType,
    /// Whether weights have a scale a channel.
    pub by_channel: bool,
    /// Whether two convolutions read the same weights.
    pub shared: bool,
}

impl Quantization {
    /// As most quantizers do it.
    pub const USUAL: Self = Self {
        activations: DType::U8,
        weights: DType::I8,
        by_channel: true,
        shared: false,
    };
}

/// The axes of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Any batch, channels, height, width.
    First,
    /// Any batch, height, width, channels.
    Last,
    /// Channels, height, width.
    ImageFirst,
    /// Height, width, channels.
    ImageLast,
    /// A batch of [`BATCH`], channels, height, width.
    Batch,
    /// Any batch, channels, any height and width.
    Free,
    /// One channel in front of height and width.
    Gray,
    /// One channel behind height and width.
    GrayLast,
}

/// What the head's values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Logits,
    Softmax,
    /// Exponentials over their sum.
    Quotient,
    LogSoftmax,
    Sigmoid,
    OneLogit,
    /// A softmax of shape N×C×1×1.
    Map,
    /// Logits of one image, without an axis for the batch.
    Row,
}

/// A classifier to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classifier {
    pub dialect: Dialect,
    pub layout: Layout,
    pub element: DType,
    pub end: End,
}

impl Layout {
    pub fn channels(self) -> usize {
        if matches!(self, Self::Gray | Self::GrayLast) {
            1
        } else {
            3
        }
    }

    fn is_image(self) -> bool {
        matches!(self, Self::ImageFirst | Self::ImageLast)
    }

    fn is_last(self) -> bool {
        matches!(self, Self::Last | Self::ImageLast | Self::GrayLast)
    }
}

impl End {
    pub fn classes(self) -> usize {
        if self == Self::OneLogit { 1 } else { CLASSES }
    }
}

impl Classifier {
    /// Whether a graph can have all of these: one that fixes its batch inside takes no other.
    pub fn exists(&self) -> bool {
        let one = self.layout.is_image() || self.end == End::Row;
        !(one && (self.dialect == Dialect::Reshaped || self.layout == Layout::Batch))
            && !(self.dialect == Dialect::Reshaped && self.layout == Layout::Batch)
    }

    /// The model.
    pub fn model(&self) -> Model {
        let mut net = Net {
            graph: Graph::default(),
            random: 7,
        };
        let image = net.input(self);
        let features = net.body(self, image);
        let logits = net.head(features, self);
        let output = net.end(logits, self);
        net.graph.value_mut(output).dtype = Some(self.floats());
        net.graph.outputs.push(output);
        Model {
            graph: net.graph,
            ir_version: 8,
            opsets: vec![(String::new(), 17), (MICROSOFT.to_owned(), 1)],
            producer_name: "tests".to_owned(),
            ..Model::default()
        }
    }

    /// The type of the output.
    fn floats(&self) -> DType {
        if self.element == DType::U8 {
            DType::F32
        } else {
            self.element
        }
    }
}

/// A network under construction.
struct Net {
    graph: Graph,
    random: u64,
}

impl Net {
    /// Between -1 and 1.
    fn draw(&mut self) -> f32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn draws(&mut self, count: usize, middle: f32, width: f32) -> Vec<f32> {
        (0..count).map(|_| middle + width * self.draw()).collect()
    }

    fn floats(&mut self, shape: &[usize], values: &[f32]) -> ValueId {
        self.graph.add_constant("constant", Tensor::from_f32(shape, values))
    }

    fn longs(&mut self, values: &[i64]) -> ValueId {
        self.graph
            .add_constant("constant", Tensor::from_i64(&[values.len()], values))
    }

    fn bytes(&mut self, dtype: DType, shape: &[usize], values: Vec<u8>) -> ValueId {
        let tensor = Tensor::new(dtype, shape.to_vec(), values.into()).unwrap();
        self.graph.add_constant("constant", tensor)
    }

    fn push(&mut self, mut node: Node) -> ValueId {
        let output = self.graph.add_value(Value::named(node.op.to_lowercase()));
        node.outputs = vec![Some(output)];
        self.graph.push_node(node);
        output
    }

    fn op(&mut self, op: &str, inputs: &[ValueId]) -> ValueId {
        self.push(Node::new(op, inputs.to_vec(), Vec::new()))
    }

    fn cast(&mut self, x: ValueId, to: DType) -> ValueId {
        let node = Node::new("Cast", vec![x], Vec::new()).with("to", AttributeValue::Int(i64::from(to.code())));
        let output = self.push(node);
        self.graph.value_mut(output).dtype = Some(to);
        output
    }

    fn turn(&mut self, x: ValueId, order: [i64; 4]) -> ValueId {
        let order = AttributeValue::Ints(order.to_vec());
        self.push(Node::new("Transpose", vec![x], Vec::new()).with("perm", order))
    }

    /// The graph's input, and it as normalized f32 of batch, channels, height and width.
    fn input(&mut self, classifier: &Classifier) -> ValueId {
        let layout = classifier.layout;
        let batch = match layout {
            _ if classifier.end == End::Row => Dim::Fixed(1),
            Layout::Batch => Dim::Fixed(BATCH),
            _ => Dim::Symbol("batch".to_owned()),
        };
        let side = |name: &str| match layout {
            Layout::Free => Dim::Symbol(name.to_owned()),
            _ => Dim::Fixed(SIDE),
        };
        let mut shape = vec![side("height"), side("width")];
        shape.insert(if layout.is_last() { 2 } else { 0 }, Dim::Fixed(layout.channels()));
        if !layout.is_image() {
            shape.insert(0, batch);
        }
        let mut x = self.graph.add_value(Value {
            dtype: Some(classifier.element),
            shape: Some(shape),
            ..Value::named("image")
        });
        self.graph.inputs.push(x);
        if layout.is_image() {
            let axes = self.longs(&[0]);
            x = self.op("Unsqueeze", &[x, axes]);
        }
        if layout.is_last() {
            x = self.turn(x, [0, 3, 1, 2]);
        }
        if classifier.element != DType::F32 {
            x = self.cast(x, DType::F32);
        }
        if classifier.element == DType::U8 {
            let [mean, std] = LEVELS.map(|level| self.floats(&[1], &[level]));
            x = self.op("Sub", &[x, mean]);
            x = self.op("Div", &[x, std]);
        }
        x
    }

    /// Two blocks, from an image to features.
    fn body(&mut self, classifier: &Classifier, image: ValueId) -> ValueId {
        let dialect = classifier.dialect;
        let mut x = image;
        match dialect {
            Dialect::ChannelsLast => x = self.turn(x, [0, 2, 3, 1]),
            Dialect::Half => x = self.cast(x, DType::F16),
            _ => x = self.rounded_by(x, dialect),
        }
        let mut before = classifier.layout.channels();
        for channels in CHANNELS {
            x = match dialect {
                Dialect::IntegerOperators(quantization) => self.integer_block(x, [before, channels], quantization),
                _ => self.block(x, [before, channels], dialect),
            };
            before = channels;
        }
        match dialect {
            Dialect::Half => self.cast(x, DType::F32),
            _ => x,
        }
    }

    /// Two branches, of 3x3 and of 1x1, and a rectifier.
    fn block(&mut self, x: ValueId, [from, to]: [usize; 2], dialect: Dialect) -> ValueId {
        let weights = self.weights([to, from, 3, 3], dialect);
        let wide = self.branch(x, weights, [to, 3], dialect);
        let shares = matches!(dialect, Dialect::QuantizePairs(Quantization { shared: true, .. }));
        let mut narrow = if shares {
            self.branch(x, weights, [to, 3], dialect)
        } else {
            let weights = self.weights([to, from, 1, 1], dialect);
            self.branch(x, weights, [to, 1], dialect)
        };
        if dialect == Dialect::Reshaped {
            let shape = self.longs(&[BATCH_INSIDE, to, SIDE, SIDE].map(|extent| extent as i64));
            narrow = self.op("Reshape", &[narrow, shape]);
        }
        let sum = self.op("Add", &[wide, narrow]);
        let sum = self.op("Relu", &[sum]);
        self.rounded_by(sum, dialect)
    }

    /// A convolution of so many channels and this kernel, and what follows it in its branch.
    fn branch(&mut self, x: ValueId, weights: ValueId, [to, kernel]: [usize; 2], dialect: Dialect) -> ValueId {
        let last = dialect == Dialect::ChannelsLast;
        let x = if last { self.turn(x, [0, 3, 1, 2]) } else { x };
        let bias = self.draws(to, 0.0, 0.2);
        let bias = match dialect {
            Dialect::Half => self.halves(&[to], &bias),
            _ => self.floats(&[to], &bias),
        };
        let inputs = if last { vec![x, weights] } else { vec![x, weights, bias] };
        let node = Node::new("Conv", inputs, Vec::new());
        let y = self.push(node.with("pads", AttributeValue::Ints(vec![kernel as i64 / 2; 4])));
        match dialect {
            Dialect::ChannelsLast => {
                let y = self.turn(y, [0, 2, 3, 1]);
                self.op("Add", &[y, bias])
            }
            Dialect::Branches | Dialect::QuantizedBetween | Dialect::Reshaped => self.normalization(y, to),
            _ => y,
        }
    }

    /// Weights of this shape as a convolution reads them.
    fn weights(&mut self, shape: [usize; 4], dialect: Dialect) -> ValueId {
        let values = self.weight_values(shape);
        match dialect {
            Dialect::Half => self.halves(&shape, &values),
            Dialect::HalfWeights => {
                let weights = self.halves(&shape, &values);
                self.cast(weights, DType::F32)
            }
            Dialect::QuantizePairs(quantization) => {
                let inputs = self.integers(shape, &values, quantization);
                let node = Node::new("DequantizeLinear", inputs.to_vec(), Vec::new());
                self.push(node.with("axis", AttributeValue::Int(0)))
            }
            _ => self.floats(&shape, &values),
        }
    }

    /// As large as keeps activations about as large as they are.
    fn weight_values(&mut self, shape: [usize; 4]) -> Vec<f32> {
        let inputs: usize = shape[1..].iter().product();
        self.draws(shape.iter().product(), 0.0, (3.0 / inputs as f32).sqrt())
    }

    fn halves(&mut self, shape: &[usize], values: &[f32]) -> ValueId {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        let tensor = Tensor::from_f64(DType::F16, shape, &values);
        self.graph.add_constant("constant", tensor)
    }

    fn normalization(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut inputs = vec![x];
        for (middle, width) in [(1.0, 0.5), (0.0, 0.2), (0.0, 0.2), (1.0, 0.5)] {
            let values = self.draws(channels, middle, width);
            inputs.push(self.floats(&[channels], &values));
        }
        self.push(Node::new("BatchNormalization", inputs, Vec::new()))
    }

    /// The activations, rounded where the dialect rounds them.
    fn rounded_by(&mut self, x: ValueId, dialect: Dialect) -> ValueId {
        match dialect {
            Dialect::QuantizePairs(quantization) => self.rounded(x, quantization),
            Dialect::QuantizedBetween => self.rounded(x, Quantization::USUAL),
            _ => x,
        }
    }

    /// Rounded to a grid of 256 steps.
    fn rounded(&mut self, x: ValueId, quantization: Quantization) -> ValueId {
        let [scale, zero] = self.grid(quantization);
        let y = self.op("QuantizeLinear", &[x, scale, zero]);
        self.op("DequantizeLinear", &[y, scale, zero])
    }

    /// Scale and zero point of activations.
    fn grid(&mut self, quantization: Quantization) -> [ValueId; 2] {
        let scale = self.floats(&[], &[0.04]);
        let zero = if quantization.activations == DType::I8 {
            -28_i8 as u8
        } else {
            100
        };
        [scale, self.bytes(quantization.activations, &[], vec![zero])]
    }

    /// Weights as integers, their scales and zero points.
    fn integers(&mut self, shape: [usize; 4], weights: &[f32], quantization: Quantization) -> [ValueId; 3] {
        let Quantization {
            weights: dtype,
            by_channel,
            ..
        } = quantization;
        let length = if by_channel {
            shape[1..].iter().product()
        } else {
            weights.len()
        };
        let middle = if dtype == DType::U8 { 128.0 } else { 0.0 };
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for row in weights.chunks(length) {
            let scale = row.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
            codes.extend(row.iter().map(|x| ((x / scale).round() + middle) as i16 as u8));
            scales.push(scale);
        }
        let extents = &shape[..usize::from(by_channel)];
        let zeros = vec![middle as u8; scales.len()];
        [
            self.bytes(dtype, &shape, codes),
            self.floats(extents, &scales),
            self.bytes(dtype, extents, zeros),
        ]
    }

    /// A convolution of 3x3 and one of 1x1 on integers, which is done twice where weights are shared.
    fn integer_block(&mut self, x: ValueId, [from, to]: [usize; 2], quantization: Quantization) -> ValueId {
        let [scale, zero] = self.grid(quantization);
        let mut x = self.op("QuantizeLinear", &[x, scale, zero]);
        for [from, kernel] in [[from, 3], [to, 1]] {
            let shape = [to, from, kernel, kernel];
            let values = self.weight_values(shape);
            let weights = self.integers(shape, &values, quantization);
            for _ in 0..if quantization.shared && kernel == 1 { 2 } else { 1 } {
                let inputs = [&[x, scale, zero][..], &weights, &[scale, zero]].concat();
                let node = Node::new("QLinearConv", inputs, Vec::new());
                x = self.push(node.with("pads", AttributeValue::Ints(vec![kernel as i64 / 2; 4])));
            }
        }
        self.op("DequantizeLinear", &[x, scale, zero])
    }

    fn head(&mut self, x: ValueId, classifier: &Classifier) -> ValueId {
        let flat = if classifier.dialect == Dialect::ChannelsLast {
            let mean = Node::new("ReduceMean", vec![x], Vec::new()).with("axes", AttributeValue::Ints(vec![1, 2]));
            self.push(mean.with("keepdims", AttributeValue::Int(0)))
        } else {
            let pooled = self.op("GlobalAveragePool", &[x]);
            self.op("Flatten", &[pooled])
        };
        let classes = classifier.end.classes();
        let weights = self.draws(classes * CHANNELS[1], 0.0, 2.0);
        let weights = self.floats(&[classes, CHANNELS[1]], &weights);
        let node = Node::new("Gemm", vec![flat, weights], Vec::new());
        self.push(node.with("transB", AttributeValue::Int(1)))
    }

    fn end(&mut self, logits: ValueId, classifier: &Classifier) -> ValueId {
        let axis = |node: Node| node.with("axis", AttributeValue::Int(1));
        let one = |op: &str| Node::new(op, vec![logits], Vec::new());
        let y = match classifier.end {
            End::Logits | End::OneLogit => logits,
            End::Softmax => self.push(axis(one("Softmax"))),
            End::LogSoftmax => self.push(axis(one("LogSoftmax"))),
            End::Sigmoid => self.push(one("Sigmoid")),
            End::Quotient => {
                let above = self.push(one("Exp"));
                let axes = self.longs(&[1]);
                let below = self.op("ReduceSum", &[above, axes]);
                self.op("Div", &[above, below])
            }
            End::Map => {
                let softmax = self.push(axis(one("Softmax")));
                let shape = self.longs(&[0, 0, 1, 1]);
                self.op("Reshape", &[softmax, shape])
            }
            End::Row => {
                let axes = self.longs(&[0]);
                self.op("Squeeze", &[logits, axes])
            }
        };
        match classifier.floats() {
            DType::F32 => y,
            other => self.cast(y, other),
        }
    }
}
