//! Batch sizes that are nearly as good as each other are measured again, in turns: what disturbs a machine for a while then disturbs all of
//! them, and the least time of each is that of a quiet while. One measurement after the other finds no difference of 5 %.

use super::Point;

/// Turns at most.
const TURNS_MAX: usize = 2;
/// A size with less than this share of the best rate is not in question: after one measurement, which may have been disturbed, and after a
/// turn more.
const IN_QUESTION: [f64; 2] = [0.6, 0.95];

/// Measures the sizes in question again, with `latency_ms` (milliseconds of a batch of that size; `None`: no time is left), until one is
/// left. Each point gets the least of its measurements.
///
/// # Errors
/// Those of `latency_ms`.
pub(super) fn settle<E>(
    points: &mut [Point],
    mut latency_ms: impl FnMut(usize) -> Result<Option<f64>, E>,
) -> Result<(), E> {
    let mut in_question: Vec<usize> = (0..points.len()).collect();
    for turn in 0..TURNS_MAX {
        let best = points.iter().map(Point::rate).fold(0.0, f64::max);
        in_question.retain(|i| points[*i].rate() >= best * IN_QUESTION[turn.min(1)]);
        if in_question.len() < 2 {
            break;
        }
        for &i in &in_question {
            let Some(ms) = latency_ms(points[i].batch_size)? else {
                return Ok(());
            };
            points[i].latency_ms = points[i].latency_ms.min(ms);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::tests::points;
    use super::*;

    #[test]
    fn one_disturbed_measurement_decides_nothing() {
        // Two images take 42 ms, but were disturbed at first.
        let mut curve = points(&[23.0, 58.5]);
        let mut asked = Vec::new();
        let measured = settle(&mut curve, |size| {
            asked.push(size);
            Ok::<_, Infallible>(Some(if size == 1 { 23.5 } else { 42.0 }))
        });
        assert_eq!(measured, Ok(()));
        assert_eq!(asked, [1, 2]);
        assert_eq!(curve, points(&[23.0, 42.0]));
    }

    #[test]
    fn what_is_clear_is_not_measured_again() {
        let mut curve = points(&[1.0, 1.1]);
        let clear = settle(&mut curve, |_| Err("no measurement is wanted"));
        assert_eq!(clear, Ok(()));
        assert_eq!(curve, points(&[1.0, 1.1]));
    }

    #[test]
    fn what_stays_close_is_given_up() {
        let mut asked = 0;
        let measured = settle(&mut points(&[1.0, 2.0]), |size| {
            asked += 1;
            Ok::<_, Infallible>(Some(size as f64))
        });
        assert_eq!((measured, asked), (Ok(()), 2 * TURNS_MAX));
    }

    #[test]
    fn it_ends_with_the_time_and_passes_failures_on() {
        let mut curve = points(&[1.0, 2.0]);
        assert_eq!(settle(&mut curve, |_| Ok::<_, Infallible>(None)), Ok(()));
        assert_eq!(curve, points(&[1.0, 2.0]));
        assert_eq!(settle(&mut curve, |_| Err("broken")), Err("broken"));
    }
}
