//! The table of shapes that are known of a graph's values.

use crate::value::{Dim, ValueId};

/// Shapes by value. They are inferred in [`crate::shapes`].
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    pub(crate) known: Vec<Option<Vec<Dim>>>,
}

impl Shapes {
    /// The shape, where its rank is known.
    pub fn of(&self, value: ValueId) -> Option<&[Dim]> {
        self.known.get(value.0 as usize)?.as_deref()
    }

    /// The rank, where known.
    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.of(value).map(<[Dim]>::len)
    }

    /// Extents of the `rank` axes behind batch and channels; `None` inside where one is dynamic.
    pub fn spatial(&self, value: ValueId, rank: usize) -> Option<Vec<Option<usize>>> {
        let shape = self.of(value).filter(|s| s.len() == rank + 2)?;
        Some(shape[2..].iter().map(fixed).collect())
    }
}

/// The extent, if it is fixed.
pub fn fixed(dim: &Dim) -> Option<usize> {
    if let Dim::Fixed(n) = dim { Some(*n) } else { None }
}

/// An extent that nothing is known of.
pub(crate) fn unknown() -> Dim {
    Dim::Symbol(String::new())
}

/// The product of extents, where all are known.
pub(crate) fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Option<usize> {
    dims.into_iter()
        .map(fixed)
        .try_fold(1usize, |n, extent| n.checked_mul(extent?))
}
