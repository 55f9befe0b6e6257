//! Numbers that are none, and those that hardly are.

use super::super::*;
use super::case::Case;
use super::{ALGORITHMS, plain, sets};

/// Puts `value` into one input pixel and returns, per output, whether its receptive field holds it and what came out.
fn with_one_pixel(value: f32, algorithm: Algorithm, isa: Isa, relu: bool) -> Vec<(bool, f32)> {
    let conv = Convolution {
        relu,
        ..plain(11, 9, 1)
    };
    let mut case = Case::new(conv, [1, 13, 13], false, 4).unwrap();
    let (channel, row, column) = (10, 6, 5);
    case.input[(channel * 13 + row) * 13 + column] = value;
    let found = case.run(algorithm, SourceLayout::Blocked, isa, &Sequential);
    let touches = |index: usize| (index % 13).abs_diff(column) <= 1 && (index / 13 % 13).abs_diff(row) <= 1;
    found
        .into_iter()
        .enumerate()
        .map(|(index, value)| (touches(index), value))
        .collect()
}

#[test]
fn what_is_not_finite_reaches_the_outputs_that_it_touches_and_no_distant_tile() {
    for isa in sets() {
        for algorithm in ALGORITHMS {
            for (touched, found) in with_one_pixel(f32::NAN, algorithm, isa, true) {
                assert!(!touched || found.is_nan(), "{} {algorithm}", isa.name());
            }
            for value in [f32::INFINITY, f32::NEG_INFINITY] {
                for (touched, found) in with_one_pixel(value, algorithm, isa, false) {
                    assert!(!touched || !found.is_finite(), "{} {algorithm}", isa.name());
                }
            }
            let outside = with_one_pixel(f32::NAN, algorithm, isa, true);
            for (index, (_, found)) in outside.iter().enumerate() {
                let (row, column) = (index / 13 % 13, index % 13);
                assert!((2..12).contains(&row) && (2..12).contains(&column) || found.is_finite());
            }
        }
    }
}

#[test]
fn direct_passes_infinities_on_as_they_are() {
    for isa in sets() {
        for (touched, found) in with_one_pixel(f32::INFINITY, Algorithm::Direct, isa, true) {
            assert!(!touched && found.is_finite() || found == f32::INFINITY || found == 0.0);
        }
    }
}

#[test]
fn denormals_are_numbers() {
    let mut case = Case::new(plain(16, 16, 1), [1, 8, 8], false, 6).unwrap();
    case.conv.relu = false;
    case.input.iter_mut().for_each(|v| *v *= 1e-39);
    case.bias.fill(0.0);
    let expected = case.reference();
    for isa in sets() {
        for algorithm in ALGORITHMS {
            let found = case.run(algorithm, SourceLayout::Blocked, isa, &Sequential);
            assert!(found.iter().any(|v| v.is_subnormal()));
            for (found, (exact, _)) in found.iter().zip(&expected) {
                assert!((f64::from(*found) - exact).abs() < 16.0 * 144.0 * f64::from(f32::from_bits(1)));
            }
        }
    }
}
