//! Convolutions of every `auto_pad` through fusing, lowering and quantizing, with ONNX Runtime as the truth.

use repserve_graph::onnx::{self, ExternalData};
use repserve_graph::{AttributeValue, ValueId};
use repserve_reparam::{Options, reparameterize};
use repserve_runtime::{Layers, ModelSession, Runtime, SessionOptions, WinogradMode, lower_for_session};

use crate::int8_graphs::{Net, SHAPE, count, images, quantized};

/// A 1x1 convolution, then two parallel 3x3 ones of this padding and stride, which become one.
fn network(auto_pad: &str, stride: i64) -> Vec<u8> {
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

fn outputs(runtime: &Runtime, model: &[u8], layers: Layers) -> Vec<f32> {
    let options = SessionOptions {
        layers,
        ..SessionOptions::default()
    };
    let mut session = ModelSession::from_memory(runtime, model, &options).unwrap();
    session.run(&images(), SHAPE).unwrap().concat()
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
    let truth = outputs(&runtime, &train, Layers::default());

    let deployed = reparameterize(&train, &Options::default()).unwrap();
    assert_eq!(deployed.report.deploy.count("Conv"), 2, "{}", deployed.report);
    check_close(&truth, &outputs(&runtime, &deployed.onnx, Layers::default()));

    let deploy = deployed.onnx.clone().into();
    let lowered = lower_for_session(&runtime, &deploy, WinogradMode::On, SHAPE, None).unwrap();
    assert_eq!(lowered.layers.len(), 2);
    check_close(&truth, &outputs(&runtime, &lowered.model, lowered.layers));

    // Also without fusing: the padding that an exporter wrote is what is lowered and quantized.
    let unfused = lower_for_session(&runtime, &train.clone().into(), WinogradMode::On, SHAPE, None).unwrap();
    assert_eq!(unfused.layers.len(), 3);
    check_close(&truth, &outputs(&runtime, &unfused.model, unfused.layers));

    for (graph, convolutions) in [(deployed.onnx, 2), (train, 3)] {
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
    let mut model = onnx::read(network("SAME_UPPER", 2).into(), &ExternalData::None).unwrap();
    let input = model.graph.inputs[0];
    let shape = model.graph.value_mut(input).shape.as_mut().unwrap();
    shape[2] = repserve_graph::Dim::Symbol("height".into());
    shape[3] = repserve_graph::Dim::Symbol("width".into());
    let train = onnx::write(model).unwrap();
    let truth = outputs(&runtime, &train, Layers::default());
    let lowered = lower_for_session(&runtime, &train.clone().into(), WinogradMode::On, SHAPE, None).unwrap();
    assert_eq!(lowered.layers.len(), 3);
    check_close(&truth, &outputs(&runtime, &lowered.model, lowered.layers));
    let (agreement, operators) = quantized(train);
    assert_eq!(count(&operators, "QLinearConv"), 1, "{operators:?}");
    assert!(agreement.snr_db > 30.0, "{agreement}");
}
