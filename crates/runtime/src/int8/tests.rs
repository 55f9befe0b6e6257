//! Graphs built node by node: the server's operators against ONNX Runtime's.

use std::collections::BTreeMap;

use super::*;
use crate::locate::Runtime;
use crate::lowering::lower;
use crate::optimized::{Int8, OptimizedModel};
use crate::pool::Pool;
use crate::session::{ModelSession, SessionOptions};
use crate::session_model::SessionModel;
use crate::settings::{KernelMode, RuntimeSettings};
use repserve_graph::{Dim, Tensor, Value, ValueId};
use repserve_scheduler::Width;

const SIDE: usize = 9;

/// A network under construction: the value that the next node reads, and its scale and zero where it holds codes.
struct Net {
    graph: Graph,
    value: ValueId,
    scale: ValueId,
    zero: ValueId,
}

impl Net {
    /// The input, quantized; behind a convolution in f32 of so many channels where there are any.
    fn new(channels: usize) -> Self {
        let mut graph = Graph::default();
        let shape = vec![
            Dim::Symbol("batch".into()),
            Dim::Fixed(3),
            Dim::Fixed(SIDE),
            Dim::Fixed(SIDE),
        ];
        let value = graph.add_value(Value {
            dtype: Some(DType::F32),
            shape: Some(shape),
            ..Value::named("input")
        });
        graph.inputs.push(value);
        let mut net = Self {
            graph,
            value,
            scale: value,
            zero: value,
        };
        if channels > 0 {
            let weights: Vec<f32> = (0..channels * 27).map(|i| ((i * 37) % 65) as f32 / 1000.0).collect();
            let weight = net.floats("float_w".to_owned(), &[channels, 3, 3, 3], &weights);
            let conv = Node::new("Conv", vec![], vec![]).with("pads", AttributeValue::Ints(vec![1; 4]));
            net.append(conv, vec![net.value, weight], "float_conv");
        }
        net.quantize("input", 0.02, 7);
        net
    }

    fn constant(&mut self, name: String, dtype: DType, shape: &[usize], data: Vec<u8>) -> ValueId {
        let tensor = Tensor::new(dtype, shape.to_vec(), data.into()).unwrap();
        self.graph.add_constant(name, tensor)
    }

    fn floats(&mut self, name: String, shape: &[usize], values: &[f32]) -> ValueId {
        self.graph.add_constant(name, Tensor::from_f32(shape, values))
    }

    fn append(&mut self, node: Node, inputs: Vec<ValueId>, name: &str) {
        let out = self.graph.add_value(Value::named(name));
        let node = Node {
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: vec![Some(out)],
            ..node
        };
        self.graph.push_node(node);
        self.value = out;
    }

    fn op(&mut self, op: &str, name: &str) {
        self.append(Node::new(op, vec![], vec![]), vec![self.value], name);
    }

    fn quantize(&mut self, name: &str, scale: f32, zero: u8) {
        self.scale = self.floats(format!("{name}_scale"), &[], &[scale]);
        self.zero = self.constant(format!("{name}_zero"), DType::U8, &[], vec![zero]);
        let inputs = vec![self.value, self.scale, self.zero];
        self.append(
            Node::new("QuantizeLinear", vec![], vec![]),
            inputs,
            &format!("{name}_codes"),
        );
    }

    /// What is read, its scale and zero, and a layer's weights, their scales and zeros, and its biases.
    fn parameters(&mut self, name: &str, shape: &[usize]) -> (Vec<ValueId>, ValueId) {
        let (rows, count) = (shape[0], shape.iter().product::<usize>());
        // Two neighbours sum to 128 at most: ONNX Runtime's kernels without VNNI saturate beyond.
        let weights = (0..count)
            .map(|i| ((i * 37 + name.len() * 11 + i / 7) % 65) as u8)
            .collect();
        let scales: Vec<f32> = (0..rows).map(|row| 0.001 + row as f32 * 1e-5).collect();
        let biases = (0..rows)
            .flat_map(|row| (row as i32 * 50 - 300).to_le_bytes())
            .collect();
        let inputs = vec![
            self.value,
            self.scale,
            self.zero,
            self.constant(format!("{name}_w"), DType::I8, shape, weights),
            self.floats(format!("{name}_ws"), &[rows], &scales),
            self.constant(format!("{name}_wz"), DType::I8, &[rows], vec![0; rows]),
        ];
        (inputs, self.constant(format!("{name}_b"), DType::I32, &[rows], biases))
    }

