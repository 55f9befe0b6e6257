//! Lowered sessions against the same sessions without lowering, in ONNX Runtime.

use bytes::Bytes;

use super::{LoweredModel, lower};
use crate::locate::Runtime;
use crate::operators::Layers;
use crate::session::{ModelSession, SessionOptions};
use crate::session_model::SessionModel;
use crate::settings::KernelMode;
use repserve_graph::{AttributeValue, DType, Dim, Model, Node, Tensor, Value, ValueId};

/// Builds a model node by node; weights are what a seed makes them.
struct Builder {
    model: Model,
    random: fastrand::Rng,
}

impl Builder {
    fn new(channels: usize) -> (Self, ValueId) {
        let random = fastrand::Rng::with_seed(1);
        let mut model = Model {
            ir_version: 8,
            opsets: vec![(String::new(), 17)],
            ..Model::default()
        };
        let free = |name: &str| Dim::Symbol(name.to_owned());
        let shape = vec![free("n"), Dim::Fixed(channels), free("h"), free("w")];
        let input = Value {
            dtype: Some(DType::F32),
            shape: Some(shape),
            ..Value::named("input")
        };
        let input = model.graph.add_value(input);
        model.graph.inputs.push(input);
        (Self { model, random }, input)
    }

    fn numbers(&mut self, shape: &[usize]) -> ValueId {
        let count: usize = shape.iter().product();
        let scale = (2.0 / (count / shape[0]) as f32).sqrt();
        let values: Vec<f32> = (0..count).map(|_| (self.random.f32() * 2.0 - 1.0) * scale).collect();
        self.model.graph.add_constant("w", Tensor::from_f32(shape, &values))
    }

    fn node(&mut self, op: &str, inputs: Vec<ValueId>, with: &[(&str, AttributeValue)]) -> ValueId {
        let output = self.model.graph.add_value(Value::named(op));
        let node = with
            .iter()
            .fold(Node::new(op, inputs, vec![output]), |n, (k, v)| n.with(*k, v.clone()));
        self.model.graph.push_node(node);
        output
    }

    /// `shape`: output channels, channels a group, kernel side.
    fn conv(&mut self, input: ValueId, shape: [usize; 3], stride: i64, groups: i64) -> ValueId {
        let [out, depth, side] = shape;
        let (weights, bias) = (self.numbers(&[out, depth, side, side]), self.numbers(&[out]));
        let ints = |v: i64, n: usize| AttributeValue::Ints(vec![v; n]);
        let with = [
            ("pads", ints(side as i64 / 2, 4)),
            ("strides", ints(stride, 2)),
            ("group", AttributeValue::Int(groups)),
        ];
        self.node("Conv", vec![input, weights, bias], &with)
    }

    fn relu(&mut self, input: ValueId) -> ValueId {
        self.node("Relu", vec![input], &[])
    }

    fn finish(mut self, output: ValueId, shape: &[usize]) -> Model {
        let dims = std::iter::once(Dim::Symbol("n".into())).chain(shape.iter().map(|d| Dim::Fixed(*d)));
        let (dtype, shape) = (Some(DType::F32), Some(dims.collect()));
        let value = self.model.graph.value_mut(output);
        (value.dtype, value.shape) = (dtype, shape);
        self.model.graph.outputs.push(output);
        self.model
    }
}

/// A stem, a strided layer, grouped and odd-sized ones, a residual block with a projection, the mean, a classifier.
fn network() -> Model {
    let (mut b, input) = Builder::new(3);
    let stem = b.conv(input, [24, 3, 3], 2, 1);
    let stem = b.relu(stem);
    let wide = b.conv(stem, [64, 24, 3], 1, 1);
    let wide = b.relu(wide);
    let grouped = b.conv(wide, [64, 32, 3], 1, 2);
    let grouped = b.relu(grouped);
    let inner = b.conv(grouped, [44, 64, 3], 2, 1);
    let inner = b.relu(inner);
    let inner = b.conv(inner, [48, 44, 3], 1, 1);
    let projection = b.conv(grouped, [48, 64, 1], 2, 1);
    let sum = b.node("Add", vec![inner, projection], &[]);
    let sum = b.relu(sum);
    let last = b.conv(sum, [20, 48, 3], 1, 1);
    let mean = b.node("GlobalAveragePool", vec![last], &[]);
    let flat = b.node("Flatten", vec![mean], &[]);
    let (weights, bias) = (b.numbers(&[20, 10]), b.numbers(&[10]));
    let logits = b.node("Gemm", vec![flat, weights, bias], &[]);
    b.finish(logits, &[10])
}

