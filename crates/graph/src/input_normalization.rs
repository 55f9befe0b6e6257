//! What a graph does to its input before it computes anything else: whether a classifier normalizes images itself.

use crate::body::Graph;
use crate::known::Shapes;
use crate::model::Model;
use crate::node::Node;
use crate::ops::{BatchNormalization, Constant, GraphView, Scaling, Sum};
use crate::value::ValueId;

/// Nodes that a walk from the input passes at most.
const STEPS_MAX: usize = 16;
/// Channels of an image at most.
const CHANNELS_MAX: usize = 4;

/// A normalization with which a graph begins: `(x - mean) / deviation`, one number a channel, or one for all.
#[derive(Debug, Clone, PartialEq)]
pub struct InputNormalization {
    /// The first operator of it.
    pub operator: String,
    /// What of the input becomes 0.
    pub mean: Vec<f64>,
    /// The distance from it that becomes 1.
    pub deviation: Vec<f64>,
    /// Whether these are the statistics of a batch normalization: those of the inputs that the model was trained with.
    pub learned: bool,
}

/// What was found on the way so far: the input times `factor` plus `shift`.
struct Affine {
    operator: Option<String>,
    factor: Vec<f64>,
    shift: Vec<f64>,
}

impl InputNormalization {
    /// That of the model's first input that is no constant; `None` where it begins with something else.
    pub fn of(model: &Model) -> Option<Self> {
        let graph = &model.graph;
        let shapes = Shapes::default();
        let view = GraphView::of(model, &shapes);
        let mut value = *graph.inputs.iter().find(|value| graph.constant(**value).is_none())?;
        let mut affine = Affine {
            operator: None,
            factor: vec![1.0],
            shift: vec![0.0],
        };
        for _ in 0..STEPS_MAX {
            let Some(node) = graph.only_user(value).and_then(|id| graph.node(id)) else {
                break;
            };
            if let Some(learned) = affine.learned(&view, node) {
                return Some(learned);
            }
            let moves = ["Cast", "Transpose", "Identity", "Unsqueeze"]
                .iter()
                .any(|op| node.is(op));
            if !moves && affine.extend(&view, node, value).is_none() {
                break;
            }
            value = node.output(0)?;
        }
        affine.normalization()
    }
}

impl Affine {
    /// Takes a sum, product or quotient of `value` and a constant in; `None` where the node is anything else.
    fn extend(&mut self, view: &GraphView<'_>, node: &Node, value: ValueId) -> Option<()> {
        let seen = view.node(node);
        let (factor, shift) = if let Ok(Some(sum)) = Sum::of(&seen) {
            let [(a, a_factor), (b, b_factor)] = sum.terms[..] else {
                return None;
            };
            let (own, other, other_factor) = match a == value {
                true => (a_factor, b, b_factor),
                false => (b_factor, a, a_factor),
            };
            let other = channels(view, other)?;
            (vec![own], other.iter().map(|x| x * other_factor).collect())
        } else if let Ok(Some(scaling)) = Scaling::of(&seen) {
            let [a, b] = scaling.operands;
            let other = channels(view, if a == value { b } else { a })?;
            if scaling.divides && a != value {
                return None;
            }
            let factors: Vec<f64> = match scaling.divides {
                true => other.iter().map(|x| x.recip()).collect(),
                false => other,
            };
            (factors, vec![0.0])
        } else {
            return None;
        };
        self.shift = paired(&paired(&self.shift, &factor, |a, b| a * b)?, &shift, |a, b| a + b)?;
        self.factor = paired(&self.factor, &factor, |a, b| a * b)?;
        self.operator.get_or_insert_with(|| node.op.clone());
        Some(())
    }

    /// The statistics of a batch normalization, as statistics of the graph's input.
    fn learned(&self, view: &GraphView<'_>, node: &Node) -> Option<InputNormalization> {
        let normalization = BatchNormalization::of(&view.node(node)).ok()??;
        let mean = channels(view, normalization.mean)?;
        let variance = channels(view, normalization.variance)?;
        let unshifted = paired(&mean, &self.shift, |mean, shift| mean - shift)?;
        let deviation: Vec<f64> = variance.iter().map(|x| x.max(0.0).sqrt()).collect();
        finite(InputNormalization {
            operator: self.operator.clone().unwrap_or_else(|| node.op.clone()),
            mean: paired(&unshifted, &self.factor, |x, factor| x / factor)?,
            deviation: paired(&deviation, &self.factor, |x, factor| (x / factor).abs())?,
            learned: true,
        })
    }

