//! Attributes of convolutions and pools as windows.

use super::Context;
use crate::kernel::{Same, Window};
use crate::reason::Reason;
use repserve_graph::{Node, ValueId};

/// Extents, strides, dilations and pads beyond this are not a network's.
const EXTENT_MAX: i64 = 1 << 20;

/// The window of a convolution or pool with kernel `kernel` that reads `input`.
///
/// # Errors
/// Attributes of the wrong length, out of range, or not known.
pub(crate) fn window(cx: &Context<'_>, node: &Node, kernel: &[usize], input: ValueId) -> Result<Window, Reason> {
    let unclear = || Reason::NotUnderstood(node.op.clone());
    let rank = kernel.len();
    if rank > 3 || kernel.iter().any(|k| *k == 0 || *k as i64 > EXTENT_MAX) {
        return Err(unclear());
    }
    let mut window = Window::pointwise(rank);
    window.kernel = kernel.to_vec();
    for (name, target) in [("strides", &mut window.strides), ("dilations", &mut window.dilations)] {
        if let Some(list) = node.attribute(name) {
            *target = extents(list.as_ints(), rank, 1).ok_or_else(unclear)?;
        }
    }
    let pads = match node.attribute("pads") {
        Some(list) => extents(list.as_ints(), 2 * rank, 0).ok_or_else(unclear)?,
        None => vec![0; 2 * rank],
    };
    match node.attribute("auto_pad").and_then(|a| a.as_str()).unwrap_or("NOTSET") {
        "NOTSET" | "" => {
            window.begins = pads[..rank].to_vec();
            window.ends = pads[rank..].to_vec();
        }
        "VALID" => {}
        "SAME_UPPER" => resolve(cx, &mut window, input, Same::Upper),
        "SAME_LOWER" => resolve(cx, &mut window, input, Same::Lower),
        _ => return Err(unclear()),
    }
    Ok(window)
}

fn extents(list: Option<&[i64]>, len: usize, min: i64) -> Option<Vec<usize>> {
    let list = list.filter(|l| l.len() == len)?;
    list.iter()
        .map(|v| (min..=EXTENT_MAX).contains(v).then_some(*v as usize))
        .collect()
}

/// Works out the pads that `auto_pad` stands for, where they do not depend on an unknown size.
fn resolve(cx: &Context<'_>, window: &mut Window, input: ValueId, same: Same) {
    let rank = window.kernel.len();
    let extents = cx.shapes.spatial(input, rank);
    for axis in 0..rank {
        let (stride, reach) = (window.strides[axis], window.dilations[axis] * (window.kernel[axis] - 1));
        let known = extents.as_ref().and_then(|e| e[axis]);
        let total = match known {
            _ if reach == 0 => 0,
            _ if stride == 1 => reach,
            Some(n) if n > 0 => ((n.div_ceil(stride) - 1) * stride + reach + 1).saturating_sub(n),
            _ => {
                window.auto = Some(same);
                0
            }
        };
        let less = total / 2;
        (window.begins[axis], window.ends[axis]) = match same {
            Same::Upper => (less, total - less),
            Same::Lower => (total - less, less),
        };
    }
    if window.auto.is_some() {
        window.begins.fill(0);
        window.ends.fill(0);
    }
}
