//! Operators that give the same elements another shape.

use super::{Call, axis_of};
use repserve_graph::Tensor;

impl Call<'_> {
    pub(super) fn reshape(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let target = self.list(1, "shape")?;
        let keep_zero = self.int("allowzero", 0) != 0;
        let mut shape = Vec::with_capacity(target.len());
        let mut open = None;
        for (i, d) in target.iter().enumerate() {
            match d {
                -1 if open.is_some() => return None,
                -1 => {
                    open = Some(i);
                    shape.push(1);
                }
                0 if !keep_zero => shape.push(*x.shape().get(i)?),
                d => shape.push(usize::try_from(*d).ok()?),
            }
        }
        if let Some(open) = open {
            let rest = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
            shape[open] = x.len().checked_div(rest)?;
        }
        x.reshaped(shape).ok()
    }

    pub(super) fn flatten(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let axis = match self.int("axis", 1) {
            axis if axis == x.shape().len() as i64 => x.shape().len(),
            axis => axis_of(axis, x.shape().len())?,
        };
        let (rows, columns) = x.shape().split_at(axis);
        x.reshaped(vec![rows.iter().product(), columns.iter().product()]).ok()
    }

    pub(super) fn squeeze(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let shape = x.shape();
        let axes: Vec<usize> = if self.omits(1, "axes") {
            (0..shape.len()).filter(|i| shape[*i] == 1).collect()
        } else {
            self.list(1, "axes")?
                .iter()
                .map(|a| axis_of(*a, shape.len()))
                .collect::<Option<_>>()?
        };
        if axes.iter().any(|a| shape[*a] != 1) {
            return None;
        }
        x.reshaped(
            (0..shape.len())
                .filter(|i| !axes.contains(i))
                .map(|i| shape[i])
                .collect(),
        )
        .ok()
    }

    pub(super) fn unsqueeze(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let axes = self.list(1, "axes")?;
        let rank = x.shape().len() + axes.len();
        let axes: Vec<usize> = axes.iter().map(|a| axis_of(*a, rank)).collect::<Option<_>>()?;
        let mut rest = x.shape().iter();
        let shape: Option<Vec<usize>> = (0..rank)
            .map(|i| {
                if axes.contains(&i) {
                    Some(1)
                } else {
                    rest.next().copied()
                }
            })
            .collect();
        x.reshaped(shape?).ok()
    }
}
