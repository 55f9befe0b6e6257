//! A server under load: throughput and latency of every scenario, as bars.

use plotters::prelude::*;
use repserve_measure::report::{Load, Throughput};
use repserve_measure::stats::Summary;

/// Latency percentiles of every scenario beside its throughput, as an SVG document.
///
/// # Errors
/// Where it cannot be drawn.
pub fn svg(model: &str, report: &Throughput) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (960, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(480);
        let throughput: Vec<f64> = report.scenarios.iter().map(|s| s.summary.images_per_second).collect();
        bars(
            (model, report),
            &left,
            "images/s (line: bare loop)",
            &[("served", throughput)],
            Some(report.bare.images_per_second),
        )?;
        let latency = |pick: fn(&Summary) -> f64| report.scenarios.iter().map(|s| pick(&s.summary)).collect();
        let series = [
            ("p50", latency(|s| s.latency_ms.p50)),
            ("p95", latency(|s| s.latency_ms.p95)),
            ("p99", latency(|s| s.latency_ms.p99)),
        ];
        bars((model, report), &right, "latency of responses, ms", &series, None)?;
        root.present()?;
    }
    Ok(svg)
}

fn bars(
    (model, report): (&str, &Throughput),
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    series: &[(&str, Vec<f64>)],
    line: Option<f64>,
) -> anyhow::Result<()> {
    let highest = series
        .iter()
        .flat_map(|(_, v)| v)
        .copied()
        .chain(line)
        .fold(f64::MIN_POSITIVE, f64::max);
    let count = report.scenarios.len();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{model}: {title}"), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..count as f64, 0.0..highest * 1.1)?;
    let label = |x: &f64| match report.scenarios.get(*x as usize).map(|s| s.load) {
        Some(Load::Closed(n)) => format!("{n} conn"),
        Some(Load::Open(percent) | Load::Poisson(percent)) => format!("{percent} %"),
        None => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(count + 1)
        .x_label_formatter(&label)
        .draw()?;
    let width = 0.8 / series.len() as f64;
    for (index, (name, values)) in series.iter().enumerate() {
        let colour = Palette99::pick(index).mix(0.85).filled();
        let boxes = values.iter().enumerate().map(|(at, value)| {
            let left = at as f64 + 0.1 + index as f64 * width;
            Rectangle::new([(left, 0.0), (left + width, *value)], colour)
        });
        chart
            .draw_series(boxes)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour));
    }
    if let Some(height) = line {
        chart.draw_series([PathElement::new(
            [(0.0, height), (count as f64, height)],
            BLACK.stroke_width(2),
        )])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}
