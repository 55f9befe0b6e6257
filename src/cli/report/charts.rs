//! Drawings as SVG inside the page.

use maud::{Markup, html};
use repserve_evaluation::{Interval, Reliability};

/// Width of the labels left of bars, in pixels; and of the longest bar.
const LABEL_WIDTH: f64 = 260.0;
const BAR_WIDTH: f64 = 420.0;
/// Height of a row of bars.
const ROW: f64 = 18.0;
/// Characters of a label that fit.
const LABEL_CHARS: usize = 38;
/// Pixels that a character takes at most, on average.
const CHAR_WIDTH: f64 = 7.0;
/// Side of a square drawing.
const SIDE: f64 = 240.0;

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// What stands behind it.
    pub(super) text: String,
    /// `accent`, `warm`, `bad` or `good`.
    pub(super) class: &'static str,
}

/// Horizontal bars from 0 on; `about` says in words what they show.
pub(super) fn bars(about: &str, bars: &[Bar]) -> Markup {
    let finite = bars.iter().map(|bar| bar.value).filter(|value| value.is_finite());
    let most = finite.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let chars = bars.iter().map(|bar| bar.text.chars().count()).max().unwrap_or(0);
    let (width, height) = (
        LABEL_WIDTH + BAR_WIDTH + 12.0 + CHAR_WIDTH * chars as f64,
        ROW * bars.len() as f64,
    );
    html! {
        svg viewBox=(format!("0 0 {width} {height}")) width=(width) role="img" aria-label=(about) {
            @for (i, bar) in bars.iter().enumerate() {
                @let y = ROW * i as f64;
                @let length = (bar.value / most).clamp(0.0, 1.0) * BAR_WIDTH;
                @let length = if length.is_finite() { length } else { 0.0 };
                g {
                    title { (bar.label) ": " (bar.text) }
                    text x=(LABEL_WIDTH - 6.0) y=(y + 13.0) text-anchor="end" { (shortened(&bar.label)) }
                    rect class=(bar.class) x=(LABEL_WIDTH) y=(y + 2.0) width=(number(length)) height=(ROW - 5.0) {}
                    text.quiet x=(number(LABEL_WIDTH + length + 6.0)) y=(y + 13.0) { (bar.text) }
                }
            }
        }
    }
}

/// The end of a label, where names differ.
fn shortened(label: &str) -> String {
    let chars = label.chars().count();
    if chars <= LABEL_CHARS {
        return label.to_owned();
    }
    let end: String = label.chars().skip(chars + 1 - LABEL_CHARS).collect();
    format!("…{end}")
}

/// Accuracy over probability, bin by bin; what lies below the diagonal is too sure.
pub(super) fn reliability(name: &str, found: &Reliability) -> Markup {
    let most = found.bins.iter().map(|bin| bin.images).max().unwrap_or(0).max(1) as f64;
    let at = |share: f64| number(share * SIDE);
    html! {
        figure {
            svg viewBox=(format!("-34 -6 {} {}", SIDE + 44.0, SIDE + 42.0)) width=(SIDE + 44.0) role="img" aria-label=(format!("reliability of {name}")) {
                rect.line x="0" y="0" width=(SIDE) height=(SIDE) {}
                @for bin in found.bins.iter().filter(|bin| bin.images > 0) {
                    g {
                        title { (bin.images) " images, probability " (format!("{:.3}", bin.confidence)) ", right " (format!("{:.3}", bin.accuracy)) }
                        rect class=(if bin.accuracy < bin.confidence { "warm" } else { "accent" })
                            x=(at(bin.from)) y=(at(1.0 - bin.accuracy)) width=(at(bin.to - bin.from)) height=(at(bin.accuracy))
                            opacity=(number(0.35 + 0.65 * bin.images as f64 / most)) {}
                    }
                }
                line.ink x1="0" y1=(SIDE) x2=(SIDE) y2="0" stroke-dasharray="4 3" {}
                text.quiet x="0" y=(SIDE + 14.0) { "0" }
                text.quiet x=(SIDE) y=(SIDE + 14.0) text-anchor="end" { "1" }
                text.quiet x=(SIDE / 2.0) y=(SIDE + 28.0) text-anchor="middle" { "probability" }
                text.quiet x="-4" y="10" text-anchor="end" { "1" }
                text.quiet x="-4" y=(SIDE / 2.0) text-anchor="end" { "right" }
            }
            figcaption { (name) ": expected calibration error " (format!("{:.4}", found.expected_error)) }
        }
    }
}

