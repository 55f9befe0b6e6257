//! What a region consists of, in words: `3x3 + 1x1 + identity`.

use crate::algebra::{Op, Program};
use repserve_graph::ops::Window;

/// Branches listed in full; more of a kind are counted.
const BRANCHES_MAX: usize = 64;

/// The branches that are summed, each from the source to the result, in reading order.
pub(crate) fn describe(program: &Program<'_>) -> String {
    let mut paths: Vec<Vec<String>> = Vec::new();
    walk(program, program.ops.len(), Vec::new(), &mut paths);
    let words = paths.into_iter().map(|mut path| {
        path.reverse();
        if path.is_empty() {
            "identity".to_owned()
        } else {
            path.join(" → ")
        }
    });
    let mut counted: Vec<(String, usize)> = Vec::new();
    for word in words {
        match counted.iter_mut().find(|(w, _)| *w == word) {
            Some((_, n)) => *n += 1,
            None => counted.push((word, 1)),
        }
    }
    let parts: Vec<String> = counted
        .into_iter()
        .map(|(word, n)| if n > 1 { format!("{n} × {word}") } else { word })
        .collect();
    parts.join(" + ")
}

fn walk(program: &Program<'_>, value: usize, path: Vec<String>, paths: &mut Vec<Vec<String>>) {
    if paths.len() >= BRANCHES_MAX {
        return;
    }
    let Some(op) = value.checked_sub(1).map(|i| &program.ops[i]) else {
        paths.push(path);
        return;
    };
    let mut longer = path;
    match op {
        Op::Conv(conv) if program.rank == 0 => {
            longer.push("matrix".to_owned());
            walk(program, conv.input, longer, paths);
        }
        Op::Conv(conv) => {
            let depthwise = conv.groups > 1 && conv.groups == conv.in_channels;
            longer.push(format!(
                "{}{}",
                if depthwise { "depthwise " } else { "" },
                size(&conv.window)
            ));
            walk(program, conv.input, longer, paths);
        }
        Op::Pool { input, window } => {
            longer.push(format!("average {}", size(window)));
            walk(program, *input, longer, paths);
        }
        Op::Affine { input, .. } => walk(program, *input, longer, paths),
        Op::Pad { input, .. } => {
            longer.push("pad".to_owned());
            walk(program, *input, longer, paths);
        }
        Op::Sum { terms } => {
            for (input, _) in terms {
                walk(program, *input, longer.clone(), paths);
            }
        }
    }
}

fn size(window: &Window) -> String {
    let extents: Vec<String> = window.kernel.iter().map(usize::to_string).collect();
    let mut text = extents.join("x");
    if window
        .dilations
        .iter()
        .zip(&window.kernel)
        .any(|(d, k)| *d > 1 && *k > 1)
    {
        text.push_str(&format!(" dilated {}", window.dilations.iter().max().unwrap_or(&1)));
    }
    text
}
