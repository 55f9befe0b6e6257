//! Shapes under another grouping of the same elements, or of sums of them.

use super::rules::Inference;
use crate::known::{fixed, product, unknown};
use crate::ops::{Flatten, Reduction, Reshape, ReshapeExtent, Squeeze, Unsqueeze};
use crate::value::Dim;

impl Inference<'_> {
    pub(super) fn flatten(&self) -> Option<Vec<Dim>> {
        let axis = Flatten::of(&self.node).ok()??.axis;
        let x = self.input(0)?;
        let part = |dims: &[Dim]| match dims {
            [one] => one.clone(),
            many => product(many).map_or(unknown(), Dim::Fixed),
        };
        Some(vec![part(x.get(..axis)?), part(x.get(axis..)?)])
    }

    pub(super) fn reshape(&self) -> Option<Vec<Dim>> {
        let target = Reshape::of(&self.node).ok()??.extents;
        let x = self.input(0);
        let copied = |i: usize| x.and_then(|x| x.get(i)).cloned().unwrap_or_else(unknown);
        let extent = |(i, asked): (usize, &ReshapeExtent)| match asked {
            ReshapeExtent::Fixed(n) => Dim::Fixed(*n),
            ReshapeExtent::Copied => copied(i),
            ReshapeExtent::Rest => unknown(),
        };
        let mut shape: Vec<Dim> = target.iter().enumerate().map(extent).collect();
        let open = target.iter().position(|asked| *asked == ReshapeExtent::Rest);
        if let (Some(open), Some(x)) = (open, x) {
            shape[open] = rest(x, &target, &shape, open);
        }
        Some(shape)
    }

    pub(super) fn reduce(&self) -> Option<Vec<Dim>> {
        let reduction = Reduction::of(&self.node).ok()??;
        Some(reduction.reduce(self.input(0)?, &Dim::Fixed(1)))
    }

    pub(super) fn squeeze(&self) -> Option<Vec<Dim>> {
        let squeeze = Squeeze::of(&self.node).ok()??;
        let mut shape = Vec::new();
        for (axis, dim) in self.input(0)?.iter().enumerate() {
            if !squeeze.drops(axis, fixed(dim))? {
                shape.push(dim.clone());
            }
        }
        Some(shape)
    }

    pub(super) fn unsqueeze(&self) -> Option<Vec<Dim>> {
        let unsqueeze = Unsqueeze::of(&self.node).ok()??;
        Some(unsqueeze.widen(self.input(0)?, &Dim::Fixed(1)))
    }
}

/// The extent that a reshape leaves open: what is left of the elements, or the one dynamic extent that nothing else took.
fn rest(x: &[Dim], target: &[ReshapeExtent], shape: &[Dim], open: usize) -> Dim {
    let others = shape.iter().enumerate().filter(|(i, _)| *i != open).map(|(_, d)| d);
    if let (Some(all), Some(others)) = (product(x), product(others)) {
        return all.checked_div(others).map_or(unknown(), Dim::Fixed);
    }
    let copied = |i: usize| target.get(i) == Some(&ReshapeExtent::Copied);
    let left = product(x.iter().enumerate().filter(|(i, _)| !copied(*i)).map(|(_, d)| d));
    let mut fresh = target.iter().filter_map(|asked| match asked {
        ReshapeExtent::Fixed(n) => Some(*n),
        ReshapeExtent::Copied | ReshapeExtent::Rest => None,
    });
    let fresh = fresh.try_fold(1usize, |n, extent| n.checked_mul(extent));
    match (left, fresh) {
        (Some(left), Some(fresh)) if fresh > 0 => Dim::Fixed(left / fresh),
        _ => unknown(),
    }
}
