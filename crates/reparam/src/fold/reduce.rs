//! Sums, means, products and norms along axes.

use super::Call;
use super::arithmetic::Numbers;
use super::view::{broadcast_strides, visit};
use repserve_graph::Tensor;
use repserve_graph::ops::Reduction;

impl Call<'_> {
    /// `ReduceSum`, `ReduceMean`, `ReduceProd` and `ReduceL2`.
    pub(super) fn reduce(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let rank = x.shape().len();
        let reduction = Reduction::of(&self.view).ok()??;
        if reduction.axes.is_empty() {
            return Some(x.clone());
        }
        let kept: Vec<usize> = (0..rank)
            .map(|i| if reduction.axes.contains(&i) { 1 } else { x.shape()[i] })
            .collect();
        let numbers = match (self.node.op.as_str(), Numbers::of(x)?) {
            ("ReduceSum", Numbers::Floats(v)) => Numbers::Floats(gather(&v, x, &kept, 0.0, |a, v| a + v)),
            ("ReduceProd", Numbers::Floats(v)) => Numbers::Floats(gather(&v, x, &kept, 1.0, |a, v| a * v)),
            ("ReduceMean", Numbers::Floats(v)) => {
                let count = x.len().checked_div(kept.iter().product()).filter(|n| *n > 0)?;
                let mut sums = gather(&v, x, &kept, 0.0, |a, v| a + v);
                sums.iter_mut().for_each(|v| *v /= count as f64);
                Numbers::Floats(sums)
            }
            ("ReduceL2", Numbers::Floats(v)) => {
                let mut squares = gather(&v, x, &kept, 0.0, |a, v| a + v * v);
                squares.iter_mut().for_each(|v| *v = v.sqrt());
                Numbers::Floats(squares)
            }
            ("ReduceSum", Numbers::Integers(v)) => Numbers::Integers(gather(&v, x, &kept, 0, i64::wrapping_add)),
            ("ReduceProd", Numbers::Integers(v)) => Numbers::Integers(gather(&v, x, &kept, 1, i64::wrapping_mul)),
            _ => return None,
        };
        let shape = reduction.reduce(x.shape(), &1);
        numbers.into_tensor(x.dtype(), shape)
    }
}

/// Takes every element of `x` into the place that it has in shape `kept`, where the axes to reduce are 1.
fn gather<T: Copy>(values: &[T], x: &Tensor, kept: &[usize], empty: T, take: impl Fn(T, T) -> T) -> Vec<T> {
    let mut out = vec![empty; kept.iter().product()];
    let mut values = values.iter();
    visit(x.shape(), 0, &broadcast_strides(kept, x.shape()), |at| {
        if let Some(value) = values.next() {
            out[at as usize] = take(out[at as usize], *value);
        }
    });
    out
}
