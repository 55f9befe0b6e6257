//! Convolutions of every `auto_pad` through fusing, lowering and quantizing, with ONNX Runtime as the truth.

use repserve_graph::{AttributeValue, Model, ValueId};
use repserve_reparam::{Options, fuse};
use repserve_runtime::{KernelMode, ModelSession, Runtime, SessionModel, SessionOptions, lower};

use crate::int8_graphs::{Net, SHAPE, count, images, quantized};

/// A 1x1 convolution, then two parallel 3x3 ones of this padding and stride, which become one.
fn network(auto_pad: &str, stride: i64) -> Model {
    let (mut net, input) = Net::new();
    let stem = net.random_conv(input, [16, 3, 1, 1], "stem");
    let stem = net.op("Relu", vec![stem], "stem.relu");
    let branch = |net: &mut Net, name: &str| -> ValueId {
        let padding = [
            ("auto_pad", AttributeValue::String(auto_pad.to_owned().into())),
            ("strides", AttributeValue::Ints(vec![stride; 2])),
        ];
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

#[track_caller]
fn check(auto_pad: &str, stride: i64) {
    let runtime = Runtime::load(None).unwrap();
    let train = network(auto_pad, stride);
    let truth = outputs(&runtime, &plain(&train));

    let fused = fuse(train.clone(), &Options::default()).unwrap();
    assert_eq!(fused.report.deploy.count("Conv"), 2, "{}", fused.report);
    check_close(&truth, &outputs(&runtime, &plain(&fused.model)));

    check_close(&truth, &outputs(&runtime, &lowered(&runtime, &fused.model, 2)));

    // Also without fusing: the padding that an exporter wrote is what is lowered and quantized.
    check_close(&truth, &outputs(&runtime, &lowered(&runtime, &train, 3)));

    for (graph, convolutions) in [(fused.model, 2), (train, 3)] {
        let (agreement, operators) = quantized(graph);
        assert_eq!(count(&operators, "QLinearConv"), convolutions, "{operators:?}");
        assert!(agreement.snr_db > 30.0, "{agreement}");
    }
}

#[test]
fn convolutions_without_padding() {
    check("NOTSET", 1);
    check("VALID", 2);
}

#[test]
fn convolutions_that_keep_the_size() {
    check("SAME_UPPER", 1);
    check("SAME_LOWER", 1);
}

#[test]
fn strided_convolutions_of_which_one_side_gets_more_padding() {
    check("SAME_UPPER", 2);
    check("SAME_LOWER", 2);
}

#[test]
fn a_padding_that_depends_on_an_unknown_size_stays_with_onnx_runtime_in_int8_and_is_lowered_for_a_known_one() {
    let runtime = Runtime::load(None).unwrap();
    let mut train = network("SAME_UPPER", 2);
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
