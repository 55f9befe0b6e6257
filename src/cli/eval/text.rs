//! An evaluation as people read it.

use std::fmt::Write as _;

use super::document::{Compared, Document, VariantFound};
use repserve_evaluation::{Accuracy, Difference, Interval};

/// Lines of a list at most; JSON has all.
const LINES_MAX: usize = 20;

/// The text of an evaluation.
pub(super) fn of(document: &Document) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} images, {} with a label, {} could not be read; intervals with {} % confidence\n",
        document.images,
        document.labelled,
        document.unreadable.len(),
        100.0 * document.confidence
    );
    summary(document, &mut out);
    for compared in &document.comparisons {
        comparison(document, compared, &mut out);
    }
    for variant in &document.variants {
        if let Some(accuracy) = &variant.accuracy {
            weakest(document, variant, accuracy, &mut out);
        }
    }
    if document.labelled == 0 {
        out.push_str(
            "\nno image has a label: put images into folders that are named by their class, or give a CSV file of file,label\n",
        );
    }
    out
}

fn summary(document: &Document, out: &mut String) {
    let width = document
        .variants
        .iter()
        .map(|v| v.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(7);
    let _ = writeln!(
        out,
        "{:width$}  precision  {:>8}  {:>18}  {:>8}  {:>9}  {:>17}  images/s",
        "variant", "top-1", "", "top-5", "by class", "calibration error"
    );
    for variant in &document.variants {
        let _ = write!(out, "{:width$}  {:>9}", variant.name, variant.precision.label());
        match &variant.accuracy {
            Some(accuracy) => {
                let _ = write!(
                    out,
                    "  {:>6.2} %  {:>18}  {:>6.2} %  {:>7.2} %  {:>17.4}",
                    100.0 * accuracy.top1.share,
                    range(accuracy.top1.interval, "%"),
                    100.0 * accuracy.top5.share,
                    100.0 * accuracy.balanced,
                    accuracy.reliability.expected_error
                );
            }
            None => {
                let _ = write!(out, "  {:>8}  {:>18}  {:>8}  {:>9}  {:>17}", "-", "", "-", "-", "-");
            }
        }
        let _ = writeln!(out, "  {:.1}", variant.images_per_s);
        if variant.failed > 0 {
            let _ = writeln!(out, "{:width$}  returns no numbers for {} images", "", variant.failed);
        }
    }
}

fn comparison(document: &Document, compared: &Compared, out: &mut String) {
    let agreement = &compared.comparison.agreement;
    let _ = writeln!(
        out,
        "\n{} and {}: agreement {:.2} % ({}), {} of {} images changed",
        compared.first,
        compared.second,
        100.0 * agreement.share,
        range(agreement.interval, "%"),
        agreement.of - agreement.count,
        agreement.of
    );
    if let Some(accuracy) = &compared.comparison.accuracy {
        let Difference {
            difference,
            interval,
            bootstrap_interval,
            mcnemar_p,
            counts,
        } = accuracy;
        let _ = writeln!(
            out,
            "  top-1 changes by {:+.2} points ({}; bootstrap {}); only {} right {}, only {} {}; McNemar p = {mcnemar_p:.3}",
            100.0 * difference,
            range(*interval, "points"),
            range(*bootstrap_interval, "points"),
            compared.first,
            counts.only_first,
            compared.second,
            counts.only_second,
        );
    }
    let changed = compared.comparison.changed.iter().zip(&compared.changed_files);
    for (change, file) in changed.take(LINES_MAX) {
        let label = change
            .label
            .map_or_else(String::new, |label| format!(" ({})", document.label(label)));
        let [first, second] = [&change.first, &change.second].map(|guess| document.guess(guess));
        let _ = writeln!(out, "  {file}{label}: {first} -> {second}");
    }
    more(compared.comparison.changed.len(), out);
}

/// The classes that are right least often, and what is taken for what.
fn weakest(document: &Document, variant: &VariantFound, accuracy: &Accuracy, out: &mut String) {
    let mut classes: Vec<_> = accuracy
        .classes
        .iter()
        .filter(|class| class.right < class.images)
        .collect();
    classes.sort_by(|a, b| {
        let share = |right: usize, images: usize| right as f64 / images as f64;
        share(a.right, a.images).total_cmp(&share(b.right, b.images))
    });
    if classes.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}: classes that are right least often", variant.name);
    for class in classes.iter().take(LINES_MAX) {
        let _ = writeln!(
            out,
            "  {:>5} of {:<5} {}",
            class.right,
            class.images,
            document.label(class.class)
        );
    }
    more(classes.len(), out);
    let _ = writeln!(out, "{}: what is taken for what", variant.name);
    for confusion in accuracy.confusions.iter().take(LINES_MAX) {
        let [label, predicted] = [confusion.label, confusion.predicted].map(|class| document.label(class));
        let _ = writeln!(out, "  {:>5}  {label} -> {predicted}", confusion.images);
    }
    more(accuracy.confusions.len(), out);
}

fn more(lines: usize, out: &mut String) {
    if let Some(more) = lines.checked_sub(LINES_MAX).filter(|more| *more > 0) {
        let _ = writeln!(out, "  and {more} more (--json has all)");
    }
}

fn range(interval: Interval, unit: &str) -> String {
    format!("{:.2} to {:.2} {unit}", 100.0 * interval.low, 100.0 * interval.high)
}