    /// A convolution with weights `[O, I/groups, side, side]` whose output's zero has the code `zero`.
    fn conv(&mut self, name: &str, shape: [usize; 4], groups: usize, stride: i64, zero: u8) {
        let (mut inputs, bias) = self.parameters(name, &shape);
        let columns: usize = shape[1..].iter().product();
        self.scale = self.floats(format!("{name}_s"), &[], &[0.001 * columns as f32]);
        self.zero = self.constant(format!("{name}_z"), DType::U8, &[], vec![zero]);
        inputs.extend([self.scale, self.zero, bias]);
        let node = Node::new("QLinearConv", vec![], vec![])
            .with("pads", AttributeValue::Ints(vec![shape[2] as i64 / 2; 4]))
            .with("strides", AttributeValue::Ints(vec![stride; 2]))
            .with("group", AttributeValue::Int(groups as i64));
        self.append(node, inputs, name);
    }

    /// A 1x1 convolution in f32 of what quantized values and weights of 8 or 16 bits stand for, with a ReLU.
    fn finer_conv(&mut self, name: &str, [rows, columns]: [usize; 2], reads_wide: bool, wide_rows: usize) {
        let mut read = Node::new("DequantizeLinear", vec![], vec![]);
        if reads_wide {
            MICROSOFT_DOMAIN.clone_into(&mut read.domain);
        }
        self.append(read, vec![self.value, self.scale, self.zero], &format!("{name}_read"));
        let input = self.value;
        let code = |i: usize| {
            let code = (i as i32 * 37 + 11) % 199 - 99;
            if i / columns < wide_rows {
                code * 256 + i as i32 % 256 - 128
            } else {
                code
            }
        };
        let codes = (0..rows * columns).flat_map(|i| code(i).to_le_bytes()).collect();
        let codes = self.constant(format!("{name}_w"), DType::I32, &[rows, columns, 1, 1], codes);
        let scale = |row| if row < wide_rows { 0.004 / 256.0 } else { 0.004 };
        let scales = self.floats(format!("{name}_ws"), &[rows], &(0..rows).map(scale).collect::<Vec<_>>());
        let dequantize = Node::new("DequantizeLinear", vec![], vec![]).with("axis", AttributeValue::Int(0));
        self.append(dequantize, vec![codes, scales], &format!("{name}_weights"));
        let weights = self.value;
        let biases: Vec<f32> = (0..rows).map(|row| row as f32 * 0.02 - 0.1).collect();
        let bias = self.floats(format!("{name}_b"), &[rows], &biases);
        self.append(
            Node::new("Conv", vec![], vec![]),
            vec![input, weights, bias],
            &format!("{name}_sums"),
        );
        self.op("Relu", name);
    }

    /// A depthwise convolution in f32, with a ReLU.
    fn float_depthwise(&mut self, name: &str, channels: usize, stride: i64) {
        let weights: Vec<f32> = (0..channels * 9)
            .map(|i| ((i * 29) % 65) as f32 / 200.0 - 0.1)
            .collect();
        let weight = self.floats(format!("{name}_w"), &[channels, 1, 3, 3], &weights);
        let bias = self.floats(format!("{name}_b"), &[channels], &vec![0.2; channels]);
        let node = Node::new("Conv", vec![], vec![])
            .with("pads", AttributeValue::Ints(vec![1; 4]))
            .with("strides", AttributeValue::Ints(vec![stride; 2]))
            .with("group", AttributeValue::Int(channels as i64));
        self.append(node, vec![self.value, weight, bias], &format!("{name}_sums"));
        self.op("Relu", name);
    }

