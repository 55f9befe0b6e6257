//! A fused block before and after, as a drawing.

use maud::{Markup, html};
use repserve_reparam::report::{Block, ConvShape};

/// Extents of a box, and the room between two.
const WIDTH: f64 = 190.0;
const HEIGHT: f64 = 24.0;
const GAP: f64 = 8.0;
/// Where the sum is, and the block after fusing.
const SUM_X: f64 = 250.0;
const AFTER_X: f64 = 330.0;
/// Branches that are drawn at most.
const BRANCHES_MAX: usize = 12;

/// Its branches as parallel boxes, their sum, and the one convolution that they became.
pub(super) fn drawing(block: &Block) -> Markup {
    let mut branches: Vec<&str> = block
        .branches
        .split(" + ")
        .filter(|branch| !branch.is_empty())
        .collect();
    let more = branches.len().saturating_sub(BRANCHES_MAX);
    branches.truncate(BRANCHES_MAX);
    let height = (HEIGHT + GAP) * branches.len().max(1) as f64;
    let middle = (height - GAP) / 2.0;
    html! {
        svg viewBox=(format!("-24 -2 {} {}", AFTER_X + WIDTH + 60.0, height + 4.0)) width=(AFTER_X + WIDTH + 60.0) role="img"
            aria-label=(format!("{} becomes {}", block.branches, shape(&block.conv))) {
            @for (i, branch) in branches.iter().enumerate() {
                @let y = (HEIGHT + GAP) * i as f64;
                @let centre = y + HEIGHT / 2.0;
                path.ink d=(format!("M-20 {middle} C-8 {middle} -12 {centre} 0 {centre}")) {}
                rect.box x="0" y=(y) width=(WIDTH) height=(HEIGHT) rx="4" {}
                text x=(WIDTH / 2.0) y=(centre + 4.0) text-anchor="middle" { (branch) }
                path.ink d=(format!("M{WIDTH} {centre} C{} {centre} {} {middle} {} {middle}", WIDTH + 30.0, SUM_X - 40.0, SUM_X - 9.0)) {}
            }
            circle.ink cx=(SUM_X) cy=(middle) r="9" {}
            text x=(SUM_X) y=(middle + 4.0) text-anchor="middle" { "+" }
            text x=((SUM_X + AFTER_X) / 2.0 + 4.0) y=(middle + 5.0) text-anchor="middle" { "⟶" }
            rect.box x=(AFTER_X) y=(middle - HEIGHT / 2.0) width=(WIDTH + 20.0) height=(HEIGHT) rx="4" stroke-width="2" {}
            text x=(AFTER_X + WIDTH / 2.0 + 10.0) y=(middle + 4.0) text-anchor="middle" { (shape(&block.conv)) }
        }
        @if more > 0 {
            p.quiet { "and " (more) " more branches" }
        }
    }
}

/// A convolution in words.
fn shape(conv: &ConvShape) -> String {
    let by = |extents: &[usize]| extents.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let mut text = match &conv.kernel[..] {
        [] => "product".to_owned(),
        kernel => by(kernel),
    };
    text += &format!(", {} to {}", conv.in_channels, conv.out_channels);
    if conv.groups > 1 {
        text += &format!(", {} groups", conv.groups);
    }
    if conv.strides.iter().any(|stride| *stride != 1) {
        text += &format!(", /{}", by(&conv.strides));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_branch_has_its_box() {
        let block = Block {
            branches: "3x3 + 1x1 + <identity>".to_owned(),
            conv: ConvShape {
                in_channels: 8,
                out_channels: 16,
                groups: 2,
                kernel: vec![3, 3],
                strides: vec![2, 2],
                ..ConvShape::default()
            },
            ..Block::default()
        };
        let text = drawing(&block).into_string();
        assert_eq!(text.matches("<rect").count(), 4);
        assert!(
            text.contains("3x3, 8 to 16, 2 groups, /2") && !text.contains("<identity>"),
            "{text}"
        );
    }
}