fn images(count: usize, shape: [usize; 3]) -> Vec<Vec<f32>> {
    let image = |n: usize| {
        (0..shape.iter().product::<usize>())
            .map(|i| ((i * 37 + n * 101) % 256) as f32 / 128.0 - 1.0)
            .collect()
    };
    (0..count).map(image).collect()
}

fn lowered(model: &Model, mode: KernelMode, shape: [usize; 3]) -> LoweredModel {
    let runtime = Runtime::load(None).unwrap();
    lower(
        &runtime,
        model,
        &SessionModel::new(model, encoded(model)),
        mode,
        shape,
        None,
    )
    .unwrap()
}

fn encoded(model: &Model) -> Bytes {
    repserve_graph::onnx::write(model.clone()).unwrap().into()
}

/// Checks that lowering keeps the outputs, for a batch of three on one and two threads; returns how many layers it lowered.
fn check(model: &Model, mode: KernelMode, shape: [usize; 3]) -> usize {
    let runtime = Runtime::load(None).unwrap();
    let lowered = lowered(model, mode, shape);
    let plain = encoded(model);
    let batch = images(3, shape);
    for threads in [1, 2] {
        let run = |model: &[u8], layers: Layers| {
            let options = SessionOptions {
                threads,
                layers,
                ..SessionOptions::default()
            };
            ModelSession::from_memory(&runtime, model, &options)
                .unwrap()
                .run(&batch, shape)
                .unwrap()
                .concat()
        };
        let (expected, found) = (
            run(&plain, Layers::default()),
            run(&lowered.model.onnx, lowered.model.layers.clone()),
        );
        assert_eq!(expected.len(), found.len());
        let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (e, f) in expected.iter().zip(&found) {
            assert!(
                (e - f).abs() <= 1e-5 * scale,
                "{threads} threads: {e} became {f}, scale {scale}"
            );
        }
    }
    lowered.report.lowered
}

#[test]
fn a_lowered_network_computes_what_the_plain_one_does() {
    assert_eq!(check(&network(), KernelMode::On, [3, 64, 64]), 7);
    assert_eq!(check(&network(), KernelMode::On, [3, 45, 37]), 7);
}

#[test]
fn a_sum_a_clip_at_zero_and_a_reduction_are_lowered_as_an_addition_a_relu_and_a_global_pool() {
    let (mut b, input) = Builder::new(16);
    let left = b.conv(input, [32, 16, 3], 1, 1);
    let right = b.conv(input, [32, 16, 1], 1, 1);
    let sum = b.node("Sum", vec![left, right], &[]);
    let zero = b.model.graph.add_constant("zero", Tensor::from_f32(&[], &[0.0]));
    let clip = b.node("Clip", vec![sum, zero], &[]);
    let axes = AttributeValue::Ints(vec![2, -1]);
    let mean = b.node("ReduceMean", vec![clip], &[("axes", axes)]);
    let flat = b.node("Flatten", vec![mean], &[]);
    let model = b.finish(flat, &[32]);
    let shape = [16, 12, 9];
    assert_eq!(check(&model, KernelMode::On, shape), 2);
    let onnx = lowered(&model, KernelMode::On, shape).model.onnx;
    let written = repserve_graph::onnx::read(onnx, &repserve_graph::onnx::ExternalData::None).unwrap();
    let operators: Vec<String> = written.graph.op_counts().into_keys().collect();
    let expected = ["BlockedConv", "BlockedConvAdd", "MeanOfBlocked", "ToBlocked"].map(|op| format!("repserve::{op}"));
    assert_eq!(operators, [&["Flatten".to_owned()], &expected[..]].concat());
}

