//! Convolutions of every `auto_pad` through fusing, lowering and quantizing, with ONNX Runtime as the truth.

use repserve_graph::{AttributeValue, Model, ValueId};
use repserve_reparam::{Options, fuse};
use repserve_runtime::{KernelMode, ModelSession, Runtime, SessionModel, SessionOptions, lower};

use crate::int8_graphs::{Net, SHAPE, count, images, quantized};

/// A 1x1 convolution, then two parallel 3x3 ones of this padding, stride and dilation, which become one. Where the padding is not
/// automatic it is stated, another at each side.
fn network(auto_pad: &str, stride: i64, dilation: i64) -> Model {
    let (mut net, input) = Net::new();
    let stem = net.random_conv(input, [16, 3, 1, 1], "stem");
    let stem = net.op("Relu", vec![stem], "stem.relu");
    let branch = |net: &mut Net, name: &str| -> ValueId {
        let mut padding = vec![
            ("auto_pad", AttributeValue::String(auto_pad.to_owned().into())),
            ("strides", AttributeValue::Ints(vec![stride; 2])),
            ("dilations", AttributeValue::Ints(vec![dilation; 2])),
        ];
        if auto_pad == "NOTSET" {
            padding.push(("pads", AttributeValue::Ints(vec![0, 1, 2, 1])));
        }
        let weights = net.random(&[16, 16, 3, 3]);
        net.conv_with(stem, [16, 16, 3, 3], &weights, name, &padding)
    };
    let (left, right) = (branch(&mut net, "left"), branch(&mut net, "right"));
    let sum = net.op("Add", vec![left, right], "sum");
    let sum = net.op("Relu", vec![sum], "sum.relu");
    net.finish(sum, 16)
}

fn outputs(runtime: &Runtime, model: &SessionModel) -> Vec<f32> {
    let options = SessionOptions {
        layers: model.layers.clone(),
        ..SessionOptions::default()
    };
    let mut session = ModelSession::from_memory(runtime, &model.onnx, &options).unwrap();
    session.run(&images(), SHAPE).unwrap().concat()
}

/// The graph as it is, for sessions.
fn plain(model: &Model) -> SessionModel {
    SessionModel::encode(model.clone()).unwrap()
}

/// The graph with every layer lowered that can be, of which there are `layers`.
#[track_caller]
fn lowered(runtime: &Runtime, model: &Model, layers: usize) -> SessionModel {
    let lowered = lower(runtime, model, &plain(model), KernelMode::On, SHAPE, None).unwrap();
    assert_eq!(lowered.model.layers.len(), layers);
    lowered.model
}

#[track_caller]
fn check_close(expected: &[f32], found: &[f32]) {
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert_eq!(expected.len(), found.len());
    for (e, f) in expected.iter().zip(found) {
        assert!((e - f).abs() <= 1e-5 * scale, "{e} became {f}, scale {scale}");
    }
}

/// Every stride and dilation of this padding. ONNX Runtime runs no dilated convolution that keeps the size, so there is no truth for one.
fn check_all(auto_pad: &str) {
    let dilations = if auto_pad.starts_with("SAME") { 1..=1 } else { 1..=2 };
    for dilation in dilations {
        for stride in [1, 2] {
            check(auto_pad, stride, dilation);
        }
    }
}

fn check(auto_pad: &str, stride: i64, dilation: i64) {
    let runtime = Runtime::load(None).unwrap();
    let train = network(auto_pad, stride, dilation);
    let truth = outputs(&runtime, &plain(&train));

    let fused = fuse(train.clone(), &Options::default()).unwrap();
    assert_eq!(fused.report.deploy.count("Conv"), 2, "{}", fused.report);
    check_close(&truth, &outputs(&runtime, &plain(&fused.model)));

    // The kernels compute no dilated convolutions.
    let layers = |convolutions: usize| if dilation == 1 { convolutions } else { 1 };
    check_close(&truth, &outputs(&runtime, &lowered(&runtime, &fused.model, layers(2))));

    // Also without fusing: the padding that an exporter wrote is what is lowered and quantized.
    check_close(&truth, &outputs(&runtime, &lowered(&runtime, &train, layers(3))));

    for (graph, convolutions) in [(fused.model, 2), (train, 3)] {
        let (agreement, operators) = quantized(graph);
        assert_eq!(count(&operators, "QLinearConv"), convolutions, "{operators:?}");
        assert!(agreement.snr_db > 30.0, "{agreement}");
    }
}

#[test]
fn convolutions_of_stated_padding() {
    check_all("NOTSET");
}

#[test]
fn convolutions_without_padding() {
    check_all("VALID");
}

#[test]
fn convolutions_that_keep_the_size_with_more_padding_at_the_end() {
    check_all("SAME_UPPER");
}

#[test]
fn convolutions_that_keep_the_size_with_more_padding_at_the_beginning() {
    check_all("SAME_LOWER");
}

#[test]
fn a_padding_that_depends_on_an_unknown_size_stays_with_onnx_runtime_in_int8_and_is_lowered_for_a_known_one() {
    let runtime = Runtime::load(None).unwrap();
    let mut train = network("SAME_UPPER", 2, 1);
    let input = train.graph.inputs[0];
    let shape = train.graph.value_mut(input).shape.as_mut().unwrap();
    shape[2] = repserve_graph::Dim::Symbol("height".into());
    shape[3] = repserve_graph::Dim::Symbol("width".into());
    let truth = outputs(&runtime, &plain(&train));
    check_close(&truth, &outputs(&runtime, &lowered(&runtime, &train, 3)));
    let (agreement, operators) = quantized(train);
    assert_eq!(count(&operators, "QLinearConv"), 1, "{operators:?}");
    assert!(agreement.snr_db > 30.0, "{agreement}");
}
