//! What decoders make of attributes, given, left out and odd.

use super::*;
use crate::shapes::Shapes;
use crate::{AttributeValue, DType, Dim, Graph, Node, Tensor, Value, ValueId};

/// One node of `op` over an image and constants.
struct Net {
    graph: Graph,
    node: Node,
    opset: i64,
}

/// An image of channels and extents behind a dynamic batch; 0 is an extent that is not known.
fn net(op: &str, image: &[usize], constants: &[Tensor]) -> Net {
    let mut graph = Graph::default();
    let dim = |n: &usize| {
        if *n == 0 {
            Dim::Symbol("n".into())
        } else {
            Dim::Fixed(*n)
        }
    };
    let shape = std::iter::once(Dim::Symbol("batch".into())).chain(image.iter().map(dim));
    let input = graph.add_value(Value {
        dtype: Some(DType::F32),
        shape: Some(shape.collect()),
        ..Value::named("x")
    });
    graph.inputs.push(input);
    let constants = constants.iter().map(|c| graph.add_constant("c", c.clone()));
    let inputs: Vec<ValueId> = std::iter::once(input).chain(constants.collect::<Vec<_>>()).collect();
    Net {
        graph,
        node: Node::new(op, inputs, Vec::new()),
        opset: 17,
    }
}

impl Net {
    fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.node = self.node.with(name, value);
        self
    }

    fn ints(self, name: &str, values: &[i64]) -> Self {
        self.with(name, AttributeValue::Ints(values.to_vec()))
    }

    fn string(self, name: &str, value: &str) -> Self {
        self.with(name, AttributeValue::String(value.to_owned().into()))
    }

    fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    /// What `decode` makes of the node.
    fn decode<T>(&self, decode: impl FnOnce(&NodeView<'_>) -> T) -> T {
        let shapes = Shapes::infer(&self.graph, self.opset);
        let view = GraphView {
            graph: &self.graph,
            shapes: &shapes,
            opset: self.opset,
        };
        decode(&view.node(&self.node))
    }

    fn conv(&self) -> Result<Conv, OperatorError> {
        self.decode(|view| Conv::of(view).map(|conv| conv.expect("a convolution")))
    }
}

fn weights(shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape, &vec![1.0; shape.iter().product()])
}

fn conv(image: &[usize], kernel: &[usize]) -> Net {
    net("Conv", image, &[weights(&[&[8, 4], kernel].concat())])
}

fn int(value: i64) -> AttributeValue {
    AttributeValue::Int(value)
}

#[test]
fn what_a_convolution_leaves_out_has_the_standards_defaults() {
    let conv = conv(&[4, 9, 9], &[3, 5]).conv().unwrap();
    let expected = Window {
        kernel: vec![3, 5],
        ..Window::pointwise(2)
    };
    assert_eq!((conv.groups, conv.in_channels, conv.out_channels), (1, 4, 8));
    assert_eq!(conv.window, expected);
}

#[test]
fn empty_lists_stand_for_the_defaults_as_in_onnx_runtime() {
    let net = conv(&[4, 9, 9], &[3, 3])
        .ints("strides", &[])
        .ints("pads", &[])
        .ints("kernel_shape", &[]);
    assert_eq!(net.conv(), conv(&[4, 9, 9], &[3, 3]).conv());
}

/// Zeros that a 3x3 convolution of `stride` gets over an image of `extent` by `extent`.
#[track_caller]
fn check_pads(auto_pad: &str, stride: i64, extent: usize, expected: Result<[usize; 4], OperatorError>) {
    let net = conv(&[4, extent, extent], &[3, 3])
        .string("auto_pad", auto_pad)
        .ints("strides", &[stride; 2]);
    let pads = net
        .conv()
        .and_then(|conv| conv.window.over_image())
        .map(|window| window.pads);
    assert_eq!(pads, expected);
}

#[test]
fn every_auto_pad_is_resolved_where_extents_are_known() {
    check_pads("NOTSET", 1, 8, Ok([0; 4]));
    check_pads("", 1, 8, Ok([0; 4]));
    check_pads("VALID", 2, 8, Ok([0; 4]));
    check_pads("SAME_UPPER", 1, 8, Ok([1; 4]));
    check_pads("SAME_UPPER", 2, 8, Ok([0, 0, 1, 1]));
    check_pads("SAME_LOWER", 2, 8, Ok([1, 1, 0, 0]));
    check_pads("SAME_LOWER", 2, 9, Ok([1; 4]));
    check_pads("SAME_UPPER", 3, 9, Ok([0; 4]));
}

