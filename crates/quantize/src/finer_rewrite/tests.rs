//! The form of small graphs, and that putting channels in another order changes nothing.

use repserve_graph::{DType, Dim, Model, Node, Tensor, Value, ValueId};

use super::*;
use crate::calibration::{Calibration, ValueRange};
use crate::finer::{self, Pair};
use crate::layers::layers;
use crate::range::Range;
use crate::rewrite::{rewrite, rewrite_exposing};

const CHANNELS: usize = 16;

/// 1x1, depthwise 3x3 and 1x1 again, each with a ReLU, and a mean.
fn model(opset: i64) -> Model {
    let mut graph = Graph::default();
    let input = graph.add_value(Value {
        dtype: Some(DType::F32),
        shape: Some([1, 4, 6, 6].map(Dim::Fixed).to_vec()),
        ..Value::named("input")
    });
    graph.inputs.push(input);
    let mut value = input;
    let shapes = [[CHANNELS, 4, 1, 1], [CHANNELS, 1, 3, 3], [8, CHANNELS, 1, 1]];
    for (name, shape) in ["first", "depthwise", "second"].into_iter().zip(shapes) {
        let count: usize = shape.iter().product();
        let weights: Vec<f32> = (0..count).map(|i| ((i * 37) % 65) as f32 / 100.0 - 0.3).collect();
        let weight = graph.add_constant(format!("{name}_w"), Tensor::from_f32(&shape, &weights));
        let biases: Vec<f32> = (0..shape[0]).map(|row| row as f32 / 50.0).collect();
        let bias = graph.add_constant(format!("{name}_b"), Tensor::from_f32(&[shape[0]], &biases));
        let sums = graph.add_value(Value::named(format!("{name}_sums")));
        let out = graph.add_value(Value::named(name));
        let mut conv = Node::new("Conv", vec![value, weight, bias], vec![sums]);
        if shape[2] == 3 {
            conv = conv
                .with("pads", AttributeValue::Ints(vec![1; 4]))
                .with("group", AttributeValue::Int(CHANNELS as i64));
        }
        graph.push_node(conv);
        graph.push_node(Node::new("Relu", vec![sums], vec![out]));
        value = out;
    }
    graph.value_mut(value).dtype = Some(DType::F32);
    graph.outputs.push(value);
    Model {
        graph,
        opsets: vec![(String::new(), opset)],
        ..Model::default()
    }
}

/// A calibration of the model in which nothing is finer.
fn calibration(model: &Model) -> Calibration {
    let layers = layers(model);
    let record = |layer: &Layer| {
        let weights = layer.weights(&model.graph);
        let scales = crate::scale::scales(&weights, layer.columns, layer.taps());
        let steps = rounding::steps(&weights, &scales, layer.columns);
        LayerRecord {
            layer: layer.name.clone(),
            precision: Precision::Int8,
            snr_db: 0.0,
            gain_if_fp32_db: None,
            equalization: Vec::new(),
            bias_correction: vec![0.0; layer.rows],
            rounding: crate::directions::encode(&rounding::nearest(&steps), &steps),
            returns: Returns::Uint8,
            channels_16_bit: Vec::new(),
            noise: Vec::new(),
        }
    };
    let ranges = ["input", "first", "depthwise", "second"].map(|value| ValueRange {
        value: value.to_owned(),
        range: Range { low: 0.0, high: 2.0 },
    });
    Calibration {
        ranges: ranges.to_vec(),
        layers: layers.iter().map(record).collect(),
        ..crate::calibration::tests::example()
    }
}

/// The same with all that can be finer.
fn finer_calibration(model: &Model) -> Calibration {
    let pairs = finer::pairs(&model.graph, &layers(model));
    let wanted = Pair {
        first: 0,
        depthwise: 1,
        reader: Some(2),
    };
    assert_eq!(pairs, [wanted]);
    let mut calibration = calibration(model);
    calibration.make_finer(&pairs, &[vec![3, 9]]);
    calibration.returns(1, Returns::Uint16, 4.0);
    calibration
}

fn named(model: &Model, name: &str) -> ValueId {
    let mut values = model.graph.nodes().flat_map(|(_, node)| node.inputs.iter().flatten());
    *values.find(|value| model.graph.value(**value).name == name).unwrap()
}

