//! Every algorithm and instruction set against a direct sum in f64.
//!
//! The bound: rounding the three transforms and the sum over `depth` channels costs at most a small multiple of the unit roundoff
//! times `Σ_c ‖w_c‖₁ · max|x_c|`, the maximum over the input that the output's *tile* reads; the multiple is the product of the
//! transforms' norms (Barabasz et al., arXiv 1803.10986, theorem 1). For inputs of even size that is within a small factor of
//! `Σ|w||x|`, which the direct sum is measured by.

mod case;
mod guard;
mod int8;
mod int8_chain;
mod int8_finer;
mod special;
pub(crate) mod threads;

use proptest::prelude::*;

use super::layout::{self, Extent};
use super::*;
use case::{Backwards, Case, numbers};

fn sets() -> Vec<Isa> {
    let mut sets = Isa::available();
    sets.push(Isa::emulated16());
    sets
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::WinogradF4, Algorithm::WinogradF2, Algorithm::Direct];

/// Checks every set, algorithm and layout that supports the case.
fn check(case: &Case, threads: usize) {
    let expected = case.reference();
    let mean_size = expected.iter().map(|e| e.1).sum::<f64>() / expected.len() as f64;
    for isa in sets() {
        for algorithm in ALGORITHMS {
            for layout in [SourceLayout::Blocked, SourceLayout::Nchw] {
                if supports(&case.conv, algorithm, layout, isa).is_err() {
                    continue;
                }
                let found = case.run(algorithm, layout, isa, &Backwards(threads));
                // Direct: n + 2 roundings. Winograd: a tile's neighbours count too, hence the mean beside the own sum.
                let roundings = match algorithm {
                    Algorithm::Direct => 16.0,
                    _ => 64.0,
                };
                for (index, (found, (exact, size))) in found.iter().zip(&expected).enumerate() {
                    let error = (f64::from(*found) - exact).abs();
                    let bound = roundings * f64::from(f32::EPSILON) / 2.0 * size.max(mean_size);
                    assert!(
                        error <= bound,
                        "{:?} {} {algorithm} {layout:?} {:?}: output {index} is {found}, exactly {exact}, error {error:e} > {bound:e}",
                        case.conv,
                        isa.name(),
                        case.size
                    );
                }
            }
        }
    }
}

