//! Operators that give the same elements another shape.

use super::Call;
use repserve_graph::Tensor;
use repserve_graph::ops::{Flatten, Reshape, ReshapeExtent, Squeeze, Unsqueeze};

impl Call<'_> {
    pub(super) fn reshape(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let target = Reshape::of(&self.view).ok()??.extents;
        let extent = |(i, asked): (usize, &ReshapeExtent)| match asked {
            ReshapeExtent::Fixed(n) => Some(*n),
            ReshapeExtent::Copied => x.shape().get(i).copied(),
            ReshapeExtent::Rest => Some(1),
        };
        let mut shape: Vec<usize> = target.iter().enumerate().map(extent).collect::<Option<_>>()?;
        if let Some(open) = target.iter().position(|asked| *asked == ReshapeExtent::Rest) {
            let rest = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
            shape[open] = x.len().checked_div(rest)?;
        }
        x.reshaped(shape).ok()
    }

    pub(super) fn flatten(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let (rows, columns) = x.shape().split_at_checked(Flatten::of(&self.view).ok()??.axis)?;
        x.reshaped(vec![rows.iter().product(), columns.iter().product()]).ok()
    }

    pub(super) fn squeeze(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let squeeze = Squeeze::of(&self.view).ok()??;
        let mut shape = Vec::new();
        for (axis, extent) in x.shape().iter().enumerate() {
            match squeeze.drops(axis, Some(*extent))? {
                true if *extent != 1 => return None,
                true => {}
                false => shape.push(*extent),
            }
        }
        x.reshaped(shape).ok()
    }

    pub(super) fn unsqueeze(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        x.reshaped(Unsqueeze::of(&self.view).ok()??.widen(x.shape(), &1)).ok()
    }
}
