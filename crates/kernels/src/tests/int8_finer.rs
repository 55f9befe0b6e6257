//! Layers that compute finer than in 8 bits against plain code in f64, in every instruction set.

use std::sync::Arc;

use super::case::Backwards;
use crate::int8::Int8Parameters;
use crate::{
    Convolution, Finer, FinerNumbers, FloatDepthwise, Int8Bytes, Int8Chain, Int8ChainMemory, Int8Isa, Int8Step,
    KernelError, PreparedInt8Conv,
};

struct Case {
    conv: Convolution,
    finer: Finer,
    size: [usize; 3],
    input: Vec<u8>,
    high: Vec<i8>,
    low: Vec<i8>,
    bias: Vec<i32>,
    scales: Vec<f32>,
    zeros: [u8; 2],
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Case {
    fn new(conv: Convolution, finer: Finer, size: [usize; 3]) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let columns = conv.in_channels * conv.kernel[0] * conv.kernel[1];
        let count = conv.out_channels * columns;
        let pixel = conv.in_channels * (1 + usize::from(finer.wide));
        let taps = finer.then.map_or(0, |then| then.kernel[0] * then.kernel[1]);
        // Wide outputs span 16 bits.
        let span = if finer.then.is_some_and(|then| then.wide) {
            256.0
        } else {
            1.0
        };
        let mut low: Vec<i8> = (0..count).map(|_| random.i8(..)).collect();
        low[finer.rows * columns..].fill(0);
        Self {
            input: (0..size.iter().product::<usize>() * pixel)
                .map(|_| random.u8(..))
                .collect(),
            high: (0..count).map(|_| random.i8(-127..)).collect(),
            low,
            bias: (0..conv.out_channels).map(|_| random.i32(-9000..9000)).collect(),
            scales: (0..conv.out_channels)
                .map(|_| (0.5 + random.f32()) / (columns as f32).sqrt() / 2000.0)
                .collect(),
            zeros: [if finer.wide { 0 } else { random.u8(..) }, random.u8(..)],
            weights: (0..conv.out_channels * taps)
                .map(|_| span * (8.0 * random.f32() - 3.0))
                .collect(),
            biases: (0..conv.out_channels)
                .map(|_| span * (9.0 * random.f32() - 2.0))
                .collect(),
            conv,
            finer,
            size,
        }
    }

    fn layer(&self, isa: Int8Isa) -> Result<PreparedInt8Conv, KernelError> {
        let parameters = Int8Parameters {
            weights: &self.high,
            bias: &self.bias,
            scales: &self.scales,
            zeros: self.zeros,
        };
        let numbers = FinerNumbers {
            low: &self.low,
            weights: &self.weights,
            bias: &self.biases,
        };
        PreparedInt8Conv::finer(self.conv, isa, &parameters, self.finer, &numbers)
    }

    /// What the layer returns before it is rounded, `[N, H, W, O]`, and the extents.
    fn exact(&self) -> (Vec<f64>, [usize; 2]) {
        let [images, height, width] = self.size;
        let conv = &self.conv;
        let (rows, columns) = conv.output_size(height, width).unwrap();
        let pixel = conv.in_channels * (1 + usize::from(self.finer.wide));
        let value = |n: usize, y: usize, x: usize, k: usize| {
            let at = ((n * height + y) * width + x) * pixel + k;
            match self.finer.wide {
                true => f64::from(self.input[at]) / 256.0 + f64::from(self.input[at + conv.in_channels]),
                false => f64::from(self.input[at]) - f64::from(self.zeros[0]),
            }
        };
        let [kh, kw] = conv.kernel;
        let mut sums = Vec::new();
        for (n, y, x, o) in positions([images, rows, columns, conv.out_channels]) {
            let mut sum = f64::from(self.bias[o]);
            for (k, ky, kx, _) in positions([conv.in_channels, kh, kw, 1]) {
                let row = (y * conv.strides[0] + ky)
                    .checked_sub(conv.pads[0])
                    .filter(|r| *r < height);
                let column = (x * conv.strides[1] + kx)
                    .checked_sub(conv.pads[1])
                    .filter(|c| *c < width);
                if let (Some(row), Some(column)) = (row, column) {
                    let at = ((o * conv.in_channels + k) * kh + ky) * kw + kx;
                    let weight = f64::from(self.high[at]) + f64::from(self.low[at]) / 256.0;
                    sum += value(n, row, column, k) * weight;
                }
            }
            sums.push(sum * f64::from(self.scales[o]));
        }
        match &self.finer.then {
            Some(then) => self.depthwise(then, &sums, [images, rows, columns]),
            None => (sums, [rows, columns]),
        }
    }

