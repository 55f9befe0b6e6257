//! A naive evaluator in f64: every operator as its definition reads.

mod layers;

use std::collections::BTreeMap;

use layers::{average, batch_norm, conv, gemm, matmul, norm, pad};
use repserve_graph::{Dim, Model, Node, Tensor};

/// A dense array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f64>,
}

impl Array {
    fn new(shape: Vec<usize>, at: impl FnMut(&[usize]) -> f64) -> Self {
        let data = indices(&shape).iter().map(Vec::as_slice).map(at).collect();
        Self { shape, data }
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.data[index.iter().zip(&self.shape).fold(0, |n, (i, d)| n * d + i)]
    }

    fn of(tensor: &Tensor) -> Self {
        let floats = tensor.to_f64();
        let data = floats.or_else(|| tensor.to_i64().map(|v| v.iter().map(|x| *x as f64).collect()));
        Self {
            shape: tensor.shape().to_vec(),
            data: data.expect("numbers"),
        }
    }
}

fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |all, n| {
        let along = |index: Vec<usize>| (0..*n).map(move |i| [index.clone(), vec![i]].concat());
        all.into_iter().flat_map(along).collect()
    })
}

/// Dynamic extents: the number that the symbol ends in, or 2.
fn extent(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(n) => *n,
        Dim::Symbol(name) => name
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap_or(2),
    }
}

/// All values by name, for inputs made from `seed`.
pub(super) fn run(model: &Model, seed: u64) -> BTreeMap<String, Array> {
    let graph = &model.graph;
    let mut values: BTreeMap<String, Array> = BTreeMap::new();
    let mut state = seed.wrapping_mul(0x9e37_79b9).wrapping_add(12345);
    for id in graph.inputs.iter().filter(|id| graph.constant(**id).is_none()) {
        let value = graph.value(*id);
        let shape = value.shape.as_ref().expect("a shape").iter();
        let shape: Vec<usize> = shape.map(extent).collect();
        let noise = |_: &[usize]| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f64 / f64::from(1u32 << 31)) * 2.0 - 1.0
        };
        values.insert(value.name.clone(), Array::new(shape, noise));
    }
    for (_, node) in graph.nodes() {
        let input = |i: usize| {
            let id = node.input(i)?;
            let name = &graph.value(id).name;
            values.get(name).cloned().or_else(|| graph.constant(id).map(Array::of))
        };
        let inputs: Vec<Option<Array>> = (0..node.inputs.len()).map(input).collect();
        let made = operator(node, &inputs, model.opset());
        let name = node.output(0).map(|v| graph.value(v).name.clone());
        values.insert(name.expect("an output"), made);
    }
    for id in graph.outputs.iter() {
        let name = &graph.value(*id).name;
        if let (false, Some(tensor)) = (values.contains_key(name), graph.constant(*id)) {
            values.insert(name.clone(), Array::of(tensor));
        }
    }
    values
}

fn ints(node: &Node, name: &str, default: &[i64]) -> Vec<i64> {
    node.attribute(name)
        .and_then(|a| a.as_ints())
        .unwrap_or(default)
        .to_vec()
}

fn int(node: &Node, name: &str, default: i64) -> i64 {
    node.attribute(name).and_then(|a| a.as_int()).unwrap_or(default)
}

fn float(node: &Node, name: &str, default: f64) -> f64 {
    node.attribute(name)
        .and_then(|a| a.as_float())
        .map_or(default, f64::from)
}