#[test]
fn a_same_padding_of_stride_one_needs_no_extents_and_another_says_so() {
    check_pads("SAME_LOWER", 1, 0, Ok([1; 4]));
    check_pads("SAME_LOWER", 2, 0, Err(OperatorError::AutoPad));
    let net = conv(&[4, 0, 0], &[3, 3])
        .string("auto_pad", "SAME_LOWER")
        .ints("strides", &[2; 2]);
    assert_eq!(net.conv().unwrap().window.auto, Some(SamePadding::Lower));
}

#[test]
fn pads_beside_an_auto_pad_do_not_count() {
    let net = conv(&[4, 9, 9], &[3, 3])
        .ints("pads", &[2; 4])
        .string("auto_pad", "VALID");
    assert_eq!(net.conv().unwrap().window.over_image().unwrap().pads, [0; 4]);
}

#[track_caller]
fn check_odd(net: &Net, attribute: &str) {
    match net.conv() {
        Err(OperatorError::Attribute { name, .. }) => assert_eq!(name, attribute),
        other => panic!("{other:?}"),
    }
}

#[test]
fn odd_attributes_of_a_convolution_are_reasons_and_no_guesses() {
    let conv = || conv(&[4, 9, 9], &[3, 3]);
    check_odd(&conv().string("auto_pad", "SAME"), "auto_pad");
    check_odd(&conv().with("auto_pad", int(1)), "auto_pad");
    check_odd(&conv().ints("strides", &[0, 1]), "strides");
    check_odd(&conv().ints("strides", &[1]), "strides");
    check_odd(&conv().with("strides", int(1)), "strides");
    check_odd(&conv().ints("dilations", &[1, -1]), "dilations");
    check_odd(&conv().ints("pads", &[-1, 0, 0, 0]), "pads");
    check_odd(&conv().ints("pads", &[i64::MAX; 4]), "pads");
    check_odd(&conv().ints("kernel_shape", &[3, 4]), "kernel_shape");
    check_odd(&conv().with("group", int(0)), "group");
    check_odd(&conv().with("group", int(-1)), "group");
    check_odd(&conv().with("group", AttributeValue::Float(1.0)), "group");
    check_odd(&conv().with("group", int(3)), "group");
}

#[test]
fn shapes_that_do_not_fit_are_reasons() {
    for (image, shape) in [(&[4, 9][..], &[8, 4, 3, 3][..]), (&[4, 9, 9], &[8, 4])] {
        let found = net("Conv", image, &[weights(shape)]).conv();
        assert!(matches!(found, Err(OperatorError::Shape(_))), "{found:?}");
    }
    let empty = net("Conv", &[4, 9, 9], &[weights(&[8, 4, 0, 3])]).conv();
    assert_eq!(empty, Err(OperatorError::Shape("the kernel")));
    assert_eq!(
        net("Conv", &[4, 9, 9], &[]).conv(),
        Err(OperatorError::Shape("the weights"))
    );
}

#[test]
fn a_convolution_of_quantized_values_may_lie_with_its_channels_last() {
    let scalar = || Tensor::from_f32(&[], &[1.0]);
    let constants = [
        scalar(),
        scalar(),
        weights(&[8, 4, 3, 3]),
        scalar(),
        scalar(),
        scalar(),
        scalar(),
    ];
    let mut net = net("QLinearConv", &[8, 7, 4], &constants)
        .string("auto_pad", "SAME_UPPER")
        .ints("strides", &[2; 2]);
    let pads = |net: &Net| {
        let found = net.decode(QLinearConv::of).unwrap().unwrap();
        (found.channels_last, found.conv.window.over_image().unwrap().pads)
    };
    assert_eq!(pads(&net), (false, [1, 0, 1, 1]), "channels lie first in ONNX's own");
    net.node.domain = MICROSOFT_DOMAIN.to_owned();
    let net = net.with("channels_last", int(1));
    assert_eq!(pads(&net), (true, [0, 1, 1, 1]));
}

