//! Tensors from shapes and bounds, and of another type: `ConstantOfShape`, `Range`, `Shape`, `Cast`.

use super::arithmetic::Numbers;
use super::{Call, elements, extents};
use repserve_graph::ops::{ConstantOfShape, ShapeOf};
use repserve_graph::{DType, Tensor};

impl Call<'_> {
    pub(super) fn constant_of_shape(&self) -> Option<Tensor> {
        let shape = extents(&self.tensor(0)?.to_i64()?)?;
        let value = ConstantOfShape::of(&self.view).ok()??.value;
        let count = elements(&shape, value.dtype().size_bytes()?)?;
        Tensor::new(value.dtype(), shape, value.data().repeat(count).into()).ok()
    }

    pub(super) fn range(&self) -> Option<Tensor> {
        let dtype = self.tensor(0)?.dtype();
        let one = |i: usize| {
            self.tensor(i)
                .filter(|t| t.len() == 1 && t.dtype() == dtype)?
                .to_i64()?
                .first()
                .copied()
        };
        let (start, limit, step) = (one(0)?, one(1)?, one(2)?);
        let span = limit.checked_sub(start)?;
        if step == 0 {
            return None;
        }
        let whole = span.checked_div(step)?;
        let count = if span.checked_rem(step)? == 0 {
            whole
        } else {
            whole.checked_add(i64::from((span > 0) == (step > 0)))?
        };
        let count = elements(&[usize::try_from(count.max(0)).ok()?], 8)?;
        let values = (0..count as i64).map(|i| start + i * step).collect();
        Numbers::Integers(values).into_tensor(dtype, vec![count])
    }

    /// The extents of a constant; those of other values are the caller's to know.
    pub(super) fn shape(&self) -> Option<Tensor> {
        let shape: Option<Vec<i64>> = self.tensor(0)?.shape().iter().map(|d| i64::try_from(*d).ok()).collect();
        let part = ShapeOf::of(&self.view).ok()??.part(&shape?);
        Some(Tensor::from_i64(&[part.len()], &part))
    }

    pub(super) fn cast(&self, to: DType) -> Option<Tensor> {
        let tensor = self.tensor(0)?;
        if tensor.dtype() == to {
            return Some(tensor.clone());
        }
        elements(tensor.shape(), to.size_bytes()?)?;
        let numbers = match (Numbers::of(tensor)?, to.is_float()) {
            (Numbers::Floats(v), false) if to == DType::Bool => {
                Numbers::Integers(v.iter().map(|v| i64::from(*v != 0.0)).collect())
            }
            (Numbers::Floats(v), false) => {
                let exact = v.iter().all(|v| v.abs() < 9e15);
                exact.then(|| Numbers::Integers(v.iter().map(|v| *v as i64).collect()))?
            }
            (Numbers::Integers(v), true) => {
                let exact = v.iter().all(|v| v.unsigned_abs() < 1 << 53);
                exact.then(|| Numbers::Floats(v.iter().map(|v| *v as f64).collect()))?
            }
            (Numbers::Integers(v), false) if to == DType::Bool => {
                Numbers::Integers(v.iter().map(|v| i64::from(*v != 0)).collect())
            }
            (same, _) => same,
        };
        numbers.into_tensor(to, tensor.shape().to_vec())
    }
}
