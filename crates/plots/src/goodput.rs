//! Goodput over offered load: a curve for each server, both axes in requests a second.

use anyhow::Context;
use plotters::prelude::*;
use repserve_measure::report::Curve;

/// An SVG document of `curves`, which are of one machine and one deadline. The horizontal axis is logarithmic.
///
/// # Errors
/// Where there is no curve with a point, where deadlines differ, or where it cannot be drawn.
pub fn svg(curves: &[Curve]) -> anyhow::Result<String> {
    let deadline_ms = curves.first().context("there is no curve to draw")?.deadline_ms;
    anyhow::ensure!(
        curves.iter().all(|c| c.deadline_ms == deadline_ms),
        "curves of several deadlines do not belong in one plot"
    );
    let points = || curves.iter().flat_map(|c| &c.points);
    let offered = || points().map(|p| p.offered_per_second).filter(|x| *x > 0.0);
    let (least, greatest) = (offered().fold(f64::INFINITY, f64::min), offered().fold(0.0, f64::max));
    anyhow::ensure!(least < greatest, "a curve needs two loads that differ");
    let highest = points().map(|p| p.in_time_per_second).fold(f64::MIN_POSITIVE, f64::max);

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (960, 480)).into_drawing_area();
        root.fill(&WHITE)?;
        let title = format!("Served within {deadline_ms} ms over offered load (Poisson arrivals)");
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d((least..greatest).log_scale(), 0.0..highest * 1.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("offered load, images per second (logarithmic)")
            .y_desc("served in time, images per second")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()?;
        for (index, curve) in curves.iter().enumerate() {
            let colour = Palette99::pick(index).stroke_width(2);
            let points = curve.points.iter().filter(|p| p.offered_per_second > 0.0);
            let line: Vec<_> = points.map(|p| (p.offered_per_second, p.in_time_per_second)).collect();
            chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            chart
                .draw_series([PathElement::new(line, colour)])?
                .label(&curve.server)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use repserve_measure::goodput::Goodput;

    use super::*;

    fn curve(server: &str, deadline_ms: u64) -> Curve {
        let point = |offered_per_second, in_time_per_second| Goodput {
            offered_per_second,
            in_time_per_second,
            ..Goodput::default()
        };
        Curve {
            server: server.to_owned(),
            machine: "a machine".to_owned(),
            deadline_ms,
            capacity_per_second: 100.0,
            points: vec![point(0.0, 0.0), point(50.0, 50.0), point(1000.0, 96.0)],
        }
    }

    #[test]
    fn every_server_has_a_line_and_a_name() {
        let svg = svg(&[curve("one", 200), curve("another", 200)]).unwrap();
        assert!(svg.contains("within 200 ms"), "{svg}");
        for server in ["one", "another"] {
            assert!(svg.contains(server), "{svg}");
        }
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
    }

    #[test]
    fn what_cannot_be_compared_is_not_drawn() {
        assert!(svg(&[]).is_err());
        assert!(svg(&[curve("one", 200), curve("another", 100)]).is_err());
        let mut flat = curve("flat", 200);
        flat.points.truncate(2);
        assert!(svg(&[flat]).is_err());
    }
}
