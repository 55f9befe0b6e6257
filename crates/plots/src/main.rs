//! Draws what was measured.
//!
//! `repserve-plots FOLDER`: reads FOLDER/figures.json, which `repserve bench --out FOLDER` wrote, and writes an SVG a model beside it.
//! `repserve-plots FILE`: reads curves, which `benches/peers/goodput.py` wrote, and writes one SVG beside it.

use std::path::Path;

use anyhow::Context;
use repserve_measure::report::{Curve, Report};
use serde::de::DeserializeOwned;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).context(
        "usage: repserve-plots FOLDER, with the figures.json that `repserve bench --out FOLDER` wrote, or repserve-plots FILE, with curves",
    )?;
    let path = Path::new(&path);
    if path.is_dir() {
        draw_reports(path)
    } else {
        let curves: Vec<Curve> = read(path)?;
        write(&path.with_extension("svg"), &repserve_plots::goodput::svg(&curves)?)
    }
}

fn draw_reports(folder: &Path) -> anyhow::Result<()> {
    let reports: Vec<Report> = read(&folder.join("figures.json"))?;
    for report in &reports {
        if let Some(throughput) = &report.throughput {
            let plot = folder.join(format!("{}.svg", report.model));
            write(&plot, &repserve_plots::load::svg(&report.model, throughput)?)?;
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what was measured", file.display()))
}

fn write(file: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(file, svg).with_context(|| format!("cannot write {}", file.display()))
}
