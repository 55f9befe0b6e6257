//! Int8 graphs of small networks, built here node by node, in ONNX Runtime.

use std::collections::BTreeMap;

use repserve_graph::onnx;
use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};
use repserve_quantize::{Agreement, GateImages, Goal, GraphRunner, Job, Values, calibrate, compare, rewrite};
use repserve_runtime::{KernelMode, MultiOutputSession, Pool, Runtime, RuntimeSettings, SessionModel};
use repserve_scheduler::Width;

const SIDE: usize = 8;
pub const SHAPE: [usize; 3] = [3, SIDE, SIDE];

/// A network under construction.
pub struct Net {
    graph: Graph,
    random: u64,
}

impl Net {
    pub fn new() -> (Self, ValueId) {
        let mut graph = Graph::default();
        let shape = vec![
            Dim::Symbol("batch".into()),
            Dim::Fixed(3),
            Dim::Fixed(SIDE),
            Dim::Fixed(SIDE),
        ];
        let input = graph.add_value(Value {
            dtype: Some(DType::F32),
            shape: Some(shape),
            ..Value::named("input")
        });
        graph.inputs.push(input);
        (Self { graph, random: 1 }, input)
    }

    /// Between -1 and 1.
    fn draw(&mut self) -> f32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn random(&mut self, shape: &[usize]) -> Vec<f32> {
        let fan_in: usize = shape[1..].iter().product();
        let scale = (3.0 / fan_in as f32).sqrt();
        (0..shape.iter().product()).map(|_| scale * self.draw()).collect()
    }

    pub fn op(&mut self, op: &str, inputs: Vec<ValueId>, name: &str) -> ValueId {
        let out = self.graph.add_value(Value::named(name));
        self.graph.push_node(Node::new(op, inputs, vec![out]));
        out
    }

    fn conv(&mut self, source: ValueId, shape: [usize; 4], weights: &[f32], name: &str) -> ValueId {
        let pads = AttributeValue::Ints(vec![shape[2] as i64 / 2; 4]);
        self.conv_with(source, shape, weights, name, &[("pads", pads)])
    }

    pub fn conv_with(
        &mut self,
        source: ValueId,
        shape: [usize; 4],
        weights: &[f32],
        name: &str,
        attributes: &[(&str, AttributeValue)],
    ) -> ValueId {
        let weight = self
            .graph
            .add_constant(format!("{name}.w"), Tensor::from_f32(&shape, weights));
        let bias = self
            .graph
            .add_constant(format!("{name}.b"), Tensor::from_f32(&shape[..1], &vec![0.1; shape[0]]));
        let out = self.graph.add_value(Value::named(name));
        let node = Node::new("Conv", vec![source, weight, bias], vec![out]);
        let node = attributes
            .iter()
            .fold(node, |node, (name, value)| node.with(*name, value.clone()));
        self.graph.push_node(node);
        out
    }

    /// A clip at zero and six.
    fn relu6(&mut self, source: ValueId, name: &str) -> ValueId {
        let bounds = [0.0, 6.0].map(|bound| {
            let constant = Tensor::from_f32(&[], &[bound]);
            self.graph.add_constant(format!("{name}.{bound}"), constant)
        });
        self.op("Clip", vec![source, bounds[0], bounds[1]], name)
    }

    pub fn random_conv(&mut self, source: ValueId, shape: [usize; 4], name: &str) -> ValueId {
        let weights = self.random(&shape);
        self.conv(source, shape, &weights, name)
    }

    /// Pools, a linear layer of four classes, and done.
    pub fn finish(mut self, source: ValueId, channels: usize) -> Model {
        let pooled = self.op("GlobalAveragePool", vec![source], "pooled");
        let flat = self.op("Flatten", vec![pooled], "flat");
        let weights = self.random(&[4, channels]);
        let weight = self
            .graph
            .add_constant("head.w", Tensor::from_f32(&[4, channels], &weights));
        let logits = self.graph.add_value(Value {
            dtype: Some(DType::F32),
            ..Value::named("logits")
        });
        let head = Node::new("Gemm", vec![flat, weight], vec![logits]).with("transB", AttributeValue::Int(1));
        self.graph.push_node(head);
        self.graph.outputs.push(logits);
        Model {
            graph: self.graph,
            ir_version: 8,
            opsets: vec![(String::new(), 17)],
            ..Model::default()
        }
    }
}

