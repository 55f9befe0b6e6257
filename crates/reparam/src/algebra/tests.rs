//! Programs against an evaluation of each map on its own.

use super::*;
use repserve_graph::Tensor;
use repserve_graph::ops::Window;

#[test]
fn an_identity_is_a_dirac_kernel() {
    let weight = Tensor::from_f32(&[2, 2, 3, 3], &[0.0; 36]);
    let window = Window {
        kernel: vec![3, 3],
        begins: vec![1, 1],
        ends: vec![1, 1],
        ..Window::pointwise(2)
    };
    let conv = ConvMap {
        input: 0,
        weight: &weight,
        transposed: false,
        factor: 1.0,
        bias: None,
        window: window.clone(),
        groups: 1,
        in_channels: 2,
        out_channels: 2,
    };
    let terms = vec![(1, 1.0), (0, 1.0)];
    let program = Program {
        rank: 2,
        channels: 2,
        extents: None,
        rounding: 4e-6,
        ops: vec![Op::Conv(conv), Op::Sum { terms }],
    };
    let plan = program.plan().expect("one convolution");
    assert_eq!(plan.window(), window);
    let weight = program
        .compile(&plan, repserve_graph::DType::F32)
        .weight
        .to_f64()
        .expect("floats");
    let ones: Vec<usize> = (0..36).filter(|i| weight[*i] == 1.0).collect();
    assert_eq!(ones, [4, 31], "the centre taps of the diagonal");
    assert_eq!(weight.iter().sum::<f64>(), 2.0);
}