    /// The value in 16 bits.
    fn quantize_wide(&mut self, name: &str, scale: f32) {
        self.scale = self.floats(format!("{name}_scale"), &[], &[scale]);
        self.zero = self.constant(format!("{name}_zero"), DType::U16, &[], vec![0; 2]);
        let mut node = Node::new("QuantizeLinear", vec![], vec![]);
        MICROSOFT_DOMAIN.clone_into(&mut node.domain);
        self.append(node, vec![self.value, self.scale, self.zero], &format!("{name}_codes"));
    }

    /// The sum with another value, whose zero has the code `zero`.
    fn add(&mut self, other: [ValueId; 3], name: &str, zero: u8) {
        let mut inputs = vec![self.value, self.scale, self.zero];
        inputs.extend(other);
        self.scale = self.floats(format!("{name}_s"), &[], &[0.17]);
        self.zero = self.constant(format!("{name}_z"), DType::U8, &[], vec![zero]);
        inputs.extend([self.scale, self.zero]);
        let mut sum = Node::new("QLinearAdd", vec![], vec![]);
        MICROSOFT_DOMAIN.clone_into(&mut sum.domain);
        self.append(sum, inputs, name);
    }

    /// The mean of each of `channels`, a linear layer of ten classes, and done.
    fn finish(mut self, channels: usize) -> Model {
        let inputs = vec![self.value, self.scale, self.zero];
        self.append(Node::new("DequantizeLinear", vec![], vec![]), inputs, "floats");
        self.op("GlobalAveragePool", "pooled");
        self.op("Flatten", "flat");
        self.quantize("flat", 0.05, 0);
        let (mut inputs, bias) = self.parameters("gemm", &[10, channels]);
        inputs.push(bias);
        let mut gemm = Node::new("QGemm", vec![], vec![]).with("transB", AttributeValue::Int(1));
        MICROSOFT_DOMAIN.clone_into(&mut gemm.domain);
        self.append(gemm, inputs, "logits");
        self.graph.value_mut(self.value).dtype = Some(DType::F32);
        self.graph.outputs.push(self.value);
        Model {
            graph: self.graph,
            ir_version: 8,
            opsets: vec![(String::new(), 17), (MICROSOFT_DOMAIN.to_owned(), 1)],
            ..Model::default()
        }
    }
}

fn images() -> Vec<Vec<f32>> {
    let pixel = |n: usize, i: usize| ((n * 29 + i * 101) % 255) as f32 / 50.0 - 0.1;
    let image = |i: usize| (0..3 * SIDE * SIDE).map(|n| pixel(n, i)).collect();
    (0..3).map(image).collect()
}

/// So many operators of the server's own, whose outputs are ONNX Runtime's to the bit. A convolution is its weights' shape, its
/// groups and its stride.
#[track_caller]
fn check(convolutions: &[([usize; 4], usize, i64)], own: usize) {
    let mut net = Net::new(0);
    for (i, (shape, groups, stride)) in convolutions.iter().enumerate() {
        net.conv(&format!("conv{i}"), *shape, *groups, *stride, 3 * i as u8);
    }
    check_net(net, convolutions.last().unwrap().0[0], [own, 0]);
}

/// As [`check`], of a network under construction: so many layers of the server's own, and so many of them with sums.
#[track_caller]
fn check_net(net: Net, channels: usize, own: [usize; 2]) -> BTreeMap<String, usize> {
    let model = SessionModel::encode(net.finish(channels)).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let images = images();
    let options = SessionOptions {
        int8_as_given: true,
        ..SessionOptions::default()
    };
    let mut plain = ModelSession::from_memory(&runtime, &model.onnx, &options).unwrap();
    let expected = plain.run(&images, [3, SIDE, SIDE]).unwrap();
    let mut operators = BTreeMap::new();
    for isa in Int8Isa::available() {
        let shared = OptimizedModel::new(&runtime, &model, Int8::Own(isa), true).unwrap();
        let layers = shared.layers.int8();
        let sums = layers.iter().filter(|layer| layer.sum().is_some());
        assert_eq!([layers.len(), sums.count()], own, "{:?}", shared.operators);
        for threads in [1, 2] {
            let session = shared.session(&runtime, threads).unwrap();
            let mut session = ModelSession::of(session, &SessionOptions::default()).unwrap();
            for count in [3, 1, 2] {
                let found = session.run(&images[..count], [3, SIDE, SIDE]).unwrap();
                assert_eq!(found, expected[..count], "{} {threads} {count}", isa.name());
            }
        }
        operators.clone_from(&shared.operators);
    }
    operators
}

