//! Times the convolution kernels layer by layer, one thread: `cargo bench --bench kernels [-- FILTER]`.
//!
//! A line a layer and algorithm: milliseconds, billions of the direct algorithm's multiply-adds a second, and what share of the
//! stage's own products that is (the roofline's upper bound for the core is its peak of multiply-adds a second).
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use repserve_kernels::{Algorithm, Convolution, Isa, PreparedConv, Sequential, SourceLayout};
use repserve_runtime::median;

const LAYERS: &[(&str, usize, usize, usize, usize, usize)] = &[
    ("a0 s1 48->48 s2", 48, 48, 112, 2, 1),
    ("a0 s1 48", 48, 48, 56, 1, 1),
    ("a0 s2 48->96 s2", 48, 96, 56, 2, 1),
    ("a0 s2 96", 96, 96, 28, 1, 1),
    ("a0 s3 96->192 s2", 96, 192, 28, 2, 1),
    ("a0 s3 192", 192, 192, 14, 1, 1),
    ("a0 s4 192->1280 s2", 192, 1280, 14, 2, 1),
    ("b0 s1 64", 64, 64, 56, 1, 1),
    ("b0 s2 128", 128, 128, 28, 1, 1),
    ("b0 s3 256", 256, 256, 14, 1, 1),
    ("resnet 512", 512, 512, 7, 1, 1),
    ("b1g4 128/4", 128, 128, 56, 1, 4),
    ("b1g4 256/4", 256, 256, 28, 1, 4),
    ("b1g4 512/4", 512, 512, 14, 1, 4),
    ("cifar 32", 32, 32, 32, 1, 1),
    ("cifar 64", 64, 64, 16, 1, 1),
    ("cifar 128", 128, 128, 8, 1, 1),
];

fn main() {
    let filter = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with("--"))
        .unwrap_or_default();
    let isa = Isa::detect();
    println!("instruction set {}, one thread", isa.name());
    for &(name, ci, co, side, stride, groups) in LAYERS.iter().filter(|l| l.0.contains(&filter)) {
        let conv = Convolution {
            in_channels: ci,
            out_channels: co,
            groups,
            kernel: [3, 3],
            strides: [stride; 2],
            pads: [1; 4],
            relu: true,
        };
        for images in [1, 4] {
            for algorithm in [Algorithm::WinogradF4, Algorithm::WinogradF2, Algorithm::Direct] {
                if let Some(seconds) = time(&conv, algorithm, isa, images, side) {
                    let (h, w) = conv.output_size(side, side).unwrap();
                    let rate = (conv.multiplications(h, w) * images) as f64 / seconds / 1e9;
                    println!(
                        "{name:20} batch {images} {algorithm:14} {:8.3} ms  {rate:6.1} G multiply-adds/s",
                        seconds * 1e3
                    );
                }
            }
        }
    }
}

/// The median of enough runs to take about 30 ms.
fn time(conv: &Convolution, algorithm: Algorithm, isa: Isa, images: usize, side: usize) -> Option<f64> {
    let weights = vec![0.01; conv.out_channels * conv.in_channels / conv.groups * 9];
    let layer = PreparedConv::new(*conv, algorithm, SourceLayout::Blocked, isa, &weights, None).ok()?;
    let (h, w) = conv.output_size(side, side)?;
    let input = vec![0.5; images * conv.in_channels * side * side];
    let mut output = vec![0.0; images * conv.out_channels * h * w];
    let mut run = || {
        let start = Instant::now();
        layer
            .run(&input, [images, side, side], None, &mut output, &Sequential)
            .unwrap();
        start.elapsed().as_secs_f64()
    };
    let estimate = run().min(run());
    let runs = (0.03 / estimate).clamp(3.0, 200.0) as usize;
    median(&(0..runs).map(|_| run()).collect::<Vec<f64>>())
}
