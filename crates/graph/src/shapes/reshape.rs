//! Shapes under another grouping of the same elements, or of sums of them.

use super::fixed;
use super::infer::{Look, unknown};
use crate::Dim;

impl Look<'_> {
    pub(super) fn flatten(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axis = self.axis(self.int("axis", 1), x.len() + 1)?;
        let product = |dims: &[Dim]| match dims {
            [one] => one.clone(),
            many => many
                .iter()
                .map(fixed)
                .try_fold(1usize, |n, d| n.checked_mul(d?))
                .map_or(unknown(), Dim::Fixed),
        };
        Some(vec![product(&x[..axis]), product(&x[axis..])])
    }

    pub(super) fn reshape(&self) -> Option<Vec<Dim>> {
        let target = self.list("shape", 1)?;
        let x = self.input(0);
        let keep_zero = self.int("allowzero", 0) != 0;
        let mut shape: Vec<Dim> = Vec::with_capacity(target.len());
        for (i, d) in target.iter().enumerate() {
            shape.push(match *d {
                0 if !keep_zero => x.and_then(|x| x.get(i)).cloned().unwrap_or_else(unknown),
                -1 => unknown(),
                d => Dim::Fixed(usize::try_from(d).ok()?),
            });
        }
        let open: Vec<usize> = (0..target.len()).filter(|i| target[*i] == -1).collect();
        if let (&[open], Some(x)) = (&open[..], x) {
            shape[open] = rest(x, &target, &shape, open);
        }
        Some(shape)
    }

    pub(super) fn reduce(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes = match self.list("axes", 1) {
            Some(axes) => axes,
            None if self.node.input(1).is_none() => (0..x.len() as i64).collect(),
            None => return None,
        };
        let axes: Option<Vec<usize>> = axes.iter().map(|a| self.axis(*a, x.len())).collect();
        let (axes, keep) = (axes?, self.int("keepdims", 1) != 0);
        let dims = x.iter().enumerate().filter(|(i, _)| keep || !axes.contains(i));
        Some(
            dims.map(|(i, d)| if axes.contains(&i) { Dim::Fixed(1) } else { d.clone() })
                .collect(),
        )
    }

    pub(super) fn squeeze(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes: Option<Vec<usize>> = self.list("axes", 1)?.iter().map(|a| self.axis(*a, x.len())).collect();
        let axes = axes?;
        Some(
            x.iter()
                .enumerate()
                .filter(|(i, _)| !axes.contains(i))
                .map(|(_, d)| d.clone())
                .collect(),
        )
    }

    pub(super) fn unsqueeze(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes = self.list("axes", 1)?;
        let rank = x.len() + axes.len();
        let axes: Option<Vec<usize>> = axes.iter().map(|a| self.axis(*a, rank)).collect();
        let axes = axes?;
        let mut rest = x.iter();
        (0..rank)
            .map(|i| {
                if axes.contains(&i) {
                    Some(Dim::Fixed(1))
                } else {
                    rest.next().cloned()
                }
            })
            .collect()
    }
}

/// The extent that a reshape leaves open: what is left of the elements, or the one dynamic extent that nothing else took.
fn rest(x: &[Dim], target: &[i64], shape: &[Dim], open: usize) -> Dim {
    let others = shape.iter().enumerate().filter(|(i, _)| *i != open).map(|(_, d)| d);
    let taken = others.clone().map(fixed).try_fold(1usize, |n, d| n.checked_mul(d?));
    let all = x.iter().map(fixed).try_fold(1usize, |n, d| n.checked_mul(d?));
    if let (Some(all), Some(taken)) = (all, taken) {
        return all.checked_div(taken).map_or(unknown(), Dim::Fixed);
    }
    let copied = |i: usize| target.get(i) == Some(&0);
    let mut left = x.iter().enumerate().filter(|(i, _)| !copied(*i)).map(|(_, d)| fixed(d));
    let left = left.try_fold(1usize, |n, d| n.checked_mul(d?));
    let fresh = target
        .iter()
        .filter(|d| **d > 0)
        .try_fold(1usize, |n, d| n.checked_mul(*d as usize));
    match (left, fresh) {
        (Some(left), Some(fresh)) if fresh > 0 => Dim::Fixed(left / fresh),
        _ => unknown(),
    }
}