#[test]
fn a_sum_of_quantized_values_has_two_terms() {
    let constants: Vec<Tensor> = (0..7).map(|_| Tensor::from_f32(&[], &[1.0])).collect();
    let mut net = net("QLinearAdd", &[8, 7, 4], &constants);
    assert_eq!(net.decode(QLinearAdd::of), Ok(None), "ONNX has none");
    net.node.domain = MICROSOFT_DOMAIN.to_owned();
    let sum = net.decode(QLinearAdd::of).unwrap().unwrap();
    assert_eq!(sum.terms.map(Some), [net.node.input(0), net.node.input(3)]);
    net.node.inputs.truncate(3);
    assert!(net.decode(QLinearAdd::of).is_err());
}

#[test]
fn other_operators_are_none() {
    let relu = net("Relu", &[4, 9, 9], &[]);
    assert_eq!(relu.decode(Conv::of), Ok(None));
    assert_eq!(relu.decode(Pool::of), Ok(None));
    assert_eq!(relu.decode(Gemm::of), Ok(None));
    let mut foreign = conv(&[4, 9, 9], &[3, 3]);
    foreign.node.domain = "com.example".into();
    assert_eq!(foreign.decode(Conv::of), Ok(None));
}

#[test]
fn a_matrix_product_has_factors_of_one_and_reads_no_odd_ones() {
    let plain = net("Gemm", &[4], &[weights(&[3, 4])]).with("transB", int(1));
    let gemm = plain.decode(Gemm::of).unwrap().unwrap();
    assert_eq!((gemm.alpha, gemm.beta, gemm.input_transposed), (1.0, 1.0, false));
    assert_eq!(gemm.features([3, 4]), [4, 3]);
    let odd = plain.with("alpha", int(2)).decode(Gemm::of);
    assert!(
        matches!(odd, Err(OperatorError::Attribute { name: "alpha", .. })),
        "{odd:?}"
    );
}

#[test]
fn batch_normalization_trains_by_default_before_version_seven() {
    let trains = |opset, attribute: &str| {
        let statistics = [(); 4].map(|()| weights(&[4]));
        let net = net("BatchNormalization", &[4], &statistics)
            .opset(opset)
            .with(attribute, int(1));
        net.decode(BatchNormalization::of).unwrap().unwrap().trains
    };
    assert!(trains(6, "other"));
    assert!(!trains(6, "is_test"));
    assert!(!trains(7, "other"));
    assert!(trains(14, "training_mode"));
}

#[test]
fn a_clip_has_the_bounds_that_are_given() {
    let bounds = |net: Net| net.decode(Clip::of).map(|clip| clip.map(|clip| (clip.low, clip.high)));
    let bound = |v: f32| Tensor::from_f32(&[], &[v]);
    assert_eq!(bounds(net("Relu", &[4], &[])), Ok(Some((Some(0.0), None))));
    assert_eq!(
        bounds(net("Clip", &[4], &[bound(0.0), bound(6.0)])),
        Ok(Some((Some(0.0), Some(6.0))))
    );
    let old = net("Clip", &[4], &[]).opset(6).with("max", AttributeValue::Float(6.0));
    assert_eq!(bounds(old), Ok(Some((None, Some(6.0)))));
    let odd = bounds(net("Clip", &[4], &[weights(&[2])]));
    assert!(matches!(odd, Err(OperatorError::Operand { index: 1, .. })), "{odd:?}");
}

#[test]
fn a_transposition_without_an_order_reverses_and_one_without_sense_is_odd() {
    let order = |net: Net| net.decode(Transpose::of).map(|turn| turn.map(|turn| turn.order));
    assert_eq!(order(net("Transpose", &[4, 9], &[])), Ok(Some(vec![2, 1, 0])));
    for odd in [&[0, 0, 1][..], &[0, 1], &[0, 1, 3], &[-1, 0, 1]] {
        assert!(order(net("Transpose", &[4, 9], &[]).ints("perm", odd)).is_err());
    }
}

