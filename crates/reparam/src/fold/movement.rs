//! Operators that move elements and compute nothing.

use super::arithmetic::flat;
use super::view::{broadcast_strides, strides, view, visit};
use super::{Call, broadcast, elements, extents};
use repserve_graph::Tensor;
use repserve_graph::ops::{Concat, Expand, Gather, Pad, Slice, Transpose, axis_of};

impl Call<'_> {
    pub(super) fn expand(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let shape = broadcast(x.shape(), &Expand::of(&self.view).ok()??.extents)?;
        view(x, shape.clone(), 0, &broadcast_strides(x.shape(), &shape))
    }

    pub(super) fn transpose(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let order = Transpose::of(&self.view).ok()??.order;
        let own = strides(x.shape());
        let shape = order.iter().map(|i| x.shape()[*i]).collect();
        let moved: Vec<isize> = order.iter().map(|i| own[*i]).collect();
        view(x, shape, 0, &moved)
    }

    pub(super) fn slice(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let slice = Slice::of(&self.view).ok()??;
        let mut shape = x.shape().to_vec();
        let mut moved = strides(&shape);
        let mut base = 0isize;
        for cut in &slice.cuts {
            let axis = cut.axis;
            let (first, count) = cut.range(x.shape()[axis])?;
            base += moved[axis] * first as isize;
            shape[axis] = count;
            let step = isize::try_from(cut.step).ok().filter(|_| count > 1);
            moved[axis] = moved[axis].checked_mul(step.unwrap_or(1))?;
        }
        view(x, shape, base, &moved)
    }

    pub(super) fn concat(&self) -> Option<Tensor> {
        let tensors: Vec<&Tensor> = self.inputs.iter().copied().collect::<Option<_>>()?;
        let first = tensors.first()?;
        let axis = Concat::of(&self.view).ok()??.axis;
        let mut shape = first.shape().to_vec();
        shape[axis] = 0;
        for tensor in &tensors {
            let others = |s: &[usize]| {
                s.iter()
                    .enumerate()
                    .filter(|(i, _)| *i != axis)
                    .map(|(_, d)| *d)
                    .collect::<Vec<_>>()
            };
            let fits = tensor.dtype() == first.dtype() && tensor.shape().len() == shape.len();
            if !fits || others(tensor.shape()) != others(&shape) {
                return None;
            }
            shape[axis] = shape[axis].checked_add(tensor.shape()[axis])?;
        }
        let size = first.dtype().size_bytes()?;
        let count = elements(&shape, size)?;
        let rows: usize = shape[..axis].iter().product();
        let mut out = Vec::with_capacity(count * size);
        for row in 0..rows {
            for tensor in &tensors {
                let width = tensor.shape()[axis..].iter().product::<usize>() * size;
                out.extend_from_slice(tensor.data().get(row * width..(row + 1) * width)?);
            }
        }
        Tensor::new(first.dtype(), shape, out.into()).ok()
    }

    pub(super) fn gather(&self) -> Option<Tensor> {
        let (x, indices) = (self.tensor(0)?, self.tensor(1)?);
        let axis = Gather::of(&self.view).ok()??.axis;
        let size = x.dtype().size_bytes()?;
        let (before, after) = (&x.shape()[..axis], &x.shape()[axis + 1..]);
        let shape = [before, indices.shape(), after].concat();
        let count = elements(&shape, size)?;
        let picks: Vec<usize> = indices
            .to_i64()?
            .iter()
            .map(|i| axis_of(*i, x.shape()[axis]))
            .collect::<Option<_>>()?;
        let block = after.iter().product::<usize>() * size;
        let mut out = Vec::with_capacity(count * size);
        for row in 0..before.iter().product() {
            for pick in &picks {
                let start = (row * x.shape()[axis] + pick) * block;
                out.extend_from_slice(x.data().get(start..start + block)?);
            }
        }
        Tensor::new(x.dtype(), shape, out.into()).ok()
    }

    pub(super) fn pad(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let pad = Pad::of(&self.view).ok()??;
        let size = x.dtype().size_bytes()?;
        let [before, after] = pad.along(x.shape().len()).ok()?;
        let (before, after) = (extents(&before)?, extents(&after)?);
        if pad.mode != "constant" {
            return None;
        }
        let fill = Pad::fill_element(&self.view, x.dtype()).ok()?;
        let ends = before.iter().zip(&after);
        let wide = |(own, (before, after)): (&usize, (&usize, &usize))| own.checked_add(*before)?.checked_add(*after);
        let shape: Vec<usize> = x.shape().iter().zip(ends).map(wide).collect::<Option<_>>()?;
        let mut out = fill.data().repeat(elements(&shape, size)?);
        let mut data = x.data().chunks_exact(size);
        visit(x.shape(), flat(&shape, &before) as isize, &strides(&shape), |at| {
            if let Some(element) = data.next() {
                out[at as usize * size..][..size].copy_from_slice(element);
            }
        });
        Tensor::new(x.dtype(), shape, out.into()).ok()
    }
}
