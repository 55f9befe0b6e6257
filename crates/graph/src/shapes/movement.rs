//! Shapes of what is cut, joined, turned and picked.

use super::rules::Inference;
use crate::known::{fixed, unknown};
use crate::ops::{Concat, Gather, Pad, Slice, Transpose};
use crate::value::Dim;

impl Inference<'_> {
    pub(super) fn transpose(&self) -> Option<Vec<Dim>> {
        let (turn, x) = (Transpose::of(&self.node).ok()??, self.input(0)?);
        turn.order.iter().map(|i| x.get(*i).cloned()).collect()
    }

    pub(super) fn pad(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let [before, after] = Pad::of(&self.node).ok()??.along(x.len()).ok()?;
        let wide = |(i, d): (usize, &Dim)| match fixed(d) {
            _ if before[i] == 0 && after[i] == 0 => Some(d.clone()),
            Some(n) => {
                let n = i64::try_from(n).ok()?.checked_add(before[i])?.checked_add(after[i])?;
                usize::try_from(n).ok().map(Dim::Fixed)
            }
            None => Some(unknown()),
        };
        x.iter().enumerate().map(wide).collect()
    }

    pub(super) fn concat(&self) -> Option<Vec<Dim>> {
        let axis = Concat::of(&self.node).ok()??.axis;
        let all = self.inputs()?;
        let mut shape = all.first()?.to_vec();
        let total = all
            .iter()
            .map(|s| s.get(axis).and_then(fixed))
            .try_fold(0usize, |n, d| n.checked_add(d?));
        *shape.get_mut(axis)? = total.map_or(unknown(), Dim::Fixed);
        Some(shape)
    }

    pub(super) fn slice(&self) -> Option<Vec<Dim>> {
        let slice = Slice::of(&self.node).ok()??;
        let mut shape = self.input(0)?.to_vec();
        for cut in &slice.cuts {
            let extent = shape.get_mut(cut.axis)?;
            *extent = match fixed(extent) {
                _ if cut.is_whole() => continue,
                Some(n) => Dim::Fixed(cut.range(n)?.1),
                None => unknown(),
            };
        }
        Some(shape)
    }

    pub(super) fn gather(&self) -> Option<Vec<Dim>> {
        let axis = Gather::of(&self.node).ok()??.axis;
        let (x, indices) = (self.input(0)?, self.input(1)?);
        Some([x.get(..axis)?, indices, x.get(axis + 1..)?].concat())
    }
}
