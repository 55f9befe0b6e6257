//! Times decoding and preprocessing of picture files, for programs that compare it with others: reads lines `SHORT_SIDE PATH` from standard
//! input, writes for each the milliseconds that one thread took. The network's input is a square of 7/8 of the short side, as 224 is of 256.
#![allow(clippy::unwrap_used)]

use std::io::{self, BufRead, Write};
use std::time::Instant;

use repserve_preprocess::{InputSpec, Interpolation, JpegDecode, Limits, Preprocess};

fn main() {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let (short_side, path) = line.split_once(' ').unwrap();
        let short_side: u32 = short_side.parse().unwrap();
        let size = short_side * 7 / 8;
        let preprocess = Preprocess::try_from(InputSpec {
            size: [size, size],
            resize: Some(short_side),
            interpolation: Interpolation::Bilinear,
            scale: 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        })
        .unwrap();
        let encoded = std::fs::read(path).unwrap();
        let started = Instant::now();
        preprocess
            .apply(&encoded, &Limits::default(), JpegDecode::Scaled)
            .unwrap();
        writeln!(output, "{}", started.elapsed().as_secs_f64() * 1e3).unwrap();
        output.flush().unwrap();
    }
}
