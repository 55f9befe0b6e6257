//! A chain of int8 layers returns what its layers do, one after the other.

use super::case::Backwards;
use super::threads::Threads;
use crate::int8::Int8Parameters;
use crate::{
    Convolution, Executor, Int8Chain, Int8ChainMemory, Int8Isa, Int8Step, Int8Sum, PreparedInt8Conv, Sequential,
};

/// Channels in and out, groups, the kernel's side, the stride.
type Window = ([usize; 2], usize, usize, usize);

fn layer(([inputs, outputs], groups, side, stride): Window, adds: bool, isa: Int8Isa) -> PreparedInt8Conv {
    let conv = Convolution {
        in_channels: inputs,
        out_channels: outputs,
        groups,
        kernel: [side; 2],
        strides: [stride; 2],
        pads: [side / 2; 4],
        relu: false,
    };
    let mut random = fastrand::Rng::with_seed((outputs * side + stride) as u64);
    let columns = inputs / groups * side * side;
    let weights: Vec<i8> = (0..outputs * columns).map(|_| random.i8(..)).collect();
    let parameters = Int8Parameters {
        weights: &weights,
        bias: &vec![70; outputs],
        scales: &vec![0.02 / (columns as f32).sqrt(); outputs],
        zeros: [100, 110],
    };
    let sum = Int8Sum::new([0.5, 0.5, 0.7], [110, 110, 100]);
    let layer = PreparedInt8Conv::new(conv, isa, &parameters).unwrap();
    layer.with_sum(sum.filter(|_| adds))
}

/// Two blocks with residual sums, of which the first is large, and a smaller one; the wiring.
fn network(isa: Int8Isa) -> (Vec<PreparedInt8Conv>, Vec<Int8Step>) {
    let windows: [(Window, usize, Option<usize>); 8] = [
        (([3, 24], 1, 3, 2), 0, None),
        (([24, 96], 1, 1, 1), 1, None),
        (([96, 96], 96, 3, 1), 2, None),
        (([96, 24], 1, 1, 1), 3, Some(1)),
        (([24, 24], 24, 5, 2), 4, None),
        (([24, 72], 1, 1, 1), 5, None),
        (([72, 24], 1, 1, 1), 6, Some(5)),
        (([24, 40], 1, 3, 1), 7, None),
    ];
    let layers = windows
        .iter()
        .map(|(window, _, other)| layer(*window, other.is_some(), isa));
    let step = |(layer, (_, input, other)): (usize, &(Window, usize, Option<usize>))| Int8Step {
        layer,
        input: *input,
        other: *other,
    };
    (layers.collect(), windows.iter().enumerate().map(step).collect())
}

/// What the layers return one after the other.
fn one_by_one(
    layers: &[PreparedInt8Conv],
    steps: &[Int8Step],
    input: &[u8],
    [images, height, width]: [usize; 3],
) -> Vec<u8> {
    let mut values = vec![(input.to_vec(), [height, width])];
    for step in steps {
        let (layer, (input, [height, width])) = (&layers[step.layer], &values[step.input]);
        let conv = layer.convolution();
        let (rows, columns) = conv.output_size(*height, *width).unwrap();
        let (size, mut output) = (
            [images, *height, *width],
            vec![0; images * rows * columns * conv.out_channels],
        );
        match step.other {
            None => layer.run(input, size, &mut output, &Sequential),
            Some(other) => layer.run_adding(input, size, &values[other].0, &mut output, &Sequential),
        }
        .unwrap();
        values.push((output, [rows, columns]));
    }
    values.pop().unwrap().0
}

#[test]
fn a_chain_returns_what_its_layers_do_however_it_is_cut() {
    let mut random = fastrand::Rng::with_seed(9);
    for isa in Int8Isa::available() {
        let (layers, steps) = network(isa);
        let chain = Int8Chain::new(steps.clone()).unwrap();
        let memory = Int8ChainMemory::default();
        // Large enough that several images are computed one after the other at first.
        for (images, [height, width]) in [(1, [9, 7]), (2, [31, 40]), (3, [96, 96]), (8, [64, 80]), (1, [96, 70])] {
            let input: Vec<u8> = (0..images * height * width * 3).map(|_| random.u8(..)).collect();
            let expected = one_by_one(&layers, &steps, &input, [images, height, width]);
            let [rows, columns, channels] = chain.output_extent(&layers, [height, width]).unwrap();
            assert_eq!(images * rows * columns * channels, expected.len());
            let executors: [&dyn Executor; 4] = [&Sequential, &Backwards(2), &Threads(2), &Threads(3)];
            for executor in executors {
                let (size, mut output) = ([images, height, width], vec![0; expected.len()]);
                chain
                    .run(&layers, &input, size, &mut output, &memory, executor)
                    .unwrap();
                assert!(output == expected, "{} {images} {}", isa.name(), executor.threads());
            }
        }
    }
}

#[test]
fn a_chain_that_does_not_hang_together_is_refused_with_the_reason() {
    let (layers, steps) = network(Int8Isa::available()[0]);
    let impossible = |steps: Vec<Int8Step>| match Int8Chain::new(steps) {
        Err(error) => error.to_string(),
        Ok(chain) => chain.output_extent(&layers, [32, 32]).unwrap_err().to_string(),
    };
    let changed = |i: usize, step: Int8Step| {
        let mut steps = steps.clone();
        steps[i] = step;
        steps
    };
    let reason = |what: &str| format!("a convolution with {what} is impossible");
    assert_eq!(impossible(Vec::new()), reason("a chain of no layers"));
    let later = Int8Step { input: 3, ..steps[2] };
    assert_eq!(
        impossible(changed(2, later)),
        reason("a chain whose layers read what is not there yet")
    );
    let absent = Int8Step { layer: 99, ..steps[2] };
    assert_eq!(
        impossible(changed(2, absent)),
        reason("a chain with a layer that is not there")
    );
    let misfit = reason("a chain whose layers do not fit each other");
    assert_eq!(impossible(changed(2, Int8Step { input: 1, ..steps[2] })), misfit);
    assert_eq!(
        impossible(changed(
            3,
            Int8Step {
                other: None,
                ..steps[3]
            }
        )),
        misfit
    );
    assert_eq!(
        impossible(changed(
            3,
            Int8Step {
                other: Some(2),
                ..steps[3]
            }
        )),
        misfit
    );

    let chain = Int8Chain::new(steps).unwrap();
    let memory = Int8ChainMemory::default();
    let run = |input: &[u8], output: &mut [u8]| {
        let run = chain.run(&layers, input, [1, 8, 8], output, &memory, &Sequential);
        run.unwrap_err().to_string()
    };
    assert_eq!(
        run(&[0; 100], &mut [0; 160]),
        "input holds 100 values where the layer needs 192"
    );
    assert_eq!(
        run(&[0; 192], &mut [0; 150]),
        "output holds 150 values where the layer needs 160"
    );
    let small = chain.output_extent(&layers, [0, 8]).unwrap_err().to_string();
    assert_eq!(small, "an input of 0x8 is smaller than the kernel");
}