#[test]
fn operators_compute_what_onnx_runtime_does() {
    check(
        &[([16, 3, 3, 3], 1, 2), ([40, 16, 3, 3], 1, 1), ([24, 40, 1, 1], 1, 1)],
        4,
    );
    check(&[([32, 3, 5, 5], 1, 1), ([32, 8, 3, 3], 4, 1)], 3);
}

#[test]
fn depthwise_convolutions_are_computed_too() {
    check(&[([20, 3, 3, 3], 1, 1), ([20, 1, 3, 3], 20, 1)], 3);
    check(
        &[([32, 3, 3, 3], 1, 1), ([32, 1, 5, 5], 32, 2), ([24, 32, 1, 1], 1, 1)],
        4,
    );
}

#[test]
fn residual_sums_are_part_of_the_convolution_before_them() {
    for (own_first, added) in [(true, 1), (false, 0)] {
        let mut net = Net::new(0);
        net.conv("stem", [24, 3, 3, 3], 1, 1, 0);
        let stem = [net.value, net.scale, net.zero];
        net.conv("depthwise", [24, 1, 3, 3], 24, 1, 0);
        net.conv("project", [24, 24, 1, 1], 1, 1, 120);
        let branch = [net.value, net.scale, net.zero];
        let (first, second) = if own_first { (branch, stem) } else { (stem, branch) };
        [net.value, net.scale, net.zero] = first;
        net.add(second, "sum", 9);
        let operators = check_net(net, 24, [4, added]);
        let count = |op: &str| operators.get(op).copied().unwrap_or(0);
        // With its sum in ONNX Runtime, the stem is read by others than the chain.
        assert_eq!(count("repserve::Int8Chain"), 1, "{operators:?}");
        assert_eq!(count("repserve::Int8Conv"), 1 - added, "{operators:?}");
        assert_eq!(count("com.microsoft::QLinearAdd"), 1 - added, "{operators:?}");
    }
}

#[test]
fn what_the_kernels_do_not_compute_stays() {
    // Groups of few channels.
    check(&[([16, 3, 3, 3], 1, 1), ([16, 4, 3, 3], 4, 1)], 2);
}

#[test]
fn a_model_in_both_arithmetics_has_both_kinds_of_operators() {
    let mut net = Net::new(32);
    net.conv("conv", [16, 32, 3, 3], 1, 1, 3);
    let deploy = net.finish(16);
    let model = SessionModel::encode(deploy.clone()).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let shape = [3, SIDE, SIDE];
    let mut plain = ModelSession::from_memory(&runtime, &model.onnx, &SessionOptions::default()).unwrap();
    let expected = plain.run(&images(), shape).unwrap();
    let lowered = lower(&runtime, &deploy, &model, KernelMode::On, shape, None).unwrap();
    assert_eq!(lowered.model.layers.len(), 1);
    let pool = Pool::new(&runtime, lowered.model, None, &RuntimeSettings::default()).unwrap();
    let operators = pool.operators().unwrap();
    assert_eq!(operators["repserve::BlockedConv"], 1, "{operators:?}");
    let own = operators.get("repserve::Int8Gemm").copied().unwrap_or(0);
    assert_eq!(own, usize::from(Int8Isa::detect().is_some()), "{operators:?}");
    let found = pool.session(Width::Narrow).unwrap().run(&images(), shape).unwrap();
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!(
            (found - expected).abs() < 0.05 * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }
}