/// Intervals under each other, with what was counted; `mark` is drawn as a line.
pub(super) fn intervals(about: &str, rows: &[(String, f64, Interval)], mark: f64) -> Markup {
    let ends = rows
        .iter()
        .flat_map(|(_, value, interval)| [*value, interval.low, interval.high]);
    let (low, high) = ends.fold((mark, mark), |(low, high), end| (low.min(end), high.max(end)));
    let span = (high - low).max(1e-9);
    let x = |value: f64| number(LABEL_WIDTH + (value - low) / span * BAR_WIDTH);
    let (width, height) = (LABEL_WIDTH + BAR_WIDTH + 20.0, ROW * (rows.len() + 1) as f64);
    html! {
        svg viewBox=(format!("0 0 {width} {height}")) width=(width) role="img" aria-label=(about) {
            line.ink x1=(x(mark)) y1="0" x2=(x(mark)) y2=(height - ROW) stroke-dasharray="4 3" {}
            @for (i, (name, value, interval)) in rows.iter().enumerate() {
                @let y = ROW * i as f64 + ROW / 2.0;
                g {
                    title { (name) ": " (percent(*value)) " (" (percent(interval.low)) " to " (percent(interval.high)) ")" }
                    text x=(LABEL_WIDTH - 6.0) y=(y + 4.0) text-anchor="end" { (shortened(name)) }
                    line.ink x1=(x(interval.low)) y1=(y) x2=(x(interval.high)) y2=(y) {}
                    circle.accent cx=(x(*value)) cy=(y) r="4" {}
                }
            }
            text.quiet x=(x(low)) y=(height - 4.0) { (percent(low)) }
            text.quiet x=(x(high)) y=(height - 4.0) text-anchor="end" { (percent(high)) }
        }
    }
}

/// Labels down, predictions across; the share of a label's images as the colour's depth.
pub(super) fn confusion(labels: &[String], images: &[Vec<usize>]) -> Markup {
    let cell = (420.0 / labels.len().max(1) as f64).clamp(10.0, 36.0);
    let side = cell * labels.len() as f64;
    html! {
        svg viewBox=(format!("-150 -4 {} {}", side + 160.0, side + 130.0)) width=(side + 160.0) role="img" aria-label="confusion: labels down, predictions across" {
            @for (row, counts) in images.iter().enumerate() {
                @let all = counts.iter().sum::<usize>().max(1);
                @let y = cell * row as f64;
                text x="-6" y=(y + cell / 2.0 + 4.0) text-anchor="end" { (shortened(&labels[row])) }
                @for (column, count) in counts.iter().enumerate() {
                    @let x = cell * column as f64;
                    g {
                        title { (labels[row]) " taken for " (labels[column]) ": " (count) " of " (all) }
                        rect.line x=(x) y=(y) width=(cell) height=(cell) {}
                        @if *count > 0 {
                            rect class=(if row == column { "accent" } else { "bad" }) x=(x) y=(y) width=(cell) height=(cell)
                                opacity=(number(0.15 + 0.85 * *count as f64 / all as f64)) {}
                        }
                        @if *count > 0 && cell >= 22.0 {
                            text class=[(2 * count > all).then_some("on")] x=(x + cell / 2.0) y=(y + cell / 2.0 + 4.0) text-anchor="middle" { (count) }
                        }
                    }
                }
            }
            @for (column, label) in labels.iter().enumerate() {
                @let (x, y) = (cell * column as f64 + cell / 2.0, side + 8.0);
                text x=(x) y=(y) text-anchor="end" transform=(format!("rotate(-60 {x} {y})")) { (shortened(label)) }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Two digits after the point.
fn number(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_say_and_odd_values_have_none() {
        let bar = |value| Bar {
            label: "<x>".to_owned(),
            value,
            text: String::new(),
            class: "accent",
        };
        let text = bars("x", &[bar(2.0), bar(1.0), bar(f64::NAN), bar(-1.0)]).into_string();
        assert!(
            text.contains("width=\"420.00\"") && text.contains("width=\"210.00\""),
            "{text}"
        );
        assert_eq!(text.matches("width=\"0.00\"").count(), 2);
        assert!(!text.contains("<x>") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn there_is_room_for_the_longest_text() {
        let width = |text: &str| {
            let bar = Bar {
                label: String::new(),
                value: 1.0,
                text: text.to_owned(),
                class: "accent",
            };
            let text = bars("x", &[bar]).into_string();
            let width = text.split(" width=\"").nth(1).and_then(|rest| rest.split('"').next());
            width.unwrap().parse::<f64>().unwrap()
        };
        assert_eq!(width(&"x".repeat(40)) - width(""), 40.0 * CHAR_WIDTH);
    }

    #[test]
    fn a_long_label_keeps_its_end() {
        let label = format!("{}end", "é".repeat(50));
        let found = shortened(&label);
        assert_eq!(found.chars().count(), LABEL_CHARS);
        assert!(found.starts_with('…') && found.ends_with("éend"));
    }
}
