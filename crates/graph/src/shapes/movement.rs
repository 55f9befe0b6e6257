//! Shapes of what is cut, joined, repeated and picked.

use super::fixed;
use super::infer::{Look, unknown};
use crate::Dim;

impl Look<'_> {
    pub(super) fn transpose(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let order = self.ints("perm").unwrap_or_else(|| (0..x.len() as i64).rev().collect());
        if order.len() != x.len() {
            return None;
        }
        order
            .iter()
            .map(|i| x.get(usize::try_from(*i).ok()?).cloned())
            .collect()
    }

    pub(super) fn pad(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        if self.node.input(3).is_some() {
            return Some(vec![unknown(); x.len()]);
        }
        let pads = self.list("pads", 1)?;
        if pads.len() != 2 * x.len() {
            return None;
        }
        let wide = |(i, d): (usize, &Dim)| match fixed(d) {
            _ if pads[i] == 0 && pads[i + x.len()] == 0 => Some(d.clone()),
            Some(n) => {
                let n = i64::try_from(n)
                    .ok()?
                    .checked_add(pads[i])?
                    .checked_add(pads[i + x.len()])?;
                usize::try_from(n).ok().map(Dim::Fixed)
            }
            None => Some(unknown()),
        };
        x.iter().enumerate().map(wide).collect()
    }

    pub(super) fn concat(&self) -> Option<Vec<Dim>> {
        let all: Option<Vec<&[Dim]>> = self.node.inputs.iter().map(|v| self.shapes.of((*v)?)).collect();
        let all = all?;
        let mut shape = all.first()?.to_vec();
        let axis = self.axis(self.int("axis", 1), shape.len())?;
        let total = all
            .iter()
            .map(|s| s.get(axis).and_then(fixed))
            .try_fold(0usize, |n, d| n.checked_add(d?));
        shape[axis] = total.map_or(unknown(), Dim::Fixed);
        Some(shape)
    }

    pub(super) fn slice(&self) -> Option<Vec<Dim>> {
        let mut shape = self.input(0)?.to_vec();
        let (starts, ends) = (self.list("starts", 1)?, self.list("ends", 2)?);
        let axes = match self.node.input(3) {
            None => self.ints("axes").unwrap_or_else(|| (0..starts.len() as i64).collect()),
            Some(_) => self.list("axes", 3)?,
        };
        let steps = match self.node.input(4) {
            None => vec![1; starts.len()],
            Some(_) => self.list("steps", 4)?,
        };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return None;
        }
        for (i, axis) in axes.iter().enumerate() {
            let axis = self.axis(*axis, shape.len())?;
            let whole = starts[i] == 0 && ends[i] >= i64::from(i32::MAX) && steps[i] == 1;
            shape[axis] = match fixed(&shape[axis]) {
                _ if whole => continue,
                Some(n) => Dim::Fixed(taken(starts[i], ends[i], steps[i], n)?.1),
                None => unknown(),
            };
        }
        Some(shape)
    }

    pub(super) fn expand(&self) -> Option<Vec<Dim>> {
        let (x, to) = (self.input(0)?, self.list("shape", 1)?);
        let rank = x.len().max(to.len());
        let own = |axis: usize| (axis + x.len()).checked_sub(rank).map(|i| x[i].clone());
        let wanted = |axis: usize| {
            (axis + to.len())
                .checked_sub(rank)
                .map_or(Some(1), |i| usize::try_from(to[i]).ok())
        };
        (0..rank)
            .map(|axis| match (own(axis), wanted(axis)?) {
                (Some(d), 1) => Some(d),
                (None | Some(_), n) => Some(Dim::Fixed(n)),
            })
            .collect()
    }

    pub(super) fn gather(&self) -> Option<Vec<Dim>> {
        let (x, indices) = (self.input(0)?, self.input(1)?);
        let axis = self.axis(self.int("axis", 0), x.len())?;
        Some([&x[..axis], indices, &x[axis + 1..]].concat())
    }
}

/// The first index and the number of indices that a slice of an axis takes.
pub fn taken(start: i64, end: i64, step: i64, extent: usize) -> Option<(usize, usize)> {
    if extent == 0 {
        return (step != 0).then_some((0, 0));
    }
    let extent = i64::try_from(extent).ok()?;
    let wrap = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
    let (first, count) = match step {
        0 => return None,
        1.. => {
            let (start, end) = (wrap(start).clamp(0, extent), wrap(end).clamp(0, extent));
            (start, steps((end - start).max(0), step))
        }
        _ => {
            let (start, end) = (wrap(start).clamp(0, extent - 1), wrap(end).clamp(-1, extent - 1));
            let step = step.checked_neg()?;
            (start.max(0), steps((start - end).max(0), step))
        }
    };
    let first = if count == 0 { 0 } else { first };
    Some((usize::try_from(first).ok()?, usize::try_from(count).ok()?))
}

/// How many steps of length `step` start within `length`.
fn steps(length: i64, step: i64) -> i64 {
    if length == 0 { 0 } else { (length - 1) / step + 1 }
}
