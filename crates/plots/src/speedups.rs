//! Speed-ups as horizontal bars, a line at 1.

use plotters::prelude::*;

/// An SVG document of `lines`: what was measured, and how many times as fast it is.
///
/// # Errors
/// Where it cannot be drawn.
pub fn svg(lines: &[(String, f64)]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let height = 96 + 28 * lines.len() as u32;
        let root = SVGBackend::with_string(&mut svg, (900, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let highest = lines.iter().map(|l| l.1).fold(2.0, f64::max);
        let count = lines.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "The fused graph with repserve's kernels beside ONNX Runtime's",
                ("sans-serif", 18),
            )
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(330)
            .build_cartesian_2d(0.0..highest * 1.1, count..0.0)?;
        let label = |y: &f64| {
            let line = lines.get(*y as usize).filter(|_| y.fract() == 0.5);
            line.map_or(String::new(), |l| l.0.replace(" | ", ", "))
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .y_labels(0)
            .x_desc("times as fast as ONNX Runtime alone (line: as fast)")
            .draw()?;
        for (index, (_, times)) in lines.iter().enumerate() {
            let top = index as f64 + 0.15;
            let bar = [(0.0, top), (*times, top + 0.7)];
            chart.draw_series([Rectangle::new(bar, BLUE.mix(0.6).filled())])?;
            let middle = index as f64 + 0.5;
            chart.draw_series([Text::new(
                format!("{times:.2}"),
                (times + 0.03, middle - 0.2),
                ("sans-serif", 14),
            )])?;
            let (x, y) = chart.backend_coord(&(0.0, middle));
            let style = ("sans-serif", 14).into_text_style(&root);
            root.draw_text(&label(&middle), &style, (x - 325, y - 7))?;
        }
        chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, count)], BLACK)])?;
        root.present()?;
    }
    Ok(svg)
}
