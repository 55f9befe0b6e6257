//! That equalization leaves the function equal, and which factors it takes.

use proptest::prelude::*;
use repserve_graph::{AttributeValue, Model, Node, Value};

use super::*;
use crate::layers::layers;

/// Weights and biases of a 1x1 convolution, a depthwise 1x1 one and another 1x1 one, with a ReLU between each two.
#[derive(Debug, Clone)]
struct Chain {
    widths: [usize; 3],
    weights: [Vec<f32>; 3],
    biases: [Vec<f32>; 3],
}

impl Chain {
    fn random(widths: [usize; 3], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut numbers = |count: usize| (0..count).map(|_| random.f32() * 2.0 - 1.0).collect::<Vec<f32>>();
        let [from, width, to] = widths;
        Self {
            widths,
            weights: [numbers(width * from), numbers(width), numbers(to * width)],
            biases: [numbers(width), numbers(width), numbers(to)],
        }
    }

    fn model(&self) -> Model {
        let [from, width, to] = self.widths;
        let shapes = [[width, from, 1, 1], [width, 1, 1, 1], [to, width, 1, 1]];
        let mut graph = Graph::default();
        let mut value = graph.add_value(Value::named("input"));
        graph.inputs.push(value);
        for (i, shape) in shapes.iter().enumerate() {
            let weight = graph.add_constant(format!("weight_{i}"), Tensor::from_f32(shape, &self.weights[i]));
            let bias = graph.add_constant(format!("bias_{i}"), Tensor::from_f32(&shape[..1], &self.biases[i]));
            let out = graph.add_value(Value::named(format!("conv_{i}")));
            let groups = if i == 1 { width as i64 } else { 1 };
            let node = Node::new("Conv", vec![value, weight, bias], vec![out]);
            graph.push_node(node.with("group", AttributeValue::Int(groups)));
            value = graph.add_value(Value::named(format!("relu_{i}")));
            graph.push_node(Node::new("Relu", vec![out], vec![value]));
        }
        graph.outputs.push(value);
        Model {
            graph,
            opsets: vec![(String::new(), 17)],
            ..Model::default()
        }
    }
}

/// What the chain returns, in f64 of the f32 constants that the graph holds.
fn run(graph: &Graph, layers: &[Layer], input: &[f64]) -> Vec<f64> {
    let mut values = input.to_vec();
    for layer in layers {
        let (weights, biases) = (layer.weights(graph), layer.biases(graph));
        let inputs = |row: usize| row * layer.groups / layer.rows * layer.columns;
        let sum = |row: usize| -> f64 {
            let products = (0..layer.columns).map(|c| weights[row * layer.columns + c] * values[inputs(row) + c]);
            products.sum::<f64>() + biases[row]
        };
        values = (0..layer.rows).map(|row| sum(row).max(0.0)).collect();
    }
    values
}

#[test]
fn factors_are_quarters_of_powers_of_two() {
    for exponent in -EXPONENT_MAX..=EXPONENT_MAX {
        let exact = (f64::from(exponent) / 4.0).exp2();
        assert!((f64::from(factor(exponent)) / exact - 1.0).abs() < 1e-7, "{exponent}");
    }
    assert_eq!([-8, -4, 0, 4, 12].map(factor), [0.25, 0.5, 1.0, 2.0, 8.0]);
}

#[test]
fn ends_are_divided_by_their_geometric_mean_to_a_power() {
    assert_eq!(of_ends(&[1.0, 4.0], 1.0), [-4, 4]);
    assert_eq!(of_ends(&[1.0, 4.0], 0.5), [-2, 2]);
    assert_eq!(
        of_ends(&[0.0, 1.0, 1e9, 1e-9], 1.0),
        [0, 0, EXPONENT_MAX, -EXPONENT_MAX]
    );
    assert_eq!(of_ends(&[], 1.0), [0i8; 0]);
}

#[test]
fn what_a_depthwise_convolution_reads_is_equalized_wholly() {
    let model = Chain::random([2, 2, 3], 1).model();
    let layers = layers(&model);
    let ends = |name: &str| (name.to_owned(), vec![1.0, 4.0]);
    let ends = BTreeMap::from([ends("relu_0"), ends("relu_1")]);
    let found = exponents(&model.graph, &layers, &ends, 0.5);
    assert_eq!((&found["relu_0"], &found["relu_1"]), (&vec![-4, 4], &vec![-2, 2]));
}

proptest! {
    #[test]
    fn the_function_stays_equal(
        widths in (1usize..4, 2usize..6, 1usize..4),
        seed in any::<u64>(),
        exponents in proptest::collection::vec(-EXPONENT_MAX..=EXPONENT_MAX, 12),
        whole in any::<bool>(),
    ) {
        let (from, width, to) = widths;
        let model = Chain::random([from, width, to], seed).model();
        let layers = layers(&model);
        let exponents: Vec<i8> = exponents.iter().map(|e| if whole { e / PARTS * PARTS } else { *e }).collect();
        let mut equalized = model.graph.clone();
        prop_assert!(apply(&mut equalized, &layers, "relu_0", &exponents[..width]).is_some());
        prop_assert!(apply(&mut equalized, &layers, "relu_1", &exponents[6..6 + width]).is_some());
        prop_assert!(apply(&mut equalized, &layers, "relu_2", &exponents[..to]).is_none());
        let input: Vec<f64> = (0..from).map(|i| i as f64 - 1.0).collect();
        let (before, after) = (run(&model.graph, &layers, &input), run(&equalized, &layers, &input));
        // Factors that are whole powers of two lose no bit; others round each constant to f32.
        let allowed = if whole { 1e-12 } else { 1e-5 };
        for (a, b) in before.iter().zip(&after) {
            prop_assert!((a - b).abs() <= allowed, "{a} {b}");
        }
    }
}