/// Flat images from dark to bright, and some noise.
pub fn images() -> Vec<Vec<f32>> {
    let pixel = |i: usize, n: usize| i as f32 / 40.0 + 0.1 * ((n * 31 + i * 17) as f32).sin();
    (0..40)
        .map(|i| (0..3 * SIDE * SIDE).map(|n| pixel(i, n).max(0.0)).collect())
        .collect()
}

/// How near the int8 graph comes, and the operators that ONNX Runtime makes of it.
pub fn quantized(deploy: Model) -> (Agreement, BTreeMap<String, usize>) {
    let runtime = Runtime::load(None).unwrap();
    let images = images();
    let held_out: Vec<Vec<f32>> = images.iter().skip(3).step_by(4).cloned().collect();
    let job = Job {
        deploy: deploy.clone(),
        model_sha256: String::new(),
        images: &images,
        labels: &[],
        images_sha256: String::new(),
        probabilities: false,
        goal: Goal {
            top1_agreement: 0.0,
            fp32_share_max: 0.0,
        },
        without: &[],
        views: 0,
        size: [SIDE, SIDE],
        gate: GateImages::new("none".into(), &[]),
        pictures: &[],
    };
    let load = |onnx: &[u8]| -> Result<GraphRunner<'_>, String> {
        let mut graph = MultiOutputSession::from_memory(&runtime, onnx, 1).map_err(|e| e.to_string())?;
        Ok(Box::new(move |image| {
            let outputs = graph.run(image, SHAPE).map_err(|e| e.to_string())?;
            Ok(outputs
                .into_iter()
                .map(|(shape, data)| Values { shape, data })
                .collect())
        }))
    };
    let calibration = calibrate(&job, &load, &mut |_, _, _| ()).unwrap();
    let int8 = SessionModel::encode(rewrite(deploy.clone(), &calibration).unwrap()).unwrap();
    let outputs = |onnx: &[u8]| {
        let mut probe = load(onnx).unwrap();
        held_out
            .iter()
            .map(|image| probe(image).unwrap().remove(0).data)
            .collect::<Vec<_>>()
    };
    let exact = outputs(&int8.onnx);
    let agreement = compare(&outputs(&onnx::write(deploy).unwrap()), &exact, false);
    let pool = |kernels| {
        let settings = RuntimeSettings {
            kernels,
            cores: 2,
            ..RuntimeSettings::default()
        };
        Pool::new(&runtime, int8.clone(), None, &settings).unwrap()
    };
    // The server's own kernels, where this processor has instructions for them, compute the same as ONNX Runtime's.
    for width in [Width::Narrow, Width::Wide] {
        let mut session = pool(KernelMode::Auto).session(width).unwrap();
        assert_eq!(session.run(&held_out, SHAPE).unwrap(), exact);
    }
    (agreement, pool(KernelMode::Off).operators().unwrap().clone())
}

pub fn count(operators: &BTreeMap<String, usize>, op: &str) -> usize {
    let of = operators
        .iter()
        .filter(|(name, _)| name.rsplit("::").next() == Some(op));
    of.map(|(_, count)| count).sum()
}

/// A network whose second convolution has these weights, the same for each of its 16 channels.
#[track_caller]
fn check_saturation(depth: usize, weight: impl Fn(usize, usize) -> f32) {
    let (mut net, input) = Net::new();
    let bright = vec![0.3; depth * 3];
    let first = net.conv(input, [depth, 3, 1, 1], &bright, "first");
    let first = net.op("Relu", vec![first], "first.relu");
    let row: Vec<f32> = (0..depth * 9).map(|i| weight(i / 9, i % 9)).collect();
    let second = net.conv(first, [16, depth, 3, 3], &row.repeat(16), "second");
    let (agreement, operators) = quantized(net.finish(second, 16));
    assert_eq!(count(&operators, "QLinearConv"), 2, "{operators:?}");
    assert!(agreement.snr_db > 35.0, "{agreement}");
}

#[test]
fn large_weights_of_one_sign_do_not_saturate() {
    check_saturation(32, |_, _| 1.0);
    check_saturation(31, |_, _| -1.0);
    // Large and small weights alternate along the taps and along the channels, so that neither walk has large neighbours.
    check_saturation(31, |channel, tap| if (channel + tap) % 2 == 0 { 1.0 } else { 0.01 });
}

