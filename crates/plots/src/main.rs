//! Draws the plots of a run of `repserve bench`: reads FOLDER/figures.json, writes an SVG a model beside it.

use std::path::Path;

use anyhow::Context;
use repserve_measure::report::Report;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("usage: repserve-plots FOLDER, with the figures.json that `repserve bench --out FOLDER` wrote")?;
    let folder = Path::new(&folder);
    let file = folder.join("figures.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let reports: Vec<Report> = serde_json::from_str(&text)
        .with_context(|| format!("{} is not what `repserve bench` writes", file.display()))?;
    for report in &reports {
        let plot = folder.join(format!("{}.svg", report.model));
        std::fs::write(&plot, repserve_plots::load::svg(report)?)
            .with_context(|| format!("cannot write {}", plot.display()))?;
    }
    Ok(())
}