#[test]
fn sessions_of_an_int8_graph_share_the_weights_of_its_f32_convolutions() {
    let model = SessionModel::encode(Net::new(32).finish(32)).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let options = SessionOptions {
        int8_as_given: true,
        ..SessionOptions::default()
    };
    let mut plain = ModelSession::from_memory(&runtime, &model.onnx, &options).unwrap();
    let expected = plain.run(&images(), [3, SIDE, SIDE]).unwrap();
    let own = Int8Isa::available().into_iter().map(Int8::Own);
    for int8 in own.chain([Int8::OnnxRuntime]) {
        let shared = OptimizedModel::new(&runtime, &model, int8, true).unwrap();
        assert_eq!(shared.weights.len(), 1, "{int8:?}: {:?}", shared.operators);
        for _ in 0..2 {
            let session = shared.session(&runtime, 1).unwrap();
            let mut session = ModelSession::of(session, &options).unwrap();
            assert_eq!(session.run(&images(), [3, SIDE, SIDE]).unwrap(), expected, "{int8:?}");
        }
    }
}

#[test]
fn values_are_alike_only_where_that_follows_from_their_convolutions() {
    let mut net = Net::new(0);
    let channels_last = |net: &mut Net, name: &str, shape: [usize; 4], stride: i64| {
        net.conv(name, shape, 1, stride, 0);
        let id = net.graph.producer(net.value).unwrap();
        let mut node = net.graph.node(id).cloned().unwrap();
        MICROSOFT_DOMAIN.clone_into(&mut node.domain);
        net.graph.remove_node(id);
        net.graph
            .insert_node(Some(id), node.with("channels_last", AttributeValue::Int(1)));
        net.value
    };
    let stem = channels_last(&mut net, "stem", [16, 3, 3, 3], 2);
    let same = channels_last(&mut net, "same", [16, 16, 3, 3], 1);
    let wider = channels_last(&mut net, "wider", [24, 16, 1, 1], 1);
    net.value = same;
    let smaller = channels_last(&mut net, "smaller", [16, 16, 3, 3], 2);
    net.value = stem;
    let shortcut = channels_last(&mut net, "shortcut", [16, 16, 1, 1], 2);
    let extents = Extents::of(&net.graph);
    assert!(extents.alike(stem, same) && extents.alike(smaller, shortcut));
    assert!(!extents.alike(stem, wider) && !extents.alike(same, smaller) && !extents.alike(stem, stem));
    let input = net.graph.inputs[0];
    assert!(!extents.alike(input, stem));
}

/// What a pool's session returns, and the operators of its graph.
fn pooled(
    model: &SessionModel,
    share_weights: bool,
    kernels: KernelMode,
) -> (Vec<Vec<f32>>, Option<BTreeMap<String, usize>>, usize) {
    let settings = RuntimeSettings {
        share_weights,
        kernels,
        ..RuntimeSettings::default()
    };
    let pool = Pool::new(&Runtime::load(None).unwrap(), model.clone(), None, &settings).unwrap();
    assert_eq!(pool.shares_weights(), share_weights && pool.int8_kernels().is_some());
    let layers = pool.int8_kernels().map_or(0, |kernels| kernels.layers);
    let rows = pool
        .session(Width::Narrow)
        .unwrap()
        .run(&images(), [3, SIDE, SIDE])
        .unwrap();
    (rows, pool.operators().cloned(), layers)
}

#[test]
fn whether_weights_are_shared_changes_no_kernel() {
    let mut net = Net::new(32);
    net.conv("conv", [16, 32, 3, 3], 1, 1, 3);
    let model = SessionModel::encode(net.finish(16)).unwrap();
    for kernels in [KernelMode::Auto, KernelMode::On] {
        let (shared, alone) = (pooled(&model, true, kernels), pooled(&model, false, kernels));
        assert_eq!(shared.0, alone.0);
        assert_eq!(shared.2, alone.2);
        let own = Int8Isa::detect().is_some();
        assert_eq!(alone.2 > 0, own);
        assert!(!own || shared.1 == alone.1, "{:?} {:?}", shared.1, alone.1);
    }
    let (shared, alone) = (
        pooled(&model, true, KernelMode::Off),
        pooled(&model, false, KernelMode::Off),
    );
    assert_eq!((shared.0, shared.2), (alone.0, 0));
    assert_eq!(alone.2, 0);
}