    fn depthwise(
        &self,
        then: &FloatDepthwise,
        input: &[f64],
        [images, height, width]: [usize; 3],
    ) -> (Vec<f64>, [usize; 2]) {
        let channels = self.conv.out_channels;
        let extent = |size: usize, axis: usize| {
            (size + then.pads[axis] + then.pads[axis + 2] - then.kernel[axis]) / then.strides[axis] + 1
        };
        let (rows, columns) = (extent(height, 0), extent(width, 1));
        let mut sums = Vec::new();
        for (n, y, x, o) in positions([images, rows, columns, channels]) {
            let mut sum = f64::from(self.biases[o]);
            for (ky, kx, _, _) in positions([then.kernel[0], then.kernel[1], 1, 1]) {
                let row = (y * then.strides[0] + ky)
                    .checked_sub(then.pads[0])
                    .filter(|r| *r < height);
                let column = (x * then.strides[1] + kx)
                    .checked_sub(then.pads[1])
                    .filter(|c| *c < width);
                if let (Some(row), Some(column)) = (row, column) {
                    let weight = self.weights[(o * then.kernel[0] + ky) * then.kernel[1] + kx];
                    sum += f64::from(weight) * input[((n * height + row) * width + column) * channels + o].max(0.0);
                }
            }
            sums.push(sum);
        }
        (sums, [rows, columns])
    }
}

fn positions([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

/// What is returned is within a rounding of the exact value; stored and restored, in a chain and by several threads it is the same to the bit.
#[track_caller]
fn check(case: &Case, tolerance: f64) {
    let (exact, [rows, columns]) = case.exact();
    let (channels, [images, height, width]) = (case.conv.out_channels, case.size);
    let wide = case.finer.then.is_some_and(|then| then.wide);
    let zero = case.finer.then.map_or(case.zeros[1], |then| then.zero);
    let pixel = channels * (1 + usize::from(wide));
    for isa in Int8Isa::available() {
        let layer = case.layer(isa).unwrap();
        assert_eq!(layer.output_size(height, width).unwrap(), (rows, columns));
        let mut found = vec![0; images * rows * columns * pixel];
        layer.run(&case.input, case.size, &mut found, &Backwards(1)).unwrap();
        let mut inside = 0;
        for (i, exact) in exact.iter().enumerate() {
            let at = i / channels * pixel + i % channels;
            let (code, most) = match wide {
                true => (f64::from(found[at]) + 256.0 * f64::from(found[at + channels]), 65535.0),
                false => (f64::from(found[at]), 255.0),
            };
            let exact = (exact + f64::from(zero)).clamp(0.0, most);
            inside += usize::from(exact > 0.0 && exact < most);
            assert!((code - exact).abs() <= tolerance, "{}, {i}: {code} {exact}", isa.name());
        }
        assert!(inside > exact.len() / 8, "{inside} of {}", exact.len());
        for threads in [2, 3] {
            let mut again = vec![0; found.len()];
            layer
                .run(&case.input, case.size, &mut again, &Backwards(threads))
                .unwrap();
            assert_eq!(again, found);
        }
        // Bytes that belong to a layer are aligned.
        let shared = Arc::new(case.layer(isa).unwrap());
        let part = |part: fn(Int8Bytes<&[u8]>) -> &[u8]| bytes::Bytes::from_owner(Part(Arc::clone(&shared), part));
        let ready = Int8Bytes {
            weights: part(|ready| ready.weights),
            bias: part(|ready| ready.bias),
            scales: part(|ready| ready.scales),
            depthwise: part(|ready| ready.depthwise),
        };
        let layers = [PreparedInt8Conv::restored(case.conv, isa, case.zeros, case.finer, ready).unwrap()];
        let step = Int8Step {
            layer: 0,
            input: 0,
            other: None,
        };
        let chain = Int8Chain::new(vec![step]).unwrap();
        let mut again = vec![0; found.len()];
        let memory = Int8ChainMemory::default();
        chain
            .run(&layers, &case.input, case.size, &mut again, &memory, &Backwards(2))
            .unwrap();
        assert_eq!(again, found);
    }
}

/// One of a layer's parts.
struct Part(Arc<PreparedInt8Conv>, fn(Int8Bytes<&[u8]>) -> &[u8]);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.1(self.0.ready())
    }
}

