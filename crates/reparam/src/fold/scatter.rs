//! Operators that overwrite some elements.

use bytes::Bytes;

use super::Call;
use super::arithmetic::flat;
use super::view::{strides, visit};
use repserve_graph::Tensor;
use repserve_graph::ops::{Scatter, axis_of};

impl Call<'_> {
    pub(super) fn scatter_nd(&self) -> Option<Tensor> {
        let (x, indices, updates) = (self.tensor(0)?, self.tensor(1)?, self.tensor(2)?);
        if Scatter::of(&self.view).ok()??.reduces || x.dtype() != updates.dtype() {
            return None;
        }
        let size = x.dtype().size_bytes()?;
        let (depth, places) = indices.shape().split_last()?;
        let (outer, inner) = x.shape().split_at_checked(*depth)?;
        if updates.shape() != [places, inner].concat() || *depth == 0 {
            return None;
        }
        let block = inner.iter().product::<usize>() * size;
        let mut out = x.data().to_vec();
        for (place, at) in indices.to_i64()?.chunks_exact(*depth).enumerate() {
            let at: Vec<usize> = at
                .iter()
                .zip(outer)
                .map(|(i, d)| axis_of(*i, *d))
                .collect::<Option<_>>()?;
            let start = flat(outer, &at) * block;
            let update = updates.data().get(place * block..(place + 1) * block)?;
            out.get_mut(start..start + block)?.copy_from_slice(update);
        }
        Tensor::new(x.dtype(), x.shape().to_vec(), Bytes::from(out)).ok()
    }

    pub(super) fn scatter_elements(&self) -> Option<Tensor> {
        let (x, indices, updates) = (self.tensor(0)?, self.tensor(1)?, self.tensor(2)?);
        let size = x.dtype().size_bytes()?;
        let scatter = Scatter::of(&self.view).ok()??;
        let axis = scatter.axis?;
        let within = indices.shape().len() == x.shape().len()
            && indices
                .shape()
                .iter()
                .zip(x.shape())
                .enumerate()
                .all(|(i, (a, b))| i == axis || a <= b);
        if scatter.reduces || x.dtype() != updates.dtype() || indices.shape() != updates.shape() || !within {
            return None;
        }
        let mut own = strides(x.shape());
        let step = own[axis];
        own[axis] = 0;
        let mut bases = Vec::with_capacity(updates.len());
        visit(indices.shape(), 0, &own, |at| bases.push(at));
        let mut out = x.data().to_vec();
        for ((base, index), update) in bases
            .into_iter()
            .zip(indices.to_i64()?)
            .zip(updates.data().chunks_exact(size))
        {
            let index = axis_of(index, x.shape()[axis])? as isize;
            let start = usize::try_from(base + index * step).ok()? * size;
            out.get_mut(start..start + size)?.copy_from_slice(update);
        }
        Tensor::new(x.dtype(), x.shape().to_vec(), Bytes::from(out)).ok()
    }
}
