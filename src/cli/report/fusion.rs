//! The report of `inspect` and `convert`: what was fused, and what each layer holds and does.

use maud::{Markup, html};

use super::blocks;
use super::charts::{Bar, bars};
use super::page::{count, page, section};
use repserve_compile::{ErrorsByValue, ValueError};
use repserve_graph::Model;
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::layers;
use repserve_reparam::report::{LayerStats, Report};

/// The page of a model that was fused, or would be. `equivalence` is that of both graphs, where they were compared.
pub(in crate::cli) fn html(
    name: &str,
    report: &Report,
    deploy: &Model,
    equivalence: Option<&Equivalence>,
    errors: Option<&ErrorsByValue>,
) -> String {
    let body = html! {
        (section("size", "Size", &size(report)))
        @if let Some(equivalence) = equivalence {
            (section("equivalence", "Equivalence", &html! { p { (equivalence) } }))
        }
        @if !report.warnings.is_empty() {
            (section("warnings", "Warnings", &html! { ul { @for warning in &report.warnings { li { (warning) } } } }))
        }
        @if let Some(errors) = errors {
            (section("errors", "Relative error by value, on one image", &by_value(errors)))
        }
        (by_layer(&layers(deploy)))
        (section("blocks", &format!("{} blocks, before and after", report.blocks.len()), &fused(report)))
        @if !report.refusals.is_empty() {
            (section("refusals", "Left as they are", &refusals(report)))
        }
    };
    page(name, "fusing", &body)
}

fn size(report: &Report) -> Markup {
    let macs = |macs: Option<u64>| macs.map_or_else(|| "unknown".to_owned(), count);
    html! {
        table {
            tr { th {} th.number { "nodes" } th.number { "convolutions" } th.number { "parameters" } th.number { "multiply-adds" } }
            @for (name, graph) in [("train-time graph", &report.source), ("deploy graph", &report.deploy)] {
                tr {
                    td { (name) }
                    td.number { (graph.nodes()) }
                    td.number { (graph.count("Conv")) }
                    td.number { (count(graph.parameters as u64)) }
                    td.number { (macs(graph.macs)) }
                }
            }
        }
    }
}

fn by_layer(layers: &[LayerStats]) -> Markup {
    let bar = |layer: &LayerStats, number: u64, class| Bar {
        label: layer.output.clone(),
        value: number as f64,
        text: count(number),
        class,
    };
    let parameters: Vec<Bar> = layers
        .iter()
        .map(|layer| bar(layer, layer.parameters as u64, "accent"))
        .collect();
    let macs: Vec<Bar> = layers
        .iter()
        .filter_map(|layer| Some(bar(layer, layer.macs?, "warm")))
        .collect();
    html! {
        (section("parameters", "Parameters by layer of the deploy graph", &bars("parameters by layer", &parameters)))
        @if !macs.is_empty() {
            (section("operations", "Multiply-adds by layer, for one image", &bars("multiply-adds by layer", &macs)))
        }
    }
}

fn by_value(errors: &ErrorsByValue) -> Markup {
    let bar = |error: &ValueError| Bar {
        label: error.value.clone(),
        value: error.relative_error.unwrap_or(0.0),
        text: error
            .relative_error
            .map_or_else(|| "unknown".to_owned(), |error| format!("{error:.1e}")),
        class: "accent",
    };
    let bars_of: Vec<Bar> = errors.blocks.iter().chain(&errors.outputs).map(bar).collect();
    bars("relative error by value", &bars_of)
}

fn fused(report: &Report) -> Markup {
    html! {
        @if report.blocks.is_empty() { p { "There is no block of branches." } }
        @for block in &report.blocks {
            div.block {
                h3 { (block.output) }
                (blocks::drawing(block))
                details { summary.quiet { (block.nodes.len()) " nodes" } p.quiet { (block.nodes.join(", ")) } }
            }
        }
    }
}

fn refusals(report: &Report) -> Markup {
    html! {
        table {
            tr { th { "block" } th { "why" } }
            @for refusal in &report.refusals {
                tr { td { (refusal.block) } td { (refusal.reason) } }
            }
        }
    }
}
