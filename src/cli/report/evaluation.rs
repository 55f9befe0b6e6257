//! The report of `eval`: accuracy, calibration, confusion, and the pictures whose class changed.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::charts::{Bar, bars, confusion, intervals, reliability};
use super::page::{page, percent, section};
use crate::cli::eval::document::{Compared, Document, VariantFound};
use repserve_evaluation::Accuracy;

/// Classes that a matrix shows at most; beyond, a list does.
const MATRIX_CLASSES_MAX: usize = 40;
/// Rows of a list.
const ROWS_MAX: usize = 40;

/// The page of an evaluation. `pictures` are JPEGs in base64 of images by their places, as the model sees them.
pub(in crate::cli) fn html(name: &str, document: &Document, pictures: &BTreeMap<usize, String>) -> String {
    let with_accuracy = || document.variants.iter().filter_map(|v| Some((v, v.accuracy.as_ref()?)));
    let body = html! {
        (section("summary", "Forms of the model", &summary(document)))
        @if !document.comparisons.is_empty() {
            (section("differences", "Differences", &differences(document)))
        }
        @if with_accuracy().next().is_some() {
            (section("reliability", "Whether probabilities mean what they say", &html! {
                div.row { @for (variant, accuracy) in with_accuracy() { (reliability(&variant.name, &accuracy.reliability)) } }
            }))
        }
        @for (variant, accuracy) in with_accuracy() {
            (section(&format!("classes-{}", variant.name), &format!("Classes: {}", variant.name), &classes(document, accuracy)))
        }
        @for compared in &document.comparisons {
            (changed(document, compared, pictures))
        }
    };
    page(name, &format!("evaluation on {} images", document.images), &body)
}

fn summary(document: &Document) -> Markup {
    let row = |variant: &VariantFound| match &variant.accuracy {
        Some(accuracy) => [
            percent(accuracy.top1.share),
            percent(accuracy.top5.share),
            percent(accuracy.balanced),
            format!("{:.4}", accuracy.reliability.expected_error),
        ],
        None => ["-"; 4].map(str::to_owned),
    };
    let top1 = document.variants.iter().filter_map(|variant| {
        let top1 = &variant.accuracy.as_ref()?.top1;
        Some((variant.name.clone(), top1.share, top1.interval))
    });
    let top1: Vec<_> = top1.collect();
    html! {
        p { (document.images) " images, " (document.labelled) " with a label, " (document.unreadable.len()) " could not be read; intervals with "
            (100.0 * document.confidence) " % confidence" }
        table {
            tr { th { "form" } th { "precision" } th.number { "top-1" } th.number { "top-5" } th.number { "by class" } th.number { "calibration error" } th.number { "images/s" } }
            @for variant in &document.variants {
                tr {
                    td { (variant.name) }
                    td { (variant.precision.label()) }
                    @for cell in row(variant) { td.number { (cell) } }
                    td.number { (format!("{:.1}", variant.images_per_s)) }
                }
            }
        }
        @if let Some((_, first, _)) = top1.first() {
            h3 { "Top-1 accuracy" }
            (intervals("top-1 accuracy with its interval; the line is the first form's", &top1, *first))
        }
    }
}

fn differences(document: &Document) -> Markup {
    let name = |compared: &Compared| format!("{} and {}", compared.first, compared.second);
    let agreements: Vec<_> = document
        .comparisons
        .iter()
        .map(|c| (name(c), c.comparison.agreement.share, c.comparison.agreement.interval))
        .collect();
    let accuracies = document
        .comparisons
        .iter()
        .filter_map(|c| Some((c, c.comparison.accuracy.as_ref()?)));
    let rows: Vec<_> = accuracies
        .clone()
        .map(|(c, a)| (name(c), a.difference, a.interval))
        .collect();
    html! {
        h3 { "Agreement of the best class" }
        (intervals("agreement with its interval", &agreements, 1.0))
        @if !rows.is_empty() {
            h3 { "Change of top-1 accuracy" }
            (intervals("change of accuracy with its interval", &rows, 0.0))
            table {
                tr { th {} th.number { "only the first right" } th.number { "only the second" } th.number { "McNemar p" } }
                @for (compared, accuracy) in accuracies {
                    tr {
                        td { (name(compared)) }
                        td.number { (accuracy.counts.only_first) }
                        td.number { (accuracy.counts.only_second) }
                        td.number { (format!("{:.3}", accuracy.mcnemar_p)) }
                    }
                }
            }
        }
    }
}

