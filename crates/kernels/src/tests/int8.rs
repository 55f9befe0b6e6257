//! Int8 convolutions against the exact sum, in every instruction set, with every slice up against memory that faults.

use proptest::prelude::*;

use super::super::int8::{Int8Parameters, Quantizer};
use super::super::*;
use super::case::Backwards;
#[cfg(target_os = "linux")]
use super::guard::Guarded;

/// A layer and its input.
#[derive(Debug, Clone)]
struct Case {
    conv: Convolution,
    size: [usize; 3],
    input: Vec<u8>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    scales: Vec<f32>,
    zeros: [u8; 2],
}

impl Case {
    fn new(conv: Convolution, size: [usize; 3], extreme: bool, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = move || random.usize(..1 << 24);
        let depth = conv.in_channels / conv.groups;
        let columns = depth * conv.kernel[0] * conv.kernel[1];
        let input = size.iter().product::<usize>() * conv.in_channels;
        Self {
            conv,
            size,
            input: (0..input).map(|_| if extreme { 255 } else { draw() as u8 }).collect(),
            weights: (0..conv.out_channels * columns)
                .map(|_| if extreme { [-128, 127][draw() % 2] } else { draw() as i8 })
                .collect(),
            bias: (0..conv.out_channels)
                .map(|_| draw() as i32 % 20_001 - 10_000)
                .collect(),
            scales: (0..conv.out_channels)
                .map(|_| (1 + draw() % 100) as f32 / (columns as f32 * 4000.0))
                .collect(),
            zeros: [draw() as u8, draw() as u8],
        }
    }

    fn out_size(&self) -> [usize; 2] {
        self.conv.output_size(self.size[1], self.size[2]).unwrap().into()
    }

    /// The sums, exactly, `[N, H, W, O]`.
    fn sums(&self) -> Vec<i32> {
        let (conv, [images, height, width]) = (&self.conv, self.size);
        let [rows, columns] = self.out_size();
        let (depth, group_rows) = (conv.in_channels / conv.groups, conv.out_channels / conv.groups);
        let [kh, kw] = conv.kernel;
        let mut sums = Vec::new();
        for (n, y, x, o) in positions([images, rows, columns, conv.out_channels]) {
            let mut sum = self.bias[o];
            for (k, ky, kx, _) in positions([depth, kh, kw, 1]) {
                let row = (y * conv.strides[0] + ky)
                    .checked_sub(conv.pads[0])
                    .filter(|r| *r < height);
                let column = (x * conv.strides[1] + kx)
                    .checked_sub(conv.pads[1])
                    .filter(|c| *c < width);
                if let (Some(row), Some(column)) = (row, column) {
                    let channel = o / group_rows * depth + k;
                    let value = self.input[((n * height + row) * width + column) * conv.in_channels + channel];
                    let weight = self.weights[((o * depth + k) * kh + ky) * kw + kx];
                    sum += (i32::from(value) - i32::from(self.zeros[0])) * i32::from(weight);
                }
            }
            sums.push(sum);
        }
        sums
    }

    fn layer(&self, isa: Int8Isa) -> PreparedInt8Conv {
        let parameters = Int8Parameters {
            weights: &self.weights,
            bias: &self.bias,
            scales: &self.scales,
            zeros: self.zeros,
        };
        PreparedInt8Conv::new(self.conv, isa, &parameters).unwrap()
    }
}

