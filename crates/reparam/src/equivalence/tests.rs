//! Comparing closures in place of graphs.

use super::*;

fn echo(scale: f32) -> impl FnMut(&Probe) -> Result<Output, String> {
    move |probe| {
        Ok(Output {
            shape: probe.shape.clone(),
            data: probe.data.iter().map(|v| v * scale).collect(),
        })
    }
}

fn check(scale: f32, holds: bool) -> Equivalence {
    let probes = Probe::batches(&[10], &[1, 3], 7);
    let result = compare(&probes, Tolerance::default(), echo(1.0), echo(scale)).expect("compares");
    assert_eq!(result.holds(), holds, "{result}");
    result
}

#[test]
fn error_is_relative_to_the_train_time_output() {
    assert_eq!(check(1.0, true).images, 4);
    assert!((check(1.001, false).relative_error - 1e-3).abs() < 1e-6);
    assert_eq!(check(-1.0, false).top1_agreement, 0.0);
    assert!(check(f32::NAN, false).relative_error.is_nan());
}

#[test]
fn outputs_near_zero_are_compared_with_a_floor() {
    assert_eq!(relative_error(&[2e-9], &[1e-9], 0.0), 0.5);
    assert!(relative_error(&[2e-9], &[1e-9], 1e-2) <= 1e-7);
    assert_eq!(relative_error(&[0.0], &[0.0], 0.0), 0.0);
    assert!(relative_error(&[f32::NAN], &[f32::NAN], 1.0).is_nan());
}

#[test]
fn probes_are_the_same_everywhere() {
    let probe = Probe::random(&[2, 500], 1);
    assert_eq!(probe, Probe::random(&[2, 500], 1));
    assert_ne!(probe.data, Probe::random(&[2, 500], 2).data);
    let mean = probe.data.iter().sum::<f32>() / 1000.0;
    let variance = probe.data.iter().map(|v| v * v).sum::<f32>() / 1000.0;
    assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
}

#[test]
fn the_first_block_that_differs_is_named() {
    let block = |name: &str| Block {
        output: name.to_owned(),
        ..Block::default()
    };
    let blocks = [block("a"), block("b"), block("c")];
    let run = |wrong: f32| {
        move |_: &Probe, names: &[&str]| {
            let value = |n: &&str| Output {
                shape: vec![1],
                data: vec![if *n == "a" { 1.0 } else { wrong }],
            };
            Ok::<_, String>(names.iter().map(value).collect())
        }
    };
    let probe = Probe::random(&[1], 0);
    let found = first_difference(&blocks, &probe, 1e-4, run(1.0), run(1.5)).expect("runs");
    assert_eq!(found.map(|d| d.block).as_deref(), Some("b"));
    assert_eq!(first_difference(&blocks, &probe, 1e-4, run(1.0), run(1.0)), Ok(None));
}