fn operator(node: &Node, inputs: &[Option<Array>], opset: i64) -> Array {
    let x = inputs[0].as_ref().expect("a first input");
    let other = |i: usize| inputs.get(i).and_then(Option::as_ref);
    let map = |f: &dyn Fn(f64) -> f64| Array {
        shape: x.shape.clone(),
        data: x.data.iter().map(|v| f(*v)).collect(),
    };
    let fold = |f: &dyn Fn(f64, f64) -> f64| {
        let rest = inputs[1..].iter().flatten();
        rest.fold(x.clone(), |a, b| broadcast(&a, b, f))
    };
    match node.op.as_str() {
        "Identity" | "Dropout" => x.clone(),
        "Relu" => map(&|v| v.max(0.0)),
        "Sigmoid" => map(&|v| 1.0 / (1.0 + (-v).exp())),
        "Neg" => map(&|v| -v),
        "Add" | "Sum" => fold(&|a, b| a + b),
        "Mean" => {
            let n = inputs.len() as f64;
            let sum = fold(&|a, b| a + b);
            Array {
                data: sum.data.iter().map(|v| v / n).collect(),
                ..sum
            }
        }
        "Sub" => fold(&|a, b| a - b),
        "Mul" => fold(&|a, b| a * b),
        "Div" => fold(&|a, b| a / b),
        "Conv" => conv(node, x, other(1).expect("weights"), other(2)),
        "AveragePool" => average(node, x),
        "BatchNormalization" => batch_norm(node, x, &[1, 2, 3, 4].map(|i| other(i).expect("statistics").clone())),
        "Pad" => pad(node, x, other(1), other(2)),
        "GlobalAveragePool" => {
            let area: usize = x.shape[2..].iter().product();
            let shape = x
                .shape
                .iter()
                .enumerate()
                .map(|(i, n)| if i < 2 { *n } else { 1 })
                .collect();
            let data = x
                .data
                .chunks(area)
                .map(|c| c.iter().sum::<f64>() / area as f64)
                .collect();
            Array { shape, data }
        }
        "ReduceL2" => norm(node, x),
        "Flatten" => Array {
            shape: vec![x.shape[0], x.data.len() / x.shape[0]],
            data: x.data.clone(),
        },
        "Gemm" => gemm(node, x, other(1).expect("weights"), other(2)),
        "MatMul" => matmul(x, other(1).expect("weights")),
        "Transpose" => {
            let order = ints(node, "perm", &[]);
            let shape = order.iter().map(|i| x.shape[*i as usize]).collect();
            Array::new(shape, |index| {
                let mut from = vec![0; index.len()];
                order.iter().zip(index).for_each(|(axis, i)| from[*axis as usize] = *i);
                x.at(&from)
            })
        }
        "Concat" => concat(node, inputs),
        "ReduceMean" => mean(node, x),
        op => panic!("no evaluation of {op} (opset {opset})"),
    }
}

fn broadcast(a: &Array, b: &Array, f: &dyn Fn(f64, f64) -> f64) -> Array {
    let rank = a.shape.len().max(b.shape.len());
    let wide = |s: &[usize]| [vec![1; rank - s.len()], s.to_vec()].concat();
    let (wa, wb) = (wide(&a.shape), wide(&b.shape));
    let shape: Vec<usize> = wa.iter().zip(&wb).map(|(x, y)| if *x == 1 { *y } else { *x }).collect();
    assert!(
        wa.iter()
            .chain(&wb)
            .zip(shape.iter().cycle())
            .all(|(d, n)| *d == 1 || d == n),
        "{wa:?} {wb:?}"
    );
    let pick = |t: &Array, wide: &[usize], index: &[usize]| {
        let own: Vec<usize> = index
            .iter()
            .zip(wide)
            .map(|(i, d)| if *d == 1 { 0 } else { *i })
            .collect();
        t.at(&own[rank - t.shape.len()..])
    };
    Array::new(shape, |index| f(pick(a, &wa, index), pick(b, &wb, index)))
}

/// `axes` of a value of this rank, counted from its first.
fn positive(axis: i64, rank: usize) -> usize {
    usize::try_from(axis).unwrap_or(rank - axis.unsigned_abs() as usize)
}

fn concat(node: &Node, inputs: &[Option<Array>]) -> Array {
    let parts: Vec<&Array> = inputs.iter().flatten().collect();
    let axis = positive(int(node, "axis", 0), parts[0].shape.len());
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    Array::new(shape, |index| {
        let mut at = index.to_vec();
        for part in &parts {
            if at[axis] < part.shape[axis] {
                return part.at(&at);
            }
            at[axis] -= part.shape[axis];
        }
        unreachable!("an index within the sum of extents")
    })
}

fn mean(node: &Node, x: &Array) -> Array {
    let rank = x.shape.len();
    let axes: Vec<usize> = ints(node, "axes", &[])
        .iter()
        .map(|axis| positive(*axis, rank))
        .collect();
    let reduced: Vec<usize> = (0..rank)
        .map(|axis| if axes.contains(&axis) { 1 } else { x.shape[axis] })
        .collect();
    let count: usize = axes.iter().map(|axis| x.shape[*axis]).product();
    let means = Array::new(reduced, |index| {
        let parts = (0..count).map(|part| {
            let (mut at, mut rest) = (index.to_vec(), part);
            for axis in &axes {
                at[*axis] = rest % x.shape[*axis];
                rest /= x.shape[*axis];
            }
            x.at(&at)
        });
        parts.sum::<f64>() / count as f64
    });
    if int(node, "keepdims", 1) != 0 {
        return means;
    }
    let kept = (0..rank).filter(|axis| !axes.contains(axis));
    Array {
        shape: kept.map(|axis| means.shape[axis]).collect(),
        data: means.data,
    }
}
