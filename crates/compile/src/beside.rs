//! Plans for models that are compiled while others are served: all-core runs would hold those up, and are not measured.

use super::facts::GraphFacts;
use repserve_quantize::Precision;
use repserve_runtime::{Curve, ImageSession, Point};
use repserve_scheduler::{Session, SessionError, Sessions};

/// An all-core run is assumed to take this many times what it would if all cores shared its work evenly.
const WIDE_LOSS: f64 = 1.3;

/// What was measured of a model that is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its deploy graph.
    pub deploy: GraphFacts,
    /// Its arithmetic.
    pub precision: Precision,
    /// Channels, height and width of its images.
    pub image: [usize; 3],
    /// How long its runs take.
    pub curve: Curve,
}

impl Measured {
    /// Whether a model computes as much in the same way: another version of the same network.
    pub(super) fn fits(&self, deploy: &GraphFacts, precision: Precision, image: [usize; 3]) -> bool {
        let size = |graph: &GraphFacts| (graph.nodes, graph.convolutions, graph.parameters, graph.macs);
        size(&self.deploy) == size(deploy) && self.precision == precision && self.image == image
    }
}

/// Runs every session once.
///
/// # Errors
/// One does not run.
pub(super) fn run_each(sessions: &mut Sessions<ImageSession>, image: &[f32]) -> Result<(), SessionError> {
    let batch = [image.to_vec()];
    for session in sessions.narrow.iter_mut().chain(sessions.wide.as_mut()) {
        session.run(&batch)?;
    }
    Ok(())
}

/// The curve with what all-core runs are assumed to take on `cores` cores.
pub(super) fn with_assumed_wide(mut curve: Curve, cores: usize) -> Curve {
    let single = curve.narrow.iter().find(|point| point.batch_size == 1);
    curve.wide = single
        .map(|point| Point {
            batch_size: 1,
            latency_ms: point.latency_ms * WIDE_LOSS / cores.max(1) as f64,
        })
        .into_iter()
        .collect();
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_core_runs_are_assumed_where_they_are_not_measured() {
        let narrow = vec![Point {
            batch_size: 1,
            latency_ms: 10.0,
        }];
        let curve = Curve {
            narrow,
            ..Curve::default()
        };
        let assumed = with_assumed_wide(curve.clone(), 4);
        assert_eq!((assumed.wide.len(), assumed.wide[0].latency_ms), (1, 3.25));
        assert_eq!((assumed.wide_max(), with_assumed_wide(curve, 1).wide_max()), (1, 0));
    }
}
