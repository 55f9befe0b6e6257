//! Shapes that layers make: windows and matrix products.

use super::rules::Inference;
use crate::known::{fixed, unknown};
use crate::ops::{Conv, ConvTranspose, Gemm, MatMul, Pool, Window};
use crate::value::Dim;

impl Inference<'_> {
    pub(super) fn conv(&self) -> Option<Vec<Dim>> {
        let (conv, x) = (Conv::of(&self.node).ok()??, self.input(0)?);
        let mut shape = vec![x[0].clone(), Dim::Fixed(conv.out_channels)];
        shape.extend(slide(&conv.window, &x[2..], false)?);
        Some(shape)
    }

    pub(super) fn conv_transpose(&self) -> Option<Vec<Dim>> {
        let (conv, x) = (ConvTranspose::of(&self.node).ok()??, self.input(0)?);
        let mut shape = vec![x[0].clone(), Dim::Fixed(conv.out_channels)];
        for (axis, extent) in x[2..].iter().enumerate() {
            shape.push(match fixed(extent) {
                None => unknown(),
                Some(n) => Dim::Fixed(conv.places(axis, n)?),
            });
        }
        Some(shape)
    }

    pub(super) fn pool(&self) -> Option<Vec<Dim>> {
        let (pool, x) = (Pool::of(&self.node).ok()??, self.input(0)?);
        let mut shape = x[..2].to_vec();
        shape.extend(slide(&pool.window, &x[2..], pool.rounds_up)?);
        Some(shape)
    }

    pub(super) fn global_pool(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?.iter().enumerate();
        Some(x.map(|(i, d)| if i < 2 { d.clone() } else { Dim::Fixed(1) }).collect())
    }

    pub(super) fn gemm(&self) -> Option<Vec<Dim>> {
        let gemm = Gemm::of(&self.node).ok()??;
        let ([rows, columns], [first, second]) = (self.shape(gemm.input)?, self.shape(gemm.weight)?) else {
            return None;
        };
        let row = if gemm.input_transposed { columns } else { rows };
        let column = if gemm.weight_transposed { first } else { second };
        Some(vec![row.clone(), column.clone()])
    }

    pub(super) fn matmul(&self) -> Option<Vec<Dim>> {
        let product = MatMul::of(&self.node).ok()??;
        let (a, b) = (self.shape(product.input)?, self.shape(product.weight)?);
        if a.len() < 2 || b.len() != 2 {
            return None;
        }
        let mut shape = a[..a.len() - 1].to_vec();
        shape.push(b[1].clone());
        Some(shape)
    }
}

/// The number of places of a window along each axis.
fn slide(window: &Window, extents: &[Dim], rounds_up: bool) -> Option<Vec<Dim>> {
    let along = |(axis, extent): (usize, &Dim)| {
        let Some(n) = fixed(extent) else {
            return Some(unknown());
        };
        let (places, left) = window.places(axis, n)?;
        // Whether one more place is counted depends on how much of it would be padding, which operator sets see differently.
        Some(if rounds_up && left > 0 {
            unknown()
        } else {
            Dim::Fixed(places)
        })
    };
    extents.iter().enumerate().map(along).collect()
}
