//! A naive evaluator in f64: every operator as its definition reads.

use std::collections::BTreeMap;

use crate::graph::{Dim, Model, Node, Tensor};

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

/// Strides, dilations, pads in front and output extents of a sliding window.
fn slide(node: &Node, extents: &[usize], kernel: &[usize]) -> [Vec<i64>; 4] {
    let rank = extents.len();
    let strides = ints(node, "strides", &vec![1; rank]);
    let dilations = ints(node, "dilations", &vec![1; rank]);
    let mut pads = ints(node, "pads", &vec![0; 2 * rank]);
    let auto = node
        .attribute("auto_pad")
        .and_then(|a| a.as_str())
        .unwrap_or("NOTSET")
        .to_owned();
    let mut outputs = Vec::new();
    for axis in 0..rank {
        let (n, s) = (extents[axis] as i64, strides[axis]);
        let reach = dilations[axis] * (kernel[axis] as i64 - 1) + 1;
        if auto.starts_with("SAME") {
            let total = (((n + s - 1) / s - 1) * s + reach - n).max(0);
            pads[axis] = if auto == "SAME_UPPER" {
                total / 2
            } else {
                total - total / 2
            };
            pads[axis + rank] = total - pads[axis];
        } else if auto == "VALID" {
            (pads[axis], pads[axis + rank]) = (0, 0);
        }
        let free = n + pads[axis] + pads[axis + rank] - reach;
        assert!(free >= 0, "the window fits");
        let up = int(node, "ceil_mode", 0) != 0;
        outputs.push(if up { (free + s - 1) / s } else { free / s } + 1);
    }
    pads.truncate(rank);
    [strides, dilations, pads, outputs]
}

fn conv(node: &Node, x: &Array, w: &Array, b: Option<&Array>) -> Array {
    let (extents, kernel) = (&x.shape[2..], &w.shape[2..]);
    let [strides, dilations, pads, outputs] = slide(node, extents, kernel);
    let groups = int(node, "group", 1) as usize;
    let (per_in, per_out) = (w.shape[1], w.shape[0] / groups);
    assert_eq!(per_in * groups, x.shape[1], "channels");
    let shape: Vec<usize> = [
        vec![x.shape[0], w.shape[0]],
        outputs.iter().map(|n| *n as usize).collect(),
    ]
    .concat();
    let taps = indices(kernel);
    let (area, channels) = (extents.iter().product::<usize>(), x.shape[1]);
    Array::new(shape, |index| {
        let (n, o) = (index[0], index[1]);
        let mut sum = b.map_or(0.0, |b| b.data[o]);
        for (t, tap) in taps.iter().enumerate() {
            let place = (0..kernel.len()).try_fold(0, |place, a| {
                let i = index[a + 2] as i64 * strides[a] + tap[a] as i64 * dilations[a] - pads[a];
                (i >= 0 && i < extents[a] as i64).then(|| place * extents[a] + i as usize)
            });
            let Some(place) = place else { continue };
            for c in 0..per_in {
                let source = (n * channels + o / per_out * per_in + c) * area + place;
                sum += x.data[source] * w.data[(o * per_in + c) * taps.len() + t];
            }
        }
        sum
    })
}

fn average(node: &Node, x: &Array) -> Array {
    let kernel: Vec<usize> = ints(node, "kernel_shape", &[]).iter().map(|k| *k as usize).collect();
    let extents = &x.shape[2..];
    let rank = kernel.len();
    let [strides, dilations, pads, outputs] = slide(node, extents, &kernel);
    let ends = ints(node, "pads", &vec![0; 2 * rank]);
    let counts = int(node, "count_include_pad", 0) != 0;
    let shape: Vec<usize> = [x.shape[..2].to_vec(), outputs.iter().map(|n| *n as usize).collect()].concat();
    let taps = indices(&kernel);
    Array::new(shape, |index| {
        let (mut sum, mut count) = (0.0, 0.0);
        for tap in &taps {
            let from = |a: usize| index[a + 2] as i64 * strides[a] + tap[a] as i64 * dilations[a] - pads[a];
            let at: Vec<i64> = (0..rank).map(from).collect();
            if at.iter().zip(extents).all(|(i, n)| *i >= 0 && *i < *n as i64) {
                let at: Vec<usize> = at.iter().map(|i| *i as usize).collect();
                sum += x.at(&[index[..2].to_vec(), at].concat());
                count += 1.0;
            } else if counts && (0..rank).all(|a| at[a] < extents[a] as i64 + ends[a + rank]) {
                count += 1.0;
            }
        }
        sum / count
    })
}

fn batch_norm(node: &Node, x: &Array, statistics: &[Array; 4]) -> Array {
    let [gamma, beta, mean, variance] = statistics;
    let epsilon = float(node, "epsilon", f64::from(1e-5f32));
    Array::new(x.shape.clone(), |index| {
        let c = index[1];
        let normal = (x.at(index) - mean.data[c]) / (variance.data[c] + epsilon).sqrt();
        normal * gamma.data[c] + beta.data[c]
    })
}

fn pad(node: &Node, x: &Array, pads: Option<&Array>, value: Option<&Array>) -> Array {
    let rank = x.shape.len();
    let pads: Vec<i64> = match pads {
        Some(p) => p.data.iter().map(|v| *v as i64).collect(),
        None => ints(node, "pads", &[]),
    };
    let value = value.map_or(float(node, "value", 0.0), |v| v.data[0]);
    let reflects = node.attribute("mode").and_then(|a| a.as_str()) == Some("reflect");
    let wide = |a: usize| (x.shape[a] as i64 + pads[a] + pads[a + rank]) as usize;
    Array::new((0..rank).map(wide).collect(), |index| {
        let mut at: Vec<i64> = (0..rank).map(|a| index[a] as i64 - pads[a]).collect();
        if reflects {
            for (i, n) in at.iter_mut().zip(&x.shape) {
                let last = *n as i64 - 1;
                *i = if *i < 0 {
                    -*i
                } else if *i > last {
                    2 * last - *i
                } else {
                    *i
                };
            }
        }
        if at.iter().zip(&x.shape).any(|(i, n)| *i < 0 || *i >= *n as i64) {
            return value;
        }
        x.at(&at.iter().map(|i| *i as usize).collect::<Vec<_>>())
    })
}

fn gemm(node: &Node, x: &Array, w: &Array, c: Option<&Array>) -> Array {
    let turned = int(node, "transB", 0) != 0;
    let (n, k) = if turned {
        (w.shape[0], w.shape[1])
    } else {
        (w.shape[1], w.shape[0])
    };
    let product = Array::new(vec![x.shape[0], n], |i| {
        let terms = (0..k).map(|j| x.at(&[i[0], j]) * if turned { w.at(&[i[1], j]) } else { w.at(&[j, i[1]]) });
        terms.sum::<f64>() * float(node, "alpha", 1.0)
    });
    let beta = float(node, "beta", 1.0);
    c.map_or(product.clone(), |c| broadcast(&product, c, &|a, b| a + beta * b))
}

fn matmul(x: &Array, w: &Array) -> Array {
    let (k, n) = (w.shape[0], w.shape[1]);
    let shape = [x.shape[..x.shape.len() - 1].to_vec(), vec![n]].concat();
    Array::new(shape, |index| {
        let (row, column) = (&index[..index.len() - 1], index[index.len() - 1]);
        (0..k)
            .map(|j| x.at(&[row.to_vec(), vec![j]].concat()) * w.at(&[j, column]))
            .sum()
    })
}