#[test]
fn an_optimized_model_that_shares_no_weights_has_the_same_operators() {
    let mut net = Net::new(32);
    net.conv("conv", [16, 32, 3, 3], 1, 1, 3);
    let model = SessionModel::encode(net.finish(16)).unwrap();
    let runtime = Runtime::load(None).unwrap();
    for isa in Int8Isa::available() {
        let [shared, alone] =
            [true, false].map(|share| OptimizedModel::new(&runtime, &model, Int8::Own(isa), share).unwrap());
        assert_eq!(shared.operators, alone.operators, "{}", isa.name());
        assert!(shared.shares() && !alone.shares());
        assert_eq!((shared.weights.len(), alone.weights.len()), (1, 0));
        let [shared, alone] = [shared, alone].map(|optimized| {
            let session = optimized.session(&runtime, 1).unwrap();
            let mut session = ModelSession::of(session, &SessionOptions::default()).unwrap();
            session.run(&images(), [3, SIDE, SIDE]).unwrap()
        });
        assert_eq!(shared, alone, "{}", isa.name());
    }
}

/// A network of layers finer than 8 bits among others.
fn finer_net() -> Net {
    let mut net = Net::new(0);
    net.conv("stem", [24, 3, 3, 3], 1, 1, 0);
    net.finer_conv("first", [32, 24], false, 16);
    net.float_depthwise("depthwise", 32, 1);
    net.quantize_wide("depthwise", 0.0004);
    net.finer_conv("second", [24, 32], true, 0);
    net.float_depthwise("smaller", 24, 2);
    net.quantize("smaller", 0.2, 0);
    net.finer_conv("last", [20, 24], false, 0);
    net.quantize("last", 0.2, 0);
    net
}

#[test]
fn layers_finer_than_8_bits_compute_what_onnx_runtime_does_in_f32() {
    let model = SessionModel::encode(finer_net().finish(20)).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let options = SessionOptions {
        int8_as_given: true,
        ..SessionOptions::default()
    };
    let images = images();
    let mut plain = ModelSession::from_memory(&runtime, &model.onnx, &options).unwrap();
    let expected = plain.run(&images, [3, SIDE, SIDE]).unwrap();
    for isa in Int8Isa::available() {
        let shared = OptimizedModel::new(&runtime, &model, Int8::Own(isa), true).unwrap();
        assert_eq!(shared.layers.int8().len(), 5, "{:?}", shared.operators);
        assert_eq!(
            shared.operators.get("repserve::Int8Chain"),
            Some(&1),
            "{:?}",
            shared.operators
        );
        let floats =
            ["Conv", "com.microsoft::FusedConv", "com.microsoft.nchwc::Conv"].map(|op| shared.operators.get(op));
        assert_eq!(floats, [None; 3], "{:?}", shared.operators);
        for threads in [1, 2] {
            let session = shared.session(&runtime, threads).unwrap();
            let mut session = ModelSession::of(session, &SessionOptions::default()).unwrap();
            let found = session.run(&images, [3, SIDE, SIDE]).unwrap();
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                // A value on the edge of two codes may be either.
                assert!(
                    (found - expected).abs() < 0.01 * expected.abs() + 0.02,
                    "{found} {expected}"
                );
            }
        }
    }
}

#[test]
fn sixteen_bits_that_another_operator_reads_stay_onnx_runtimes() {
    let mut net = finer_net();
    let wide = net
        .graph
        .nodes()
        .find(|(_, node)| node.op == "QuantizeLinear" && node.domain == MICROSOFT_DOMAIN);
    let codes = wide.unwrap().1.output(0).unwrap();
    net.graph.value_mut(codes).dtype = Some(DType::U16);
    net.graph.outputs.push(codes);
    let model = net.finish(20);
    let mut lowered = model.clone();
    let layers = lower_finer(&mut lowered, Int8Isa::plain());
    // The pair that returns 16 bits and the one that reads them stay; the last layer does not.
    assert_eq!(layers.len(), 1, "{:?}", lowered.graph.op_counts());
}
