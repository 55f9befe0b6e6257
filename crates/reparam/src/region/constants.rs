//! Constant operands as one number a channel.

use super::Context;
use repserve_graph::ops::Alignment;
use repserve_graph::{Dim, Node, Tensor, ValueId};

/// Where the channels of a region's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Axis 1 of values of this rank.
    Second(usize),
    /// The last axis; the rank where it is known.
    Last(Option<usize>),
}

/// `tensor`, an operand of `node` beside the value `data`, as one number for each of `channels` channels.
///
/// `None` where it is not that: of the wrong length, different from pixel to pixel, or of a shape that would make the
/// result larger than the value.
pub(crate) fn per_channel(
    cx: &Context<'_>,
    node: &Node,
    tensor: &Tensor,
    data: ValueId,
    layout: Layout,
    channels: usize,
) -> Option<Vec<f64>> {
    let values = tensor.to_f64()?;
    let shape = aligned(cx, node, tensor.shape(), layout)?;
    let axis = match layout {
        Layout::Second(_) => 1,
        Layout::Last(_) => shape.len().checked_sub(1)?,
    };
    if shape.iter().product::<usize>() != values.len() || values.is_empty() {
        return None;
    }
    let own = shape.get(axis).copied().unwrap_or(1);
    if own != 1 && own != channels {
        return None;
    }
    let spread = shape.iter().enumerate().any(|(i, n)| i != axis && *n != 1);
    if spread && !fits(cx, &shape, data) {
        return None;
    }
    let inner: usize = shape.iter().skip(axis + 1).product();
    let picked: Vec<f64> = (0..channels).map(|c| values[(c % own.max(1)) * inner]).collect();
    let uniform = values.iter().enumerate().all(|(i, v)| *v == picked[(i / inner) % own]);
    uniform.then_some(picked)
}

/// The operand's shape, padded with ones to the rank of the value.
fn aligned(cx: &Context<'_>, node: &Node, shape: &[usize], layout: Layout) -> Option<Vec<usize>> {
    let rank = match layout {
        Layout::Second(rank) | Layout::Last(Some(rank)) => rank,
        Layout::Last(None) if shape.len() <= 1 => 1,
        Layout::Last(None) => return None,
    };
    let ones = |n: usize| std::iter::repeat_n(1, n);
    let free = rank.checked_sub(shape.len())?;
    let before = match Alignment::of(&cx.view().node(node)).ok()? {
        Alignment::Same if free > 0 => return None,
        Alignment::Same | Alignment::Last => free,
        Alignment::From(axis) => axis,
    };
    let behind = free.checked_sub(before)?;
    Some(ones(before).chain(shape.iter().copied()).chain(ones(behind)).collect())
}

/// Whether the value is known to have every extent of the operand's that is not 1.
fn fits(cx: &Context<'_>, shape: &[usize], data: ValueId) -> bool {
    let Some(known) = cx.shapes.of(data).filter(|known| known.len() == shape.len()) else {
        return false;
    };
    shape
        .iter()
        .zip(known)
        .all(|(own, dim)| *own == 1 || *dim == Dim::Fixed(*own))
}