#[test]
fn a_pair_is_written_as_convolutions_in_f32_of_quantized_values() {
    let plain = model(17);
    let int8 = rewrite(plain.clone(), &calibration(&plain)).unwrap();
    assert_eq!(int8.graph.op_counts().get("QLinearConv"), Some(&3));
    let int8 = rewrite(plain.clone(), &finer_calibration(&plain)).unwrap();
    let counts = int8.graph.op_counts();
    assert_eq!(counts.get("QLinearConv"), None, "{counts:?}");
    assert_eq!(counts.get("Conv"), Some(&3));
    let microsoft = int8.graph.nodes().filter(|(_, node)| node.domain == MICROSOFT_DOMAIN);
    assert_eq!(microsoft.count(), 2, "16 bits are quantized and dequantized");
    let codes = int8
        .graph
        .constant(named(&int8, "first_weight_int16"))
        .unwrap()
        .to_i64()
        .unwrap();
    let wide: Vec<bool> = codes
        .chunks(4)
        .map(|row| row.iter().any(|code| code.abs() > 127))
        .collect();
    let first_two: Vec<bool> = (0..CHANNELS).map(|row| row < 2).collect();
    assert_eq!(wide, first_two);
}

#[test]
fn weights_stand_for_what_they_were_in_the_new_order() {
    let plain = model(17);
    let int8 = rewrite(plain.clone(), &finer_calibration(&plain)).unwrap();
    let order: Vec<usize> = [3, 9]
        .into_iter()
        .chain((0..CHANNELS).filter(|c| ![3, 9].contains(c)))
        .collect();
    let numbers = |model: &Model, name: &str| model.graph.constant(named(model, name)).unwrap().to_f64().unwrap();
    let codes = int8
        .graph
        .constant(named(&int8, "first_weight_int16"))
        .unwrap()
        .to_i64()
        .unwrap();
    let scales = numbers(&int8, "first_weight_scale");
    let (exact, biases) = (numbers(&plain, "first_w"), numbers(&int8, "first_bias"));
    for (place, row) in order.iter().enumerate() {
        for column in 0..4 {
            let found = codes[place * 4 + column] as f64 * scales[place];
            let step = if place < 2 { 2.0 * scales[place] } else { scales[place] };
            assert!((found - exact[row * 4 + column]).abs() <= step, "{place} {column}");
        }
        assert!((biases[place] - *row as f64 / 50.0).abs() < 0.001);
    }
    let (found, exact) = (numbers(&int8, "depthwise_w"), numbers(&plain, "depthwise_w"));
    for (place, row) in order.iter().enumerate() {
        assert_eq!(found[place * 9..][..9], exact[row * 9..][..9]);
    }
    let codes = int8
        .graph
        .constant(named(&int8, "second_weight_int8"))
        .unwrap()
        .to_i64()
        .unwrap();
    let (scales, exact) = (numbers(&int8, "second_weight_scale"), numbers(&plain, "second_w"));
    for row in 0..8 {
        for (place, column) in order.iter().enumerate() {
            let found = codes[row * CHANNELS + place] as f64 * scales[row];
            assert!(
                (found - exact[row * CHANNELS + column]).abs() <= scales[row],
                "{row} {place}"
            );
        }
    }
    let exposed = rewrite_exposing(plain.clone(), &finer_calibration(&plain), true).unwrap();
    assert_eq!(numbers(&exposed, "depthwise_w"), numbers(&plain, "depthwise_w"));
}

#[test]
fn an_operator_set_without_a_scale_a_channel_and_a_foreign_channel_are_refused_or_left_alone() {
    let old = model(12);
    let mut calibration = finer_calibration(&old);
    let error = rewrite(old.clone(), &calibration).unwrap_err();
    assert!(matches!(error, Error::Opset { found: 12, wanted: 13 }), "{error}");
    let plain = model(17);
    calibration.layers[0].channels_16_bit = vec![3, 99];
    rewrite(plain, &calibration).unwrap();
}

#[test]
fn parts_are_reordered_along_either_axis() {
    let mut graph = Graph::default();
    let constant = graph.add_constant(
        "c".to_owned(),
        Tensor::from_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
    );
    reorder(&mut graph, constant, 1, &[2, 0, 1]);
    reorder(&mut graph, constant, 0, &[1, 0]);
    reorder(&mut graph, constant, 0, &[0]);
    let found = graph.constant(constant).unwrap().to_f64().unwrap();
    assert_eq!(found, [5.0, 3.0, 4.0, 2.0, 0.0, 1.0]);
}