#[test]
fn measuring_chooses_something_that_computes_the_same() {
    check(&network(), KernelMode::Auto, [3, 64, 64]);
}

#[test]
fn switched_off_it_leaves_the_model_alone() {
    let lowered = lowered(&network(), KernelMode::Off, [3, 64, 64]);
    assert!(lowered.model.layers.is_empty());
    assert_eq!(lowered.report.reason.as_deref(), Some("switched off"));
    assert_eq!(lowered.model.onnx, encoded(&network()));
}

#[test]
fn a_value_in_the_middle_of_a_chain_stays_readable() {
    let (mut b, input) = Builder::new(16);
    let first = b.conv(input, [32, 16, 3], 1, 1);
    let first = b.relu(first);
    let second = b.conv(first, [32, 32, 3], 1, 1);
    let left = b.node("Sigmoid", vec![first], &[]);
    let product = b.node("Mul", vec![left, second], &[]);
    let mean = b.node("GlobalAveragePool", vec![product], &[]);
    let flat = b.node("Flatten", vec![mean], &[]);
    let model = b.finish(flat, &[32]);
    assert_eq!(check(&model, KernelMode::On, [16, 12, 9]), 2);
}

#[test]
fn an_output_of_the_graph_in_the_middle_of_a_chain_is_converted() {
    let (mut b, input) = Builder::new(16);
    let first = b.conv(input, [32, 16, 3], 1, 1);
    let second = b.conv(first, [16, 32, 3], 1, 1);
    b.node("GlobalAveragePool", vec![second], &[]);
    let model = b.finish(first, &[32, 12, 9]);
    assert_eq!(check(&model, KernelMode::On, [16, 12, 9]), 2);
}

#[test]
fn a_summand_that_is_broadcast_is_left_to_the_graph() {
    let (mut b, input) = Builder::new(16);
    let conv = b.conv(input, [32, 16, 3], 1, 1);
    let mean = b.node("GlobalAveragePool", vec![conv], &[]);
    let other = b.conv(input, [32, 16, 3], 1, 1);
    let sum = b.node("Add", vec![other, mean], &[]);
    let last = b.conv(sum, [8, 32, 3], 1, 1);
    let model = b.finish(last, &[8, 12, 9]);
    assert_eq!(check(&model, KernelMode::On, [16, 12, 9]), 3);
    check(&model, KernelMode::Auto, [16, 12, 9]);
}

#[test]
fn a_batch_that_the_graph_fixes_is_kept() {
    let mut model = network();
    for value in [model.graph.inputs[0], model.graph.outputs[0]] {
        if let Some(batch) = model.graph.value_mut(value).shape.as_mut().and_then(|s| s.first_mut()) {
            *batch = Dim::Fixed(2);
        }
    }
    assert_eq!(check(&model, KernelMode::On, [3, 45, 37]), 7);
    check(&model, KernelMode::Auto, [3, 45, 37]);
}

#[test]
fn a_size_that_the_graph_refuses_leaves_the_model_as_it_is() {
    let lowered = lowered(&network(), KernelMode::Auto, [4, 64, 64]);
    assert!(lowered.model.layers.is_empty());
    assert!(lowered.report.reason.unwrap().starts_with("it could not be measured"));
    assert_eq!(lowered.model.onnx, encoded(&network()));
}

#[test]
fn what_the_kernels_cannot_do_stays() {
    let (mut b, input) = Builder::new(16);
    let depthwise = b.conv(input, [16, 1, 3], 1, 16);
    let big = b.conv(depthwise, [16, 16, 9], 1, 1);
    let twice = b.node("Add", vec![big, big], &[]);
    let mean = b.node("GlobalAveragePool", vec![twice], &[]);
    let flat = b.node("Flatten", vec![mean], &[]);
    let model = b.finish(flat, &[16]);
    let lowered = lowered(&model, KernelMode::Auto, [16, 12, 9]);
    assert!(lowered.report.layers.is_empty() && lowered.model.layers.is_empty());
    assert!(lowered.report.reason.is_some());
}
