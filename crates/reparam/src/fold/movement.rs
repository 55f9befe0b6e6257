//! Operators that move elements and compute nothing.

use repserve_graph::shapes::taken;

use super::arithmetic::flat;
use super::view::{broadcast_strides, strides, view, visit};
use super::{Call, axis_of, broadcast, elements, extents};
use repserve_graph::Tensor;

impl Call<'_> {
    pub(super) fn expand(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let shape = broadcast(x.shape(), &extents(&self.tensor(1)?.to_i64()?)?)?;
        view(x, shape.clone(), 0, &broadcast_strides(x.shape(), &shape))
    }

    pub(super) fn transpose(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let rank = x.shape().len();
        let order: Vec<usize> = match self.node.attribute("perm") {
            Some(perm) => extents(perm.as_ints()?)?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return None;
        }
        let own = strides(x.shape());
        let shape = order.iter().map(|i| x.shape()[*i]).collect();
        let moved: Vec<isize> = order.iter().map(|i| own[*i]).collect();
        view(x, shape, 0, &moved)
    }

    pub(super) fn slice(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let (starts, ends) = (self.list(1, "starts")?, self.list(2, "ends")?);
        let axes = if self.omits(3, "axes") {
            (0..starts.len() as i64).collect()
        } else {
            self.list(3, "axes")?
        };
        let steps = if self.node.input(4).is_some() {
            self.tensor(4)?.to_i64()?
        } else {
            vec![1; starts.len()]
        };
        if starts.len() != ends.len() || starts.len() != axes.len() || starts.len() != steps.len() {
            return None;
        }
        let mut shape = x.shape().to_vec();
        let mut moved = strides(&shape);
        let mut base = 0isize;
        for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = axis_of(*axis, shape.len())?;
            let (first, count) = taken(*start, *end, *step, x.shape()[axis])?;
            base += moved[axis] * first as isize;
            shape[axis] = count;
            moved[axis] = moved[axis].checked_mul(isize::try_from(*step).ok().filter(|_| count > 1).unwrap_or(1))?;
        }
        view(x, shape, base, &moved)
    }

    pub(super) fn concat(&self) -> Option<Tensor> {
        let tensors: Vec<&Tensor> = self.inputs.iter().copied().collect::<Option<_>>()?;
        let first = tensors.first()?;
        let axis = axis_of(
            self.int("axis", if self.opset < 4 { 1 } else { i64::MAX }),
            first.shape().len(),
        )?;
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
        let axis = axis_of(self.int("axis", 0), x.shape().len())?;
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
        let rank = x.shape().len();
        if self
            .node
            .attribute("mode")
            .is_some_and(|m| m.as_str() != Some("constant"))
        {
            return None;
        }
        let size = x.dtype().size_bytes()?;
        let pads = self.list(1, "pads")?;
        let axes: Vec<usize> = match self.node.input(3) {
            None => (0..rank).collect(),
            Some(_) => self
                .tensor(3)?
                .to_i64()?
                .iter()
                .map(|a| axis_of(*a, rank))
                .collect::<Option<_>>()?,
        };
        let fill = match (self.node.input(2), self.node.attribute("value")) {
            (Some(_), _) => self
                .tensor(2)
                .filter(|t| t.len() == 1 && t.dtype() == x.dtype())?
                .data()
                .to_vec(),
            (None, Some(v)) => Tensor::from_f64(
                Some(x.dtype()).filter(|t| t.is_float())?,
                &[],
                &[f64::from(v.as_float()?)],
            )
            .data()
            .to_vec(),
            (None, None) => vec![0; size],
        };
        if pads.len() != 2 * axes.len() || pads.iter().any(|p| *p < 0) {
            return None;
        }
        let mut shape = x.shape().to_vec();
        let mut first = vec![0usize; rank];
        for (i, axis) in axes.iter().enumerate() {
            let (before, after) = (
                usize::try_from(pads[i]).ok()?,
                usize::try_from(pads[axes.len() + i]).ok()?,
            );
            shape[*axis] = shape[*axis].checked_add(before)?.checked_add(after)?;
            first[*axis] = before;
        }
        let mut out = fill.repeat(elements(&shape, size)?);
        let mut data = x.data().chunks_exact(size);
        visit(x.shape(), flat(&shape, &first) as isize, &strides(&shape), |at| {
            if let Some(element) = data.next() {
                out[at as usize * size..][..size].copy_from_slice(element);
            }
        });
        Tensor::new(x.dtype(), shape, out.into()).ok()
    }
}