#[test]
fn squeeze_and_excitation_stays_in_f32_between_int8_layers() {
    let (mut net, input) = Net::new();
    let first = net.random_conv(input, [16, 3, 3, 3], "first");
    let first = net.op("Relu", vec![first], "first.relu");
    let pooled = net.op("GlobalAveragePool", vec![first], "squeezed");
    let squeezed = net.random_conv(pooled, [4, 16, 1, 1], "squeeze");
    let squeezed = net.op("Relu", vec![squeezed], "squeeze.relu");
    let excited = net.random_conv(squeezed, [16, 4, 1, 1], "excite");
    let factors = net.op("Sigmoid", vec![excited], "factors");
    let scaled = net.op("Mul", vec![first, factors], "scaled");
    let second = net.random_conv(scaled, [24, 16, 3, 3], "second");
    let second = net.op("Relu", vec![second], "second.relu");
    let (agreement, operators) = quantized(net.finish(second, 24));
    assert_eq!(count(&operators, "QLinearConv"), 2, "{operators:?}");
    assert_eq!(
        count(&operators, "Conv") + count(&operators, "FusedConv"),
        2,
        "{operators:?}"
    );
    assert!(agreement.snr_db > 30.0, "{agreement}");
}

#[test]
fn operators_that_are_not_known_compute_in_f32() {
    let (mut net, input) = Net::new();
    let first = net.random_conv(input, [16, 3, 3, 3], "first");
    let first = net.op("Softplus", vec![first], "first.softplus");
    let second = net.random_conv(first, [16, 16, 3, 3], "second");
    let sum = net.op("Add", vec![first, second], "sum");
    let sum = net.op("Relu", vec![sum], "sum.relu");
    let third = net.random_conv(sum, [16, 16, 1, 1], "third");
    let (agreement, operators) = quantized(net.finish(third, 16));
    assert_eq!(count(&operators, "QLinearConv"), 3, "{operators:?}");
    assert_eq!(
        (count(&operators, "Softplus"), count(&operators, "QLinearAdd")),
        (1, 1),
        "{operators:?}"
    );
    assert!(agreement.snr_db > 30.0, "{agreement}");
}

#[test]
fn residual_sums_and_the_mean_of_pixels_are_of_quantized_values() {
    let (mut net, input) = Net::new();
    let first = net.random_conv(input, [24, 3, 3, 3], "first");
    let mut value = net.op("Relu", vec![first], "first.relu");
    for (name, relu) in [("linear", false), ("clipped", true)] {
        let expanded = net.random_conv(value, [48, 24, 1, 1], &format!("{name}.expand"));
        let expanded = net.relu6(expanded, &format!("{name}.relu6"));
        let weights = net.random(&[48, 1, 3, 3]);
        let attributes = [
            ("group", AttributeValue::Int(48)),
            ("pads", AttributeValue::Ints(vec![1; 4])),
        ];
        let depthwise = format!("{name}.depthwise");
        let spread = net.conv_with(expanded, [48, 1, 3, 3], &weights, &depthwise, &attributes);
        let projected = net.random_conv(spread, [24, 48, 1, 1], &format!("{name}.project"));
        value = net.op("Add", vec![projected, value], &format!("{name}.sum"));
        if relu {
            value = net.op("Relu", vec![value], &format!("{name}.sum.relu"));
        }
    }
    let last = net.random_conv(value, [32, 24, 1, 1], "last");
    let (agreement, operators) = quantized(net.finish(last, 32));
    let counts = ["QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool"].map(|op| count(&operators, op));
    assert_eq!(counts, [8, 2, 1], "{operators:?}");
    let through_f32 = ["DequantizeLinear", "Add", "Relu", "Clip", "GlobalAveragePool"];
    assert_eq!(through_f32.map(|op| count(&operators, op)), [0; 5], "{operators:?}");
    assert!(agreement.snr_db > 25.0, "{agreement}");
}

#[test]
fn relu6_is_the_end_of_an_output_range() {
    let (mut net, input) = Net::new();
    // Most of what comes out lies beyond six.
    let bright = vec![3.0; 24 * 3];
    let first = net.conv(input, [24, 3, 1, 1], &bright, "first");
    let first = net.relu6(first, "first.relu6");
    let second = net.random_conv(first, [20, 24, 3, 3], "second");
    let second = net.relu6(second, "second.relu6");
    let third = net.random_conv(second, [16, 20, 3, 3], "third");
    let (agreement, operators) = quantized(net.finish(third, 16));
    assert_eq!(
        (count(&operators, "QLinearConv"), count(&operators, "Clip")),
        (3, 0),
        "{operators:?}"
    );
    assert!(agreement.snr_db > 30.0, "{agreement}");
}