fn classes(document: &Document, accuracy: &Accuracy) -> Markup {
    let mut bars_of: Vec<Bar> = accuracy
        .classes
        .iter()
        .filter(|class| class.images > 0)
        .map(|class| Bar {
            label: document.label(class.class).to_owned(),
            value: class.right as f64 / class.images as f64,
            text: format!("{} of {}", class.right, class.images),
            class: "accent",
        })
        .collect();
    bars_of.sort_by(|a, b| a.value.total_cmp(&b.value));
    let more = bars_of.len().saturating_sub(ROWS_MAX);
    bars_of.truncate(ROWS_MAX);
    html! {
        h3 { "Right, the weakest first" }
        (bars("share of each class that is right", &bars_of))
        @if more > 0 { p.quiet { "and " (more) " classes that are right as often or more" } }
        h3 { "What is taken for what" }
        @if accuracy.classes.len() <= MATRIX_CLASSES_MAX { (matrix(document, accuracy)) } @else { (list(document, accuracy)) }
    }
}

fn matrix(document: &Document, accuracy: &Accuracy) -> Markup {
    let place: BTreeMap<usize, usize> = accuracy.classes.iter().enumerate().map(|(i, c)| (c.class, i)).collect();
    let mut images = vec![vec![0; place.len()]; place.len()];
    for class in &accuracy.classes {
        let at = place[&class.class];
        images[at][at] = class.right;
    }
    for confused in &accuracy.confusions {
        if let (Some(row), Some(column)) = (place.get(&confused.label), place.get(&confused.predicted)) {
            images[*row][*column] = confused.images;
        }
    }
    let labels: Vec<String> = place.keys().map(|class| document.label(*class).to_owned()).collect();
    confusion(&labels, &images)
}

fn list(document: &Document, accuracy: &Accuracy) -> Markup {
    html! {
        table {
            tr { th { "label" } th { "taken for" } th.number { "images" } }
            @for confused in accuracy.confusions.iter().take(ROWS_MAX) {
                tr {
                    td { (document.label(confused.label)) }
                    td { (document.label(confused.predicted)) }
                    td.number { (confused.images) }
                }
            }
        }
    }
}

/// A path's last part, which is what tells pictures of a folder apart.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn changed(document: &Document, compared: &Compared, pictures: &BTreeMap<usize, String>) -> Markup {
    let changes = compared.comparison.changed.iter().zip(&compared.changed_files);
    let heading = format!("Changed from {} to {}", compared.first, compared.second);
    let body = html! {
        @if compared.changed_files.is_empty() { p.good { "No image changed its class." } }
        div.pictures {
            @for (change, file) in changes {
                figure {
                    @if let Some(picture) = pictures.get(&change.image) {
                        img alt=(file) src=(format!("data:image/jpeg;base64,{picture}"));
                    }
                    figcaption {
                        div { (document.guess(&change.first)) }
                        div { "→ " (document.guess(&change.second)) }
                        @if let Some(label) = change.label {
                            @let right = label == change.second.class;
                            div class=(if right { "good" } else { "bad" }) { "is " (document.label(label)) }
                        }
                        div.quiet title=(file) { (file_name(file)) }
                    }
                }
            }
        }
    };
    section(&format!("changed-{}", compared.second), &heading, &body)
}
