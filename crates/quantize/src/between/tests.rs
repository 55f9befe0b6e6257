//! Small graphs whose values are quantized by hand.

use repserve_graph::shapes::Shapes;
use repserve_graph::{Model, Tensor, verify};

use super::*;

/// A graph of f32 values of eight channels, some of which are quantized.
struct Net {
    model: Model,
    tensors: HashMap<ValueId, Quantized>,
}

fn find(model: &Model) -> Between {
    Between::find(&GraphView::of(model, &Shapes::of_model(model)))
}

impl Net {
    fn new() -> Self {
        Self {
            model: Model {
                opsets: vec![(String::new(), 17)],
                ..Model::default()
            },
            tensors: HashMap::new(),
        }
    }

    fn input(&mut self, name: &str) -> ValueId {
        let extents = [8, 4, 4].map(Dim::Fixed);
        let value = self.model.graph.add_value(Value {
            dtype: Some(DType::F32),
            shape: Some(std::iter::once(Dim::Symbol("batch".into())).chain(extents).collect()),
            ..Value::named(name)
        });
        self.model.graph.inputs.push(value);
        value
    }

    fn op(&mut self, op: &str, inputs: &[ValueId]) -> ValueId {
        let name = format!("{op}_{}", self.model.graph.nodes().count());
        let out = self.model.graph.add_value(Value::named(name));
        self.model.graph.push_node(Node::new(op, inputs.to_vec(), vec![out]));
        out
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("constant_{}", self.model.graph.constants().count());
        self.model.graph.add_constant(name, tensor)
    }

    /// Quantizes a value, from zero up to `high`, by a node that stands at the end.
    fn quantize(&mut self, value: ValueId, high: f32) {
        let scale = self.constant(Tensor::from_f32(&[], &[high / 255.0]));
        let zero = self.constant(Tensor::new(DType::U8, vec![], vec![0].into()).unwrap());
        let codes = self.op("QuantizeLinear", &[value, scale, zero]);
        self.tensors.insert(value, [codes, scale, zero]);
    }

    /// The operators of the graph after the rewriting, in its order, that make these values.
    #[track_caller]
    fn check(mut self, outputs: &[ValueId], expected: &[&str]) {
        let codes = |value: &ValueId| self.tensors.get(value).map_or(*value, |quantized| quantized[0]);
        self.model.graph.outputs = outputs.iter().map(codes).collect();
        let any = find(&self.model).quantize(&mut self.model.graph, &self.tensors);
        self.model.graph.sweep();
        verify::verify(&self.model.graph).unwrap();
        let found: Vec<_> = self.model.graph.nodes().map(|(_, node)| node.op.as_str()).collect();
        assert_eq!(found, expected);
        assert_eq!(any, found.iter().any(|op| op.starts_with("QLinear")));
    }
}

#[test]
fn a_sum_of_quantized_values_is_one_of_codes_with_its_relu() {
    let mut net = Net::new();
    let (a, b) = (net.input("a"), net.input("b"));
    net.quantize(a, 1.0);
    net.quantize(b, 2.0);
    let sum = net.op("Add", &[a, b]);
    let relu = net.op("Relu", &[sum]);
    net.quantize(relu, 3.0);
    net.check(&[relu], &["QuantizeLinear", "QuantizeLinear", "QLinearAdd"]);
}

#[test]
fn what_reads_the_sum_in_f32_still_does() {
    let mut net = Net::new();
    let (a, b) = (net.input("a"), net.input("b"));
    net.quantize(a, 1.0);
    net.quantize(b, 2.0);
    let sum = net.op("Add", &[a, b]);
    let other = net.op("Sigmoid", &[sum]);
    net.quantize(sum, 3.0);
    let expected = [
        "QuantizeLinear",
        "QuantizeLinear",
        "QLinearAdd",
        "DequantizeLinear",
        "Sigmoid",
    ];
    net.check(&[sum, other], &expected);
}

#[test]
fn the_term_that_is_made_last_comes_first() {
    let mut net = Net::new();
    let early = net.input("early");
    net.quantize(early, 1.0);
    let late = net.op("Relu", &[early]);
    net.quantize(late, 1.0);
    let sum = net.op("Add", &[early, late]);
    net.quantize(sum, 1.0);
    let codes = net.tensors[&late][0];
    let mut graph = net.model.graph.clone();
    assert!(find(&net.model).quantize(&mut graph, &net.tensors));
    let adds = |node: &&Node| node.op == "QLinearAdd";
    let node = graph.nodes().map(|(_, node)| node).find(adds).unwrap();
    assert_eq!((node.input(0), node.inputs.len()), (Some(codes), 8));
}

#[test]
fn sums_stay_where_a_term_is_quantized_later_or_not_at_all() {
    let mut net = Net::new();
    let (a, b) = (net.input("a"), net.input("b"));
    net.quantize(a, 1.0);
    let sum = net.op("Add", &[a, b]);
    net.quantize(b, 1.0);
    net.quantize(sum, 1.0);
    net.check(&[sum], &["Add", "QuantizeLinear"]);

    let mut net = Net::new();
    let (a, b) = (net.input("a"), net.input("b"));
    net.quantize(a, 1.0);
    let sum = net.op("Add", &[a, b]);
    net.quantize(sum, 1.0);
    net.check(&[sum], &["Add", "QuantizeLinear"]);
}

#[test]
fn a_range_beyond_what_the_activation_lets_pass_keeps_it() {
    for (high, fits) in [(6.0, true), (6.01, true), (7.0, false)] {
        let mut net = Net::new();
        let (a, b) = (net.input("a"), net.input("b"));
        net.quantize(a, 4.0);
        net.quantize(b, 4.0);
        let sum = net.op("Add", &[a, b]);
        let bounds = [0.0, 6.0].map(|bound| net.constant(Tensor::from_f32(&[], &[bound])));
        let clip = net.op("Clip", &[sum, bounds[0], bounds[1]]);
        net.quantize(clip, high);
        if fits {
            net.check(&[clip], &["QuantizeLinear", "QuantizeLinear", "QLinearAdd"]);
        } else {
            net.check(&[clip], &["Add", "Clip", "QuantizeLinear"]);
        }
    }
}

#[test]
fn a_mean_of_codes_is_flattened_as_codes() {
    for flattened in [true, false] {
        let mut net = Net::new();
        let input = net.input("input");
        net.quantize(input, 1.0);
        let mut mean = net.op("GlobalAveragePool", &[input]);
        if flattened {
            mean = net.op("Flatten", &[mean]);
        }
        net.quantize(mean, 0.5);
        let expected = ["QuantizeLinear", "QLinearGlobalAveragePool", "Flatten"];
        net.check(&[mean], if flattened { &expected } else { &expected[..2] });
    }
}