    fn normalization(self) -> Option<InputNormalization> {
        finite(InputNormalization {
            operator: self.operator?,
            mean: paired(&self.shift, &self.factor, |shift, factor| -shift / factor)?,
            deviation: self.factor.iter().map(|factor| factor.recip()).collect(),
            learned: false,
        })
    }
}

fn finite(found: InputNormalization) -> Option<InputNormalization> {
    let mut numbers = found.mean.iter().chain(&found.deviation);
    numbers.all(|x| x.is_finite()).then_some(found)
}

/// The numbers of a constant that has one for all elements or one a channel.
fn channels(view: &GraphView<'_>, value: ValueId) -> Option<Vec<f64>> {
    let graph: &Graph = view.graph;
    let made;
    let tensor = match graph.constant(value) {
        Some(tensor) => tensor,
        None => {
            let node = graph.node(graph.producer(value)?)?;
            made = Constant::of(&view.node(node)).ok()??.tensor;
            &made
        }
    };
    if tensor.is_empty() || tensor.len() > CHANNELS_MAX {
        return None;
    }
    tensor.to_f64()
}

/// Both, number by number; one number goes with each of the other's.
fn paired(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Option<Vec<f64>> {
    match (a, b) {
        ([a], b) => Some(b.iter().map(|b| f(*a, *b)).collect()),
        (a, [b]) => Some(a.iter().map(|a| f(*a, *b)).collect()),
        (a, b) if a.len() == b.len() => Some(a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use crate::value::Value;

    /// A model that begins with these operators, each with its constants.
    fn model(steps: &[(&str, &[&[f32]])]) -> Model {
        let mut model = Model {
            opsets: vec![(String::new(), 17)],
            ..Model::default()
        };
        let graph = &mut model.graph;
        let mut value = graph.add_value(Value::named("x"));
        graph.inputs.push(value);
        for (op, constants) in steps {
            let mut inputs = vec![value];
            for numbers in *constants {
                inputs.push(graph.add_constant("c", Tensor::from_f32(&[numbers.len()], numbers)));
            }
            value = graph.add_value(Value::named("y"));
            graph.push_node(Node::new(*op, inputs, vec![value]));
        }
        graph.outputs.push(value);
        model
    }

    #[track_caller]
    fn check(steps: &[(&str, &[&[f32]])], expected: Option<(&str, &[f64], &[f64], bool)>) {
        let rounded = |numbers: &[f64]| numbers.iter().map(|x| (x * 1e4).round() / 1e4).collect::<Vec<_>>();
        let found = InputNormalization::of(&model(steps));
        let found = found.map(|n| (n.operator, rounded(&n.mean), rounded(&n.deviation), n.learned));
        let expected = expected.map(|(operator, mean, deviation, learned)| {
            (operator.to_owned(), mean.to_vec(), deviation.to_vec(), learned)
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn arithmetic_at_the_start_is_put_together() {
        check(
            &[
                ("Cast", &[]),
                ("Sub", &[&[120.0, 110.0, 100.0]]),
                ("Div", &[&[50.0]]),
                ("Conv", &[&[1.0; 9]]),
            ],
            Some(("Sub", &[120.0, 110.0, 100.0], &[50.0], false)),
        );
        check(
            &[("Mul", &[&[1.0 / 127.5]]), ("Add", &[&[-1.0]])],
            Some(("Mul", &[127.5], &[127.5], false)),
        );
        check(&[("Relu", &[]), ("Mul", &[&[2.0]])], None);
        check(&[("Mul", &[&[1.0; 9]])], None);
        check(&[("Mul", &[&[0.0]])], None);
    }

    #[test]
    fn a_batch_normalization_says_what_it_was_trained_with() {
        let parameters: &[&[f32]] = &[&[1.5; 3], &[0.2; 3], &[0.4; 3], &[0.0625; 3]];
        check(
            &[("BatchNormalization", parameters)],
            Some(("BatchNormalization", &[0.4; 3], &[0.25; 3], true)),
        );
        check(
            &[("Div", &[&[255.0]]), ("BatchNormalization", parameters)],
            Some(("Div", &[102.0; 3], &[63.75; 3], true)),
        );
    }

    #[test]
    fn an_input_with_several_readers_is_not_normalized() {
        let mut model = model(&[("Sub", &[&[0.5]])]);
        let input = model.graph.inputs[0];
        let other = model.graph.add_value(Value::named("other"));
        model.graph.push_node(Node::new("Relu", vec![input], vec![other]));
        assert_eq!(InputNormalization::of(&model), None);
    }
}
