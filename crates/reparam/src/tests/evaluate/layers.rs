//! Windows, normalization, norms, borders and matrix products.

use super::{Array, broadcast, float, indices, int, ints};
use repserve_graph::Node;

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

pub(super) fn conv(node: &Node, x: &Array, w: &Array, b: Option<&Array>) -> Array {
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

pub(super) fn average(node: &Node, x: &Array) -> Array {
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

pub(super) fn batch_norm(node: &Node, x: &Array, statistics: &[Array; 4]) -> Array {
    let [gamma, beta, mean, variance] = statistics;
    let epsilon = float(node, "epsilon", f64::from(1e-5f32));
    Array::new(x.shape.clone(), |index| {
        let c = index[1];
        let normal = (x.at(index) - mean.data[c]) / (variance.data[c] + epsilon).sqrt();
        normal * gamma.data[c] + beta.data[c]
    })
}

pub(super) fn pad(node: &Node, x: &Array, pads: Option<&Array>, value: Option<&Array>) -> Array {
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

pub(super) fn gemm(node: &Node, x: &Array, w: &Array, c: Option<&Array>) -> Array {
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

pub(super) fn matmul(x: &Array, w: &Array) -> Array {
    let (k, n) = (w.shape[0], w.shape[1]);
    let shape = [x.shape[..x.shape.len() - 1].to_vec(), vec![n]].concat();
    Array::new(shape, |index| {
        let (row, column) = (&index[..index.len() - 1], index[index.len() - 1]);
        (0..k)
            .map(|j| x.at(&[row.to_vec(), vec![j]].concat()) * w.at(&[j, column]))
            .sum()
    })
}

pub(super) fn norm(node: &Node, x: &Array) -> Array {
    let axes = ints(node, "axes", &[]);
    let kept = |i: usize| !axes.contains(&(i as i64));
    let rank = x.shape.len();
    let shape = (0..rank).map(|i| if kept(i) { x.shape[i] } else { 1 }).collect();
    let all = indices(&x.shape);
    Array::new(shape, |index| {
        let mine = all.iter().filter(|at| (0..rank).all(|i| !kept(i) || at[i] == index[i]));
        mine.map(|at| x.at(at).powi(2)).sum::<f64>().sqrt()
    })
}