fn positions([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

/// Both kinds of output, of every set, are the exact sum's.
#[track_caller]
fn check(case: &Case, threads: usize) {
    let sums = case.sums();
    let scale = |i: usize| case.scales[i % case.conv.out_channels];
    let floats: Vec<f32> = sums.iter().enumerate().map(|(i, sum)| *sum as f32 * scale(i)).collect();
    let zero = f32::from(case.zeros[1]);
    let quantized: Vec<u8> = floats
        .iter()
        .map(|f| (f.round_ties_even() + zero).clamp(0.0, 255.0) as u8)
        .collect();
    for isa in Int8Isa::available() {
        let layer = case.layer(isa);
        let mut found = vec![0; quantized.len()];
        layer
            .run(&case.input, case.size, &mut found, &Backwards(threads))
            .unwrap();
        assert_eq!(found, quantized, "{} {:?} {:?}", isa.name(), case.conv, case.size);
        let mut found = vec![0.0; floats.len()];
        layer
            .run_to_f32(&case.input, case.size, &mut found, &Backwards(threads))
            .unwrap();
        assert_eq!(found, floats, "{} {:?} {:?}", isa.name(), case.conv, case.size);
        check_sum(case, isa, &quantized, threads);
        #[cfg(target_os = "linux")]
        for at_end in [true, false] {
            let input = Guarded::new(&case.input, at_end);
            let mut output = Guarded::new(&vec![0u8; quantized.len()], at_end);
            layer.run(&input, case.size, &mut output, &Backwards(threads)).unwrap();
            assert_eq!(output[..], quantized);
        }
    }
}

/// Codes that are added to the outputs make the sums that they stand for.
#[track_caller]
fn check_sum(case: &Case, isa: Int8Isa, outputs: &[u8], threads: usize) {
    let mut random = fastrand::Rng::with_seed(outputs.len() as u64);
    let other: Vec<u8> = outputs.iter().map(|_| random.u8(..)).collect();
    let (scales, zeros) = ([0.5, 0.03125, 0.25], [case.zeros[1], case.zeros[0], random.u8(..)]);
    let layer = case.layer(isa).with_sum(Int8Sum::new(scales, zeros));
    let mut found = vec![0; outputs.len()];
    layer
        .run_adding(&case.input, case.size, &other, &mut found, &Backwards(threads))
        .unwrap();
    let real = |code: u8, i: usize| (f64::from(code) - f64::from(zeros[i])) * f64::from(scales[i]);
    let sums = outputs.iter().zip(&other).map(|(a, b)| {
        let steps = (real(*a, 0) + real(*b, 1)) / f64::from(scales[2]);
        (steps + f64::from(zeros[2])).round_ties_even() as u8
    });
    assert!(sums.eq(found), "{} {:?} {:?}", isa.name(), case.conv, case.size);
}

fn conv(channels: [usize; 2], groups: usize, kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]) -> Convolution {
    Convolution {
        in_channels: channels[0],
        out_channels: channels[1],
        groups,
        kernel,
        strides,
        pads,
        relu: false,
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![
        3 => (1usize..20, 1usize..60, Just(1usize)),
        1 => (1usize..4, 1usize..30, 1usize..4).prop_map(|(depth, rows, groups)| (4 * depth * groups, rows * groups, groups)),
        2 => (2usize..70).prop_map(|channels| (channels, channels, channels)),
    ];
    let window = (
        [1usize..6, 1usize..6],
        [1usize..4, 1usize..4],
        [0usize..3, 0usize..3, 0usize..3, 0usize..3],
    );
    let size = [1usize..3, 1usize..14, 1usize..25];
    (channels, window, size, prop::bool::weighted(0.2), any::<u64>()).prop_filter_map(
        "the kernel does not fit",
        |((ci, co, groups), (kernel, strides, pads), size, extreme, seed)| {
            let conv = conv([ci, co], groups, kernel, strides, pads);
            conv.output_size(size[1], size[2])?;
            Some(Case::new(conv, size, extreme, seed))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn outputs_are_the_exact_sums(case in any_case(), threads in 1usize..5) {
        check(&case, threads);
    }
}

#[test]
fn layers_of_several_bands_and_panels() {
    check(
        &Case::new(conv([48, 96], 1, [3, 3], [2, 2], [1; 4]), [2, 56, 57], false, 3),
        1,
    );
    check(
        &Case::new(conv([64, 160], 1, [3, 3], [1, 1], [1; 4]), [1, 14, 14], false, 4),
        2,
    );
    check(
        &Case::new(conv([300, 100], 1, [1, 1], [1, 1], [0; 4]), [1, 1, 9], false, 5),
        3,
    );
}

#[test]
fn layers_of_many_channels_and_rows_of_every_width() {
    for (seed, width) in [4, 15, 16, 17, 33].into_iter().enumerate() {
        for (channels, groups) in [([36, 20], 1), ([64, 48], 1), ([100, 64], 1), ([128, 80], 2)] {
            let layer = conv(channels, groups, [1, 1], [1, 1], [0; 4]);
            check(&Case::new(layer, [1, 1, width], false, seed as u64), 1);
            let layer = conv(channels, groups, [3, 2], [2, 1], [1, 0, 1, 1]);
            check(&Case::new(layer, [2, 3, width], false, seed as u64), 1);
        }
    }
    let layer = conv([192, 16], 1, [1, 1], [2, 3], [0; 4]);
    check(&Case::new(layer, [1, 5, 40], true, 9), 2);
}

#[test]
fn depthwise_layers_of_the_usual_kernels_and_several_bands() {
    for (seed, (kernel, stride)) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)].into_iter().enumerate() {
        let layer = conv([48, 48], 48, [kernel; 2], [stride; 2], [kernel / 2; 4]);
        check(&Case::new(layer, [2, 112, 41], false, seed as u64), 1);
        check(&Case::new(layer, [1, 9, 9], true, seed as u64), 3);
    }
    let layer = conv([672, 672], 672, [5, 5], [2, 2], [2, 2, 1, 1]);
    check(&Case::new(layer, [1, 14, 14], false, 7), 2);
}

#[test]
fn numbers_become_codes_and_planes_pixels() {
    let mut random = fastrand::Rng::with_seed(3);
    for (channels, [height, width]) in [(3, [70, 23]), (1, [5, 9]), (4, [33, 1])] {
        let count = 2 * channels * height * width;
        // Halves of a step, and what is beyond the codes or no number.
        let mut input: Vec<f32> = (0..count).map(|_| random.i32(-700..700) as f32 * 0.125).collect();
        input[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30]);
        for (scale, zero) in [(0.25, 100), (0.3, 0), (0.05, 255)] {
            let code = |x: f32| ((x / scale).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8;
            let at = |(n, y, x, c)| code(input[((n * channels + c) * height + y) * width + x]);
            let expected: Vec<u8> = positions([2, height, width, channels]).map(at).collect();
            for isa in Int8Isa::available() {
                let quantizer = Quantizer::new(scale, zero, isa).unwrap();
                let mut found = vec![0; count];
                let size = [2, channels, height, width];
                quantizer.run(&input, size, &mut found, &Backwards(2)).unwrap();
                assert!(found == expected, "{} {channels} {scale} {zero}", isa.name());
            }
        }
    }
    let isa = Int8Isa::available()[0];
    assert_eq!(Quantizer::new(0.0, 0, isa), None);
    let short = Quantizer::new(1.0, 0, isa)
        .unwrap()
        .run(&[0.0; 5], [1, 3, 1, 2], &mut [0; 6], &Sequential);
    assert_eq!(
        short.unwrap_err().to_string(),
        "input holds 5 values where the layer needs 6"
    );
}

#[test]
fn the_largest_products_do_not_saturate() {
    check(
        &Case::new(conv([64, 16], 1, [3, 3], [1, 1], [0; 4]), [1, 5, 5], true, 6),
        1,
    );
}

#[test]
fn refuses_what_it_cannot_do_with_the_reason() {
    let refusal = |conv: Convolution, weights: usize| {
        let rows = conv.out_channels;
        let parameters = Int8Parameters {
            weights: &vec![1; weights],
            bias: &vec![0; rows],
            scales: &vec![1.0; rows],
            zeros: [0, 0],
        };
        PreparedInt8Conv::new(conv, Int8Isa::available()[0], &parameters)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refusal(conv([6, 6], 3, [3, 3], [1, 1], [1; 4]), 108),
        "a convolution with groups whose channels are no multiple of four is impossible"
    );
    assert_eq!(
        refusal(conv([4, 6], 1, [3, 3], [1, 1], [1; 4]), 54),
        "weights holds 54 values where the layer needs 216"
    );
    let layer = Case::new(conv([4, 4], 1, [3, 3], [1, 1], [0; 4]), [1, 3, 3], false, 1).layer(Int8Isa::available()[0]);
    let small = layer.run(&[0; 8], [1, 2, 1], &mut [], &Sequential).unwrap_err();
    assert_eq!(small.to_string(), "an input of 2x1 is smaller than the kernel");
    let short = layer.run(&[0; 35], [1, 3, 3], &mut [0; 4], &Sequential).unwrap_err();
    assert_eq!(short.to_string(), "input holds 35 values where the layer needs 36");
    let alone = layer
        .run_adding(&[0; 36], [1, 3, 3], &[0; 4], &mut [0; 4], &Sequential)
        .unwrap_err();
    assert_eq!(
        alone.to_string(),
        "a convolution with a summand that it does not know is impossible"
    );
    let sum = Int8Sum::new([1.0; 3], [0; 3]);
    assert!(
        sum.is_some() && Int8Sum::new([1e9, 1.0, 1.0], [0; 3]).is_none() && Int8Sum::new([0.0; 3], [0; 3]).is_none()
    );
    let short = layer
        .with_sum(sum)
        .run_adding(&[0; 36], [1, 3, 3], &[0; 3], &mut [0; 4], &Sequential)
        .unwrap_err();
    assert_eq!(
        short.to_string(),
        "the other summand holds 3 values where the layer needs 4"
    );
}
