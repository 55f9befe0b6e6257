//! Strided views of a tensor's bytes: transposing, slicing and broadcasting are one loop.

use bytes::Bytes;

use super::elements;
use repserve_graph::Tensor;

/// Distances of neighbours along each axis, in elements, row-major.
pub(super) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1isize;
    for (stride, extent) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(*extent as isize);
    }
    strides
}

/// Visits every position of `shape` in row-major order with the element offset that `base` and `strides` give.
pub(super) fn visit(shape: &[usize], base: isize, strides: &[isize], mut see: impl FnMut(isize)) {
    if shape.contains(&0) {
        return;
    }
    let mut at = vec![0usize; shape.len()];
    let mut offset = base;
    loop {
        see(offset);
        let mut axis = shape.len();
        loop {
            let Some(next) = axis.checked_sub(1) else { return };
            axis = next;
            at[axis] += 1;
            offset += strides[axis];
            if at[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * at[axis] as isize;
            at[axis] = 0;
        }
    }
}

/// A new tensor of `shape` whose element at a position is the one of `tensor` at `base + position · strides`.
/// Every offset must lie inside the tensor.
pub(super) fn view(tensor: &Tensor, shape: Vec<usize>, base: isize, strides: &[isize]) -> Option<Tensor> {
    let size = tensor.dtype().size_bytes()?;
    let count = elements(&shape, size)?;
    let data = tensor.data();
    let mut out = Vec::with_capacity(count * size);
    visit(&shape, base, strides, |offset| {
        let start = offset as usize * size;
        out.extend_from_slice(data.get(start..start + size).unwrap_or_default());
    });
    Tensor::new(tensor.dtype(), shape, Bytes::from(out)).ok()
}

/// The strides with which a tensor of shape `from` is read as one of shape `to` that it broadcasts to.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(from);
    let skipped = to.len() - from.len();
    (0..to.len())
        .map(|axis| match axis.checked_sub(skipped) {
            Some(i) if from[i] != 1 => own[i],
            _ => 0,
        })
        .collect()
}