fn pointwise(inputs: usize, outputs: usize) -> Convolution {
    Convolution {
        in_channels: inputs,
        out_channels: outputs,
        groups: 1,
        kernel: [1; 2],
        strides: [1; 2],
        pads: [0; 4],
        relu: false,
    }
}

fn then(stride: usize, zero: u8, wide: bool) -> Option<FloatDepthwise> {
    Some(FloatDepthwise {
        kernel: [3; 2],
        strides: [stride; 2],
        pads: [1; 4],
        zero,
        wide,
    })
}

#[test]
fn low_bytes_of_weights_and_of_inputs_count() {
    for (rows, wide) in [(20, false), (0, true), (16, true), (80, true)] {
        let finer = Finer { rows, wide, then: None };
        check(&Case::new(pointwise(24, 84), finer, [2, 5, 7]), 0.51);
    }
}

#[test]
fn a_depthwise_convolution_reads_the_sums_in_f32() {
    for (stride, zero, wide) in [(1, 0, false), (2, 30, false), (1, 0, true)] {
        for channels in [24, 84, 128] {
            let finer = Finer {
                rows: 16,
                wide: channels == 24,
                then: then(stride, zero, wide),
            };
            let tolerance = if wide { 3.0 } else { 0.51 };
            check(&Case::new(pointwise(12, channels), finer, [2, 9, 6]), tolerance);
        }
    }
}

#[test]
fn finer_layers_of_many_channels() {
    for (channels, width) in [(48, 5), (100, 16), (128, 19)] {
        for wide in [false, true] {
            let finer = Finer {
                rows: 16,
                wide,
                then: None,
            };
            check(&Case::new(pointwise(channels, 84), finer, [2, 3, width]), 0.51);
            let finer = Finer {
                then: then(1, 0, false),
                ..finer
            };
            check(&Case::new(pointwise(channels, 84), finer, [1, 9, width]), 0.51);
        }
    }
}

#[test]
fn rows_between_are_kept_from_one_part_to_the_next() {
    let finer = Finer {
        then: then(1, 0, false),
        ..Finer::default()
    };
    check(&Case::new(pointwise(4, 64), finer, [1, 40, 70]), 0.51);
    let finer = Finer {
        then: then(2, 0, false),
        ..Finer::default()
    };
    check(&Case::new(pointwise(4, 64), finer, [1, 61, 70]), 0.51);
}

#[test]
fn the_layer_before_may_have_a_kernel_and_the_depthwise_one_another() {
    let conv = Convolution {
        kernel: [3; 2],
        strides: [2; 2],
        pads: [1; 4],
        ..pointwise(3, 24)
    };
    for kernel in [[3, 3], [5, 3], [1, 1]] {
        let depthwise = FloatDepthwise {
            kernel,
            strides: [2; 2],
            pads: [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
            zero: 0,
            wide: false,
        };
        let finer = Finer {
            then: Some(depthwise),
            ..Finer::default()
        };
        check(&Case::new(conv, finer, [2, 17, 12]), 0.51);
    }
}

#[test]
fn what_cannot_be_finer_is_refused() {
    let isa = Int8Isa::plain();
    let wide = Finer {
        wide: true,
        ..Finer::default()
    };
    let mut case = Case::new(pointwise(24, 16), wide, [1, 2, 2]);
    case.zeros[0] = 1;
    assert!(case.layer(isa).is_err());
    assert!(Case::new(pointwise(22, 16), wide, [1, 2, 2]).layer(isa).is_err());
    let rows = Finer {
        rows: 17,
        ..Finer::default()
    };
    let mut case = Case::new(pointwise(24, 17), rows, [1, 2, 2]);
    case.conv.out_channels = 16;
    assert!(case.layer(isa).is_err());
    let before = Finer {
        then: then(1, 0, false),
        ..Finer::default()
    };
    let mut case = Case::new(pointwise(24, 16), before, [1, 2, 2]);
    case.scales[15] = -case.scales[15];
    assert!(case.layer(isa).is_err());
}