fn plain(in_channels: usize, out_channels: usize, stride: usize) -> Convolution {
    Convolution {
        in_channels,
        out_channels,
        groups: 1,
        kernel: [3, 3],
        strides: [stride, stride],
        pads: [1; 4],
        relu: true,
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2usize..4];
    let geometry = (
        groups,
        1usize..30,
        1usize..40,
        1usize..3,
        [0usize..3, 0usize..3, 0usize..3, 0usize..3],
    );
    let kernel = prop_oneof![4 => Just([3usize, 3]), 1 => [1usize..6, 1usize..6]];
    let strides = prop_oneof![3 => Just([1usize, 1]), 1 => Just([2, 2]), 1 => [1usize..4, 1usize..4]];
    (
        geometry,
        kernel,
        strides,
        [1usize..16, 1usize..16],
        any::<[bool; 2]>(),
        any::<u64>(),
    )
        .prop_filter_map(
            "the kernel does not fit",
            |((groups, ci, co, images, pads), kernel, strides, [h, w], [relu, residual], seed)| {
                let (ci, co) = if groups > 1 {
                    (ci.div_ceil(16) * 16, co.div_ceil(16) * 16)
                } else {
                    (ci, co)
                };
                let conv = Convolution {
                    in_channels: ci * groups,
                    out_channels: co * groups,
                    groups,
                    kernel,
                    strides,
                    pads,
                    relu,
                };
                Case::new(conv, [images, h, w], residual, seed >> 8)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_algorithm_agrees_with_the_exact_sum(case in any_case(), threads in 1usize..5) {
        check(&case, threads);
    }

    #[test]
    fn blocked_layout_round_trips(
        n in 1usize..3, c in 1usize..40, h in 1usize..9, w in 1usize..9, seed in 0u64..1000
    ) {
        let extent = Extent { images: n, channels: c, height: h, width: w };
        let values = numbers(extent.len_nchw(), seed);
        for lanes in [8, 16] {
            let mut blocked = vec![f32::NAN; extent.len_blocked(lanes)];
            layout::to_blocked(&values, extent, lanes, &mut blocked);
            prop_assert!(blocked.iter().all(|v| !v.is_nan()));
            let mut back = vec![f32::NAN; values.len()];
            layout::from_blocked(&blocked, extent, lanes, &mut back);
            prop_assert_eq!(&values, &back);
            let mut mean = vec![f32::NAN; n * c];
            layout::mean_of_blocked(&blocked, extent, lanes, &mut mean);
            for (plane, mean) in values.chunks(extent.pixels()).zip(mean) {
                let exact = plane.iter().copied().map(f64::from).sum::<f64>() / plane.len() as f64;
                prop_assert!((exact - f64::from(mean)).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn layers_of_real_networks_agree_with_the_exact_sum() {
    for (ci, co, side, stride) in [
        (48, 48, 10, 1),
        (64, 72, 7, 1),
        (96, 40, 7, 2),
        (9, 17, 13, 1),
        (3, 48, 16, 2),
    ] {
        check(&Case::new(plain(ci, co, stride), [1, side, side], false, 5).unwrap(), 1);
    }
}

#[test]
fn several_blocks_of_tiles_and_bands_of_rows_meet_without_a_seam() {
    check(&Case::new(plain(72, 12, 1), [2, 26, 30], true, 9).unwrap(), 1);
    check(&Case::new(plain(72, 12, 2), [2, 61, 30], false, 9).unwrap(), 3);
}

#[test]
fn maps_that_end_in_short_and_slim_tiles() {
    for size in [[3, 14, 14], [2, 13, 6], [1, 2, 17], [2, 8, 9], [1, 1, 1]] {
        check(&Case::new(plain(24, 40, 1), size, true, 5).unwrap(), 1);
        check(&Case::new(plain(24, 40, 1), size, false, 6).unwrap(), 2);
    }
}

#[test]
fn weights_that_are_read_once_for_several_images() {
    check(&Case::new(plain(128, 128, 1), [3, 14, 14], false, 7).unwrap(), 1);
}

#[test]
fn bands_of_several_images_that_share_weights() {
    let pointwise = Convolution {
        kernel: [1, 1],
        pads: [0; 4],
        ..plain(270, 250, 1)
    };
    for threads in [1, 3] {
        check(&Case::new(plain(64, 136, 2), [3, 15, 13], true, 11).unwrap(), threads);
        check(&Case::new(plain(64, 130, 2), [2, 61, 30], false, 12).unwrap(), threads);
        check(&Case::new(pointwise, [5, 3, 7], true, 13).unwrap(), threads);
    }
}

#[test]
fn transforms_are_exact_for_integers_in_f2() {
    let conv = Convolution {
        relu: false,
        ..plain(8, 8, 1)
    };
    let mut case = Case::new(conv, [1, 9, 9], false, 3).unwrap();
    for value in case.input.iter_mut().chain(&mut case.weights).chain(&mut case.bias) {
        *value = (*value * 64.0).round() * 4.0;
    }
    let expected: Vec<f32> = case.reference().iter().map(|e| e.0 as f32).collect();
    for isa in sets() {
        assert_eq!(
            case.run(Algorithm::WinogradF2, SourceLayout::Blocked, isa, &Sequential),
            expected
        );
    }
}

#[test]
fn a_huge_neighbour_costs_only_the_precision_of_its_tile() {
    let mut case = Case::new(plain(8, 8, 1), [1, 16, 16], false, 8).unwrap();
    case.conv.relu = false;
    case.input[5 * 16 + 5] = 1e6;
    let largest_weights: f32 = case
        .weights
        .chunks(9)
        .map(|w| w.iter().map(|v| v.abs()).sum::<f32>())
        .fold(0.0, f32::max);
    for isa in sets() {
        let found = case.run(Algorithm::WinogradF4, SourceLayout::Blocked, isa, &Sequential);
        for (found, (exact, _)) in found.iter().zip(case.reference()) {
            let bound = 64.0 * f64::from(f32::EPSILON) / 2.0 * f64::from(largest_weights) * 1e6;
            assert!((f64::from(*found) - exact).abs() <= bound);
        }
    }
}

#[test]
fn refuses_what_it_cannot_do_with_the_reason() {
    let isa = Isa::portable();
    let error = |conv: Convolution, algorithm, layout| supports(&conv, algorithm, layout, isa).unwrap_err().to_string();
    let blocked = SourceLayout::Blocked;
    assert!(error(plain(8, 8, 2), Algorithm::WinogradF4, blocked).contains("stride 1"));
    assert!(error(plain(8, 8, 1), Algorithm::WinogradF2, SourceLayout::Nchw).contains("NCHW"));
    let depthwise = Convolution {
        groups: 8,
        ..plain(8, 8, 1)
    };
    assert!(error(depthwise, Algorithm::Direct, blocked).contains("vector width"));
    let uneven = Convolution {
        groups: 3,
        ..plain(8, 8, 1)
    };
    assert!(error(uneven, Algorithm::Direct, blocked).contains("do not divide"));
    let layer = |weights: &[f32]| PreparedConv::new(plain(1, 1, 1), Algorithm::Direct, blocked, isa, weights, None);
    assert!(layer(&[0.0; 8]).is_err_and(|e| e.to_string().contains("8 values where the layer needs 9")));
    let layer = layer(&[0.0; 9]).unwrap();
    let mut output = vec![0.0; 32];
    assert!(
        layer
            .run(&[0.0; 24], [1, 2, 2], None, &mut output, &Sequential)
            .is_err()
    );
    let wide = Convolution {
        pads: [0; 4],
        ..plain(1, 1, 1)
    };
    assert_eq!(wide.output_size(2, 5), None);
}

/// Extents whose product is 0 where it wraps are no reason to call an empty slice long enough.
#[test]
fn extents_that_cannot_be_counted_are_refused() {
    let far = 1 << (usize::BITS / 2);
    let isa = Isa::portable();
    for layout in [SourceLayout::Blocked, SourceLayout::Nchw] {
        let layer = PreparedConv::new(plain(1, 1, 1), Algorithm::Direct, layout, isa, &[0.0; 9], None).unwrap();
        for size in [[far, far, 1], [1, far, far], [usize::MAX, 1, 1], [1, usize::MAX - 1, 1]] {
            let error = layer.run(&[], size, None, &mut [], &Sequential).unwrap_err();
            assert!(
                matches!(error, KernelError::Length { .. } | KernelError::TooSmall { .. }),
                "{error}"
            );
        }
    }
    let wide = Convolution {
        kernel: [far, far],
        ..plain(1, 1, 1)
    };
    let error = PreparedConv::new(wide, Algorithm::Direct, SourceLayout::Nchw, isa, &[], None)
        .err()
        .unwrap();
    assert!(matches!(error, KernelError::Length { .. }), "{error}");
    let padded = Convolution {
        pads: [usize::MAX; 4],
        ..plain(8, 8, 1)
    };
    assert!(supports(&padded, Algorithm::Direct, SourceLayout::Blocked, isa).is_err());
    assert_eq!(padded.output_size(1, 1), None);
    assert_eq!(
        fastest(&plain(8, 8, 1), SourceLayout::Nchw, isa, [far; 2]),
        Some(Algorithm::Direct)
    );
    let still = Convolution {
        strides: [0; 2],
        ..plain(8, 8, 1)
    };
    assert_eq!(fastest(&still, SourceLayout::Blocked, isa, [8; 2]), None);
}