#[test]
fn pads_have_both_names_and_may_name_their_axes() {
    let ends = |net: Net, rank| {
        net.decode(|view| Pad::of(view).map(|pad| pad.map(|pad| pad.along(rank))))
            .map(Option::unwrap)
    };
    let list = |values: &[i64]| Tensor::from_i64(&[values.len()], values);
    let expected = Ok(Ok([vec![0, 1, 0], vec![0, 2, 0]]));
    assert_eq!(ends(net("Pad", &[4, 9], &[list(&[0, 1, 0, 0, 2, 0])]), 3), expected);
    let old = |name: &str| net("Pad", &[4, 9], &[]).opset(1).ints(name, &[0, 1, 0, 0, 2, 0]);
    assert_eq!(ends(old("pads"), 3), expected);
    assert_eq!(ends(old("paddings"), 3), expected);
    let fill = Tensor::from_f32(&[], &[0.0]);
    let named = [list(&[1, 2]), fill, list(&[-2])];
    assert_eq!(ends(net("Pad", &[4, 9], &named), 3), expected);
    assert_eq!(ends(old("pads"), 4), Ok(Err(OperatorError::Shape("the input"))));
    assert!(ends(net("Pad", &[4, 9], &[list(&[1, 2, 3])]), 3).is_err());
}

#[test]
fn a_slice_takes_what_the_standard_says() {
    let range = |start, end, step, extent| {
        let axis = 0;
        AxisCut { axis, start, end, step }.range(extent)
    };
    assert_eq!(range(1, 7, 2, 5), Some((1, 2)));
    assert_eq!(range(-2, i64::MAX, 1, 5), Some((3, 2)));
    assert_eq!(range(-1, i64::MIN, -2, 5), Some((4, 3)));
    assert_eq!(range(4, 2, 1, 5), Some((0, 0)));
    assert_eq!(range(0, 9, 1, 0), Some((0, 0)));
    assert_eq!(range(0, 9, i64::MIN, 3), None);
    let list = |v: i64| Tensor::from_i64(&[1], &[v]);
    let odd = net("Slice", &[4], &[list(0), list(1), list(0), list(0)]).decode(Slice::of);
    assert!(matches!(odd, Err(OperatorError::Operand { index: 4, .. })), "{odd:?}");
}

#[test]
fn axes_count_from_the_end_and_exist() {
    assert_eq!((axis_of(-1, 3), axis_of(2, 3)), (Some(2), Some(2)));
    assert_eq!((axis_of(3, 3), axis_of(-4, 3), axis_of(0, 0)), (None, None, None));
    assert_eq!(axis_of(i64::MIN, 3), None);
}

#[test]
fn sums_have_a_factor_a_term() {
    let factors = |op: &str, count: usize| {
        let constants = vec![weights(&[4]); count - 1];
        let sum = net(op, &[4], &constants).decode(Sum::of).map(Option::unwrap);
        sum.map(|sum| (sum.terms.into_iter().map(|(_, factor)| factor).collect(), sum.variadic))
    };
    assert_eq!(factors("Add", 2), Ok((vec![1.0, 1.0], false)));
    assert_eq!(factors("Sub", 2), Ok((vec![1.0, -1.0], false)));
    assert_eq!(factors("Sum", 3), Ok((vec![1.0; 3], true)));
    assert_eq!(factors("Mean", 4), Ok((vec![0.25; 4], true)));
    assert_eq!(factors("Mean", 1), Ok((vec![1.0], true)));
    assert_eq!(factors("Add", 1), Err(OperatorError::MissingInput(1)));
    assert_eq!(net("Mul", &[4], &[weights(&[4])]).decode(Sum::of), Ok(None));
}

#[test]
fn a_quotient_is_no_product() {
    let divides = |op: &str| {
        let scaling = net(op, &[4], &[weights(&[4])]).decode(Scaling::of);
        scaling.map(|scaling| scaling.map(|scaling| scaling.divides))
    };
    assert_eq!(divides("Mul"), Ok(Some(false)));
    assert_eq!(divides("Div"), Ok(Some(true)));
    assert_eq!(divides("Add"), Ok(None));
    assert_eq!(
        net("Div", &[4], &[]).decode(Scaling::of),
        Err(OperatorError::MissingInput(1))
    );
}

#[test]
fn operands_align_as_attributes_say_before_version_seven_and_at_their_ends_since() {
    let add = |opset| net("Add", &[4, 9], &[weights(&[4])]).opset(opset);
    let aligned = |net: Net| net.decode(Alignment::of);
    assert_eq!(aligned(add(6)), Ok(Alignment::Same));
    assert_eq!(aligned(add(6).with("broadcast", int(1))), Ok(Alignment::Last));
    let at = |axis| add(6).with("broadcast", int(1)).with("axis", int(axis));
    assert_eq!(aligned(at(1)), Ok(Alignment::From(1)));
    assert_eq!(aligned(add(7)), Ok(Alignment::Last));
    let odd = aligned(add(6).ints("broadcast", &[1]));
    assert!(
        matches!(odd, Err(OperatorError::Attribute { name: "broadcast", .. })),
        "{odd:?}"
    );
}

