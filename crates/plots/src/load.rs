//! A server under load: throughput and latency of every scenario, as bars.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use repserve_measure::report::{Load, Throughput};
use repserve_measure::stats::Summary;

/// Height of the plot beside that of the highest bar: the legend stands above it.
const ROOM_ABOVE: f64 = 1.3;

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
            ("images served", "images per second"),
            &[("the server", throughput)],
            Some(("bare loop over the same model", report.bare.images_per_second)),
        )?;
        let latency = |pick: fn(&Summary) -> f64| report.scenarios.iter().map(|s| pick(&s.summary)).collect();
        let series = [
            ("p50: half of them took less", latency(|s| s.latency_ms.p50)),
            ("p95: 95 of 100 took less", latency(|s| s.latency_ms.p95)),
            ("p99: 99 of 100 took less", latency(|s| s.latency_ms.p99)),
        ];
        bars(
            (model, report),
            &right,
            ("latency of responses", "milliseconds"),
            &series,
            None,
        )?;
        root.present()?;
    }
    Ok(svg)
}

fn bars(
    (model, report): (&str, &Throughput),
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    (title, unit): (&str, &str),
    series: &[(&str, Vec<f64>)],
    line: Option<(&str, f64)>,
) -> anyhow::Result<()> {
    let highest = series
        .iter()
        .flat_map(|(_, v)| v)
        .copied()
        .chain(line.map(|(_, height)| height))
        .fold(f64::MIN_POSITIVE, f64::max);
    let count = report.scenarios.len();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{model}: {title}"), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(52)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..count as f64, 0.0..highest * ROOM_ABOVE)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .light_line_style(TRANSPARENT)
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .x_label_formatter(&|_| String::new())
        .y_label_formatter(&|y| y.to_string())
        .x_desc("load: open connections, or share of the capacity that is offered")
        .y_desc(unit)
        .draw()?;
    // A tick's label would stand at the edge of its bars.
    for (at, scenario) in report.scenarios.iter().enumerate() {
        let label = match scenario.load {
            Load::Closed(n) => format!("{n} conn."),
            Load::Open(percent) | Load::Poisson(percent) => format!("{percent} %"),
        };
        let (x, y) = chart.backend_coord(&(at as f64 + 0.5, 0.0));
        let (left, top) = area.get_base_pixel();
        let style = ("sans-serif", 12).into_text_style(area);
        area.draw_text(
            &label,
            &style.pos(Pos::new(HPos::Center, VPos::Top)),
            (x - left, y - top + 6),
        )?;
    }
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
    if let Some((name, height)) = line {
        let ends = [(0.0, height), (count as f64, height)];
        chart
            .draw_series([PathElement::new(ends, BLACK.stroke_width(2))])?
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 10, y)], BLACK.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
