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
    /// Weights and activations through `QuantizeLinear` and `DequantizeLinear`, weights in int8 by channel.
    QuantizePairs,
    /// Weights in f32, activations quantized between blocks, as quantization-aware training leaves them.
    QuantizedBetween,
    /// `QLinearConv`, activations in uint8 and weights in int8.
    IntegerOperators,
    /// Layers in 16-bit floats between two casts.
    Half,
    /// Weights stored in 16-bit floats, each with a cast to f32.
    HalfWeights,
    /// A branch whose `Reshape` fixes the batch.
    Reshaped,
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
        let logits = net.head(features, self.end.classes());
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
            Dialect::QuantizePairs | Dialect::QuantizedBetween => x = self.rounded(x),
            _ => (),
        }
        let mut before = classifier.layout.channels();
        for channels in CHANNELS {
            x = match dialect {
                Dialect::IntegerOperators => self.integer_block(x, [before, channels]),
                _ => self.block(x, [before, channels], dialect),
            };
            before = channels;
        }
        match dialect {
            Dialect::ChannelsLast => self.turn(x, [0, 3, 1, 2]),
            Dialect::Half => self.cast(x, DType::F32),
            _ => x,
        }
    }

    /// Two branches, of 3x3 and of 1x1, and a rectifier.
    fn block(&mut self, x: ValueId, channels: [usize; 2], dialect: Dialect) -> ValueId {
        let wide = self.branch(x, channels, 3, dialect);
        let mut narrow = self.branch(x, channels, 1, dialect);
        if dialect == Dialect::Reshaped {
            let shape = [BATCH_INSIDE, channels[1], SIDE, SIDE].map(|extent| extent as i64);
            let shape = self.longs(&shape);
            narrow = self.op("Reshape", &[narrow, shape]);
        }
        let sum = self.op("Add", &[wide, narrow]);
        let sum = self.op("Relu", &[sum]);
        match dialect {
            Dialect::QuantizePairs | Dialect::QuantizedBetween => self.rounded(sum),
            _ => sum,
        }
    }

    fn branch(&mut self, x: ValueId, channels: [usize; 2], kernel: usize, dialect: Dialect) -> ValueId {
        if dialect == Dialect::ChannelsLast {
            let x = self.turn(x, [0, 3, 1, 2]);
            let y = self.conv(x, channels, kernel, dialect);
            let y = self.turn(y, [0, 2, 3, 1]);
            let shifts = self.draws(channels[1], 0.0, 0.2);
            let shifts = self.floats(&[channels[1]], &shifts);
            return self.op("Add", &[y, shifts]);
        }
        let y = self.conv(x, channels, kernel, dialect);
        match dialect {
            Dialect::Branches | Dialect::QuantizedBetween | Dialect::Reshaped => self.normalization(y, channels[1]),
            _ => y,
        }
    }

    fn conv(&mut self, x: ValueId, [from, to]: [usize; 2], kernel: usize, dialect: Dialect) -> ValueId {
        let shape = [to, from, kernel, kernel];
        let width = (3.0 / (from * kernel * kernel) as f32).sqrt();
        let weights = self.draws(shape.iter().product(), 0.0, width);
        let bias = self.draws(to, 0.0, 0.2);
        let half = |net: &mut Self, shape: &[usize], values: &[f32]| {
            let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
            net.graph
                .add_constant("constant", Tensor::from_f64(DType::F16, shape, &values))
        };
        let (weights, bias) = match dialect {
            Dialect::Half => (half(self, &shape, &weights), half(self, &[to], &bias)),
            Dialect::HalfWeights => {
                let weights = half(self, &shape, &weights);
                (self.cast(weights, DType::F32), self.floats(&[to], &bias))
            }
            Dialect::QuantizePairs => (self.int8_weights(shape, &weights), self.floats(&[to], &bias)),
            _ => (self.floats(&shape, &weights), self.floats(&[to], &bias)),
        };
        let node = Node::new("Conv", vec![x, weights, bias], Vec::new());
        self.push(node.with("pads", AttributeValue::Ints(vec![kernel as i64 / 2; 4])))
    }

    fn normalization(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut inputs = vec![x];
        for (middle, width) in [(1.0, 0.5), (0.0, 0.2), (0.0, 0.2), (1.0, 0.5)] {
            let values = self.draws(channels, middle, width);
            inputs.push(self.floats(&[channels], &values));
        }
        self.push(Node::new("BatchNormalization", inputs, Vec::new()))
    }

    /// Rounded to a grid of 256 steps.
    fn rounded(&mut self, x: ValueId) -> ValueId {
        let scale = self.floats(&[], &[0.04]);
        let zero = self.bytes(DType::U8, &[], vec![100]);
        let y = self.op("QuantizeLinear", &[x, scale, zero]);
        self.op("DequantizeLinear", &[y, scale, zero])
    }

    /// Weights in int8 with a scale a channel, and what makes floats of them.
    fn int8_weights(&mut self, shape: [usize; 4], weights: &[f32]) -> ValueId {
        let (codes, scales) = int8(&shape, weights);
        let codes = self.bytes(DType::I8, &shape, codes);
        let zeros = self.bytes(DType::I8, &shape[..1], vec![0; shape[0]]);
        let scales = self.floats(&shape[..1], &scales);
        let node = Node::new("DequantizeLinear", vec![codes, scales, zeros], Vec::new());
        self.push(node.with("axis", AttributeValue::Int(0)))
    }

    /// A convolution of 3x3 and one of 1x1 on integers.
    fn integer_block(&mut self, x: ValueId, [from, to]: [usize; 2]) -> ValueId {
        let scale = self.floats(&[], &[0.04]);
        let zero = self.bytes(DType::U8, &[], vec![100]);
        let mut x = self.op("QuantizeLinear", &[x, scale, zero]);
        for [from, kernel] in [[from, 3], [to, 1]] {
            let shape = [to, from, kernel, kernel];
            let width = (3.0 / (from * kernel * kernel) as f32).sqrt();
            let weights = self.draws(shape.iter().product(), 0.0, width);
            let (codes, scales) = int8(&shape, &weights);
            let codes = self.bytes(DType::I8, &shape, codes);
            let scales = self.floats(&[to], &scales);
            let zeros = self.bytes(DType::I8, &[to], vec![0; to]);
            let inputs = vec![x, scale, zero, codes, scales, zeros, scale, zero];
            let node = Node::new("QLinearConv", inputs, Vec::new());
            x = self.push(node.with("pads", AttributeValue::Ints(vec![kernel as i64 / 2; 4])));
        }
        self.op("DequantizeLinear", &[x, scale, zero])
    }

    fn head(&mut self, x: ValueId, classes: usize) -> ValueId {
        let pooled = self.op("GlobalAveragePool", &[x]);
        let flat = self.op("Flatten", &[pooled]);
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

/// Weights as int8 codes and a scale a channel.
fn int8(shape: &[usize; 4], weights: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let length: usize = shape[1..].iter().product();
    let mut codes = Vec::new();
    let mut scales = Vec::new();
    for row in weights.chunks(length) {
        let scale = row.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        codes.extend(row.iter().map(|x| (x / scale).round() as i8 as u8));
        scales.push(scale);
    }
    (codes, scales)
}