#[test]
fn dropout_trains_where_it_is_asked_to_and_by_default_before_version_seven() {
    let flag = |on: u8| Tensor::new(DType::Bool, Vec::new(), vec![on].into()).unwrap();
    let trains = |net: Net| net.decode(Dropout::of).unwrap().unwrap().trains;
    assert!(!trains(net("Dropout", &[4], &[])));
    assert!(!trains(net("Dropout", &[4], &[weights(&[]), flag(0)])));
    assert!(trains(net("Dropout", &[4], &[weights(&[]), flag(1)])));
    assert!(trains(net("Dropout", &[4], &[]).opset(6)));
    assert!(!trains(net("Dropout", &[4], &[]).opset(6).with("is_test", int(1))));
    let mut open = net("Dropout", &[4], &[weights(&[])]);
    open.node.inputs.push(open.node.input(0));
    assert!(trains(open), "what is not constant may ask for it");
}

/// Extents of a transposed convolution with a 3x3 kernel over three by three pixels.
#[track_caller]
fn check_transposed(net: Net, expected: [usize; 2]) {
    let conv = net.decode(ConvTranspose::of).unwrap().unwrap();
    assert_eq!([0, 1].map(|axis| conv.places(axis, 3)), expected.map(Some));
}

#[test]
fn transposed_convolutions_have_the_extents_of_the_standards_examples() {
    let conv = || net("ConvTranspose", &[1, 3, 3], &[weights(&[1, 2, 3, 3])]);
    check_transposed(conv(), [5, 5]);
    let strided = || conv().ints("strides", &[3, 2]);
    check_transposed(strided().ints("pads", &[1, 2, 1, 2]), [7, 3]);
    check_transposed(strided().ints("output_padding", &[1, 1]), [10, 8]);
    check_transposed(strided().ints("output_shape", &[10, 8]), [10, 8]);
    check_transposed(conv().ints("strides", &[2, 2]).string("auto_pad", "SAME_UPPER"), [6, 6]);
    check_transposed(strided().ints("pads", &[1; 4]).string("auto_pad", "VALID"), [9, 7]);
    check_transposed(conv().ints("dilations", &[2, 2]), [7, 7]);
}

#[test]
fn a_transposed_convolution_reads_its_channels_from_the_weights_and_odd_ones_are_reasons() {
    let conv = |shape: &[usize]| net("ConvTranspose", &[4, 3, 3], &[weights(shape)]);
    let found = conv(&[4, 3, 2, 2]).with("group", int(2)).decode(ConvTranspose::of);
    let found = found.unwrap().unwrap();
    assert_eq!((found.in_channels, found.out_channels, found.groups), (4, 6, 2));
    assert_eq!(found.places(0, 0), None);
    assert_eq!(found.places(2, 3), None);
    for odd in [
        conv(&[4, 3, 2]),
        conv(&[4, 0, 2, 2]),
        conv(&[4, 3, 2, 2]).with("group", int(3)),
        conv(&[4, 3, 2, 2]).ints("output_padding", &[1]),
        conv(&[4, 3, 2, 2]).ints("output_shape", &[-1, 1]),
        conv(&[4, 3, 2, 2]).string("auto_pad", "SAME"),
    ] {
        assert!(odd.decode(ConvTranspose::of).is_err());
    }
    let cropped = conv(&[4, 3, 2, 2]).ints("pads", &[9; 4]).decode(ConvTranspose::of);
    assert_eq!(cropped.unwrap().unwrap().places(0, 3), None);
}

#[test]
fn a_mean_over_all_pixels_is_a_global_average_and_one_over_channels_is_not() {
    let keeps = |net: Net| {
        let found = net.decode(GlobalAverage::of);
        found.map(|found| found.map(|found| found.keeps_axes))
    };
    let mean = |axes: &[i64]| net("ReduceMean", &[4, 9, 9], &[]).ints("axes", axes);
    assert_eq!(keeps(net("GlobalAveragePool", &[4, 9, 9], &[])), Ok(Some(true)));
    assert_eq!(keeps(mean(&[2, 3])), Ok(Some(true)));
    assert_eq!(keeps(mean(&[-1, -2]).with("keepdims", int(0))), Ok(Some(false)));
    assert_eq!(keeps(mean(&[1])), Ok(None));
    assert_eq!(keeps(mean(&[3])), Ok(None));
    assert_eq!(
        keeps(net("ReduceMean", &[4, 9, 9], &[])),
        Ok(None),
        "it takes the batch too"
    );
    assert_eq!(keeps(net("GlobalMaxPool", &[4, 9, 9], &[])), Ok(None));
    assert!(keeps(mean(&[7])).is_err());
}

#[test]
fn scatters_overwrite_unless_a_reduction_is_asked_for() {
    let scatter = |net: Net| net.decode(Scatter::of).map(Option::unwrap);
    let elements = |axis| net("ScatterElements", &[4, 9], &[]).with("axis", int(axis));
    let (axis, reduces) = (Some(2), false);
    assert_eq!(scatter(elements(-1)), Ok(Scatter { axis, reduces }));
    let added = scatter(net("ScatterND", &[4, 9], &[]).string("reduction", "add"));
    assert_eq!(
        added,
        Ok(Scatter {
            axis: None,
            reduces: true
        })
    );
    assert!(scatter(elements(3)).is_err());
    assert!(!Scatter::is(&Node::new("Gather", Vec::new(), Vec::new())));
}

#[test]
fn a_pad_is_rewritten_where_its_pads_stand() {
    let list = |values: &[i64]| Tensor::from_i64(&[values.len()], values);
    let own = net("Pad", &[4], &[list(&[0, 0, 0, 0])]);
    let (node, constant) = Pad::repadded(own.node.clone(), vec![0, 1, 0, 2]);
    assert_eq!(constant, Some((1, list(&[0, 1, 0, 2]))));
    assert_eq!(node, own.node);
    for name in ["pads", "paddings"] {
        let mut old = net("Pad", &[4], &[]).opset(2).ints(name, &[0; 4]);
        let constant;
        (old.node, constant) = Pad::repadded(old.node, vec![0, 1, 0, 2]);
        assert_eq!(constant, None);
        let along = old.decode(|view| Pad::of(view).unwrap().unwrap().along(2));
        assert_eq!(along, Ok([vec![0, 1], vec![0, 2]]));
    }
}

#[test]
fn a_padding_is_made_of_elements_of_the_inputs_type() {
    let list = Tensor::from_i64(&[2], &[0, 0]);
    let fill = |net: Net, dtype| net.decode(|view| Pad::fill_element(view, dtype));
    let number = Tensor::from_f32(&[], &[1.5]);
    let plain = || net("Pad", &[4], std::slice::from_ref(&list));
    let filled = || net("Pad", &[4], &[list.clone(), number.clone()]);
    assert_eq!(fill(filled(), DType::F32), Ok(number.clone()));
    assert!(fill(filled(), DType::I64).is_err());
    assert_eq!(fill(plain(), DType::I64), Ok(Tensor::from_i64(&[], &[0])));
    let old = || net("Pad", &[4], &[]).with("value", AttributeValue::Float(1.5));
    assert_eq!(fill(old(), DType::F32), Ok(number));
    assert!(fill(old(), DType::I64).is_err());
    assert!(fill(plain(), DType::Other(8)).is_err(), "strings have no zero");
}

#[test]
fn constants_of_shapes_are_of_one_value() {
    let value = |net: Net| net.decode(ConstantOfShape::of).map(|found| found.unwrap().value);
    let made = || net("ConstantOfShape", &[], &[]);
    assert_eq!(value(made()), Ok(Tensor::from_f32(&[1], &[0.0])));
    let two = made().with("value", AttributeValue::Tensor(weights(&[2])));
    assert!(value(two).is_err());
    assert!(net("Constant", &[], &[]).decode(Constant::of).is_err());
}

#[test]
fn an_expansion_asks_for_extents() {
    let extents = |list: &[i64]| {
        let target = Tensor::from_i64(&[list.len()], list);
        let found = net("Expand", &[4], &[target]).decode(Expand::of);
        found.map(|found| found.unwrap().extents)
    };
    assert_eq!(extents(&[3, 1, 4]), Ok(vec![3, 1, 4]));
    assert!(extents(&[-1, 4]).is_err());
}
