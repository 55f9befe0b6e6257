//! Train-time blocks of the families, and what is left of them.

use super::build::{Net, Shape, square, window};
use super::fuse;
use repserve_graph::{AttributeValue, Node, ValueId};

const C: usize = 8;

/// Builds one block between ReLUs and checks that `convs` convolutions and otherwise only `rest` are left.
fn check(convs: usize, rest: &[(&str, usize)], block: impl FnOnce(&mut Net, ValueId) -> ValueId) {
    let mut net = Net::new(convs as u64 + 7);
    let input = net.input(&[C, 9, 8]);
    let x = net.relu(input);
    let y = block(&mut net, x);
    let y = net.relu(y);
    net.output(y);
    let outcome = fuse(&net);
    let mut expected: Vec<(&str, usize)> = vec![("Conv", convs)];
    let relus = 2 + rest
        .iter()
        .filter(|(op, _)| *op == "Relu")
        .map(|(_, n)| n)
        .sum::<usize>();
    expected.extend(rest.iter().filter(|(op, _)| *op != "Relu"));
    expected.push(("Relu", relus));
    expected.sort_unstable();
    let found: Vec<(&str, usize)> = outcome
        .report
        .deploy
        .operators
        .iter()
        .map(|(op, n)| (op.as_str(), *n))
        .collect();
    assert_eq!(found, expected, "{}", outcome.report);
    assert!(outcome.error <= 1e-6, "error {}", outcome.error);
}

pub(super) fn repvgg(net: &mut Net, x: ValueId, shape: &Shape, identity: bool) -> ValueId {
    let pointwise = square(1).stride(shape.stride).groups(shape.groups);
    let a = net.conv_bn(x, [C, C], shape);
    let b = net.conv_bn(x, [C, C], &pointwise);
    let y = net.add(a, b);
    if !identity {
        return y;
    }
    let i = net.bn(x, C);
    net.add(y, i)
}

#[test]
fn repvgg_plain() {
    check(1, &[], |net, x| repvgg(net, x, &square(3), true));
}

#[test]
fn repvgg_grouped() {
    check(1, &[], |net, x| repvgg(net, x, &square(3).groups(4), true));
}

#[test]
fn repvgg_stride_2() {
    check(1, &[], |net, x| repvgg(net, x, &square(3).stride(2), false));
}

fn squeeze_and_excite(net: &mut Net, x: ValueId) -> ValueId {
    let s = net.op("GlobalAveragePool", &[x]);
    let s = net.conv(s, [C, 2], &square(1).bias());
    let s = net.relu(s);
    let s = net.conv(s, [2, C], &square(1).bias());
    let s = net.op("Sigmoid", &[s]);
    net.op("Mul", &[x, s])
}

const SE: [(&str, usize); 4] = [("GlobalAveragePool", 1), ("Mul", 1), ("Relu", 1), ("Sigmoid", 1)];

#[test]
fn repvgg_with_se_before_the_activation() {
    check(3, &SE, |net, x| {
        let y = repvgg(net, x, &square(3), true);
        squeeze_and_excite(net, y)
    });
}

#[test]
fn repvgg_with_se_after_the_activation() {
    let rest = [("GlobalAveragePool", 1), ("Mul", 1), ("Relu", 2), ("Sigmoid", 1)];
    check(3, &rest, |net, x| {
        let y = repvgg(net, x, &square(3), true);
        let y = net.relu(y);
        squeeze_and_excite(net, y)
    });
}

#[test]
fn mobileone_depthwise_and_pointwise() {
    check(2, &[("Relu", 1)], |net, x| {
        let zero = net.given(&[], &[0.0]);
        let mut y = net.add(x, zero);
        for i in 0..4 {
            let branch = net.conv_bn(x, [C, C], &square(3).groups(C));
            y = if i == 0 {
                net.op("Add", &[zero, branch])
            } else {
                net.add(branch, y)
            };
        }
        let scale = net.conv_bn(x, [C, C], &square(1).groups(C));
        let identity = net.bn(x, C);
        let y = net.op("Sum", &[y, scale, identity]);
        let x = net.relu(y);
        let branches: Vec<ValueId> = (0..4).map(|_| net.conv_bn(x, [C, C], &square(1))).collect();
        let identity = net.bn(x, C);
        let y = net.op("Sum", &branches);
        net.add(identity, y)
    });
}

#[test]
fn acnet() {
    check(1, &[], |net, x| {
        let square = net.conv_bn(x, [C, 12], &square(3));
        let vertical = net.conv_bn(x, [C, 12], &window(&[3, 1]));
        let horizontal = net.conv_bn(x, [C, 12], &window(&[1, 3]));
        let y = net.add(square, vertical);
        net.add(y, horizontal)
    });
}

#[test]
fn acnet_without_the_square() {
    check(1, &[], |net, x| {
        let vertical = net.conv_bn(x, [C, C], &window(&[3, 1]));
        let horizontal = net.conv_bn(x, [C, C], &window(&[1, 3]));
        net.add(vertical, horizontal)
    });
}

/// `x` normalized, then padded with what the normalization makes of zeros: written as arithmetic.
fn bn_and_pad(net: &mut Net, x: ValueId, channels: usize) -> ValueId {
    let (scale, shift) = (net.randoms(channels), net.randoms(channels));
    let shape = [1, channels, 1, 1];
    let (scale, shift) = (net.given(&shape, &scale), net.given(&shape, &shift));
    let y = net.op("Mul", &[x, scale]);
    let y = net.add(y, shift);
    let y = net.op("Sub", &[y, shift]);
    let y = net.pad(y, 1, "constant");
    net.add(y, shift)
}

#[test]
fn diverse_branch_block() {
    check(1, &[], |net, x| {
        let origin = net.conv_bn(x, [C, C], &square(3));
        let pointwise = net.conv_bn(x, [C, C], &square(1));
        let serial = net.conv(x, [C, C], &square(1));
        let serial = bn_and_pad(net, serial, C);
        let serial = net.conv_bn(serial, [C, C], &square(3).unpadded());
        let average = net.conv(x, [C, C], &square(1));
        let average = bn_and_pad(net, average, C);
        let average = net.pool(average, &square(3).unpadded(), false);
        let average = net.bn(average, C);
        net.op("Sum", &[origin, pointwise, serial, average])
    });
}

#[test]
fn diverse_branch_block_grouped_with_stride() {
    check(1, &[], |net, x| {
        let origin = net.conv_bn(x, [C, C], &square(3).groups(2).stride(2));
        let serial = net.conv(x, [C, 12], &square(1).groups(2));
        let serial = bn_and_pad(net, serial, 12);
        let serial = net.conv_bn(serial, [12, C], &square(3).unpadded().groups(2).stride(2));
        net.add(serial, origin)
    });
}

#[test]
fn qarepvgg_normalizes_after_the_sum() {
    check(1, &[], |net, x| {
        let a = net.conv_bn(x, [C, C], &square(3));
        let b = net.conv(x, [C, C], &square(1).bias());
        let y = net.add(a, b);
        let y = net.add(y, x);
        net.bn(y, C)
    });
}

#[test]
fn repvit_mixer() {
    check(1, &[], |net, x| {
        let a = net.conv_bn(x, [C, C], &square(3).groups(C));
        let b = net.conv(x, [C, C], &square(1).groups(C).bias());
        let y = net.add(a, b);
        let y = net.add(y, x);
        net.bn(y, C)
    });
}

#[test]
fn yolov6_with_scaled_branches() {
    check(1, &[], |net, x| {
        let a = net.conv_bn(x, [C, C], &square(3));
        let b = net.conv_bn(x, [C, C], &square(1));
        let alpha = net.given(&[1], &[0.7]);
        let b = net.op("Mul", &[alpha, b]);
        let y = net.add(b, a);
        let i = net.bn(x, C);
        net.add(y, i)
    });
}

#[test]
fn fastvit_mixer() {
    check(1, &[], |net, x| {
        let a = net.conv_bn(x, [C, C], &square(3).groups(C));
        let b = net.conv_bn(x, [C, C], &square(1).groups(C));
        let i = net.bn(x, C);
        let mixed = net.add(a, b);
        let mixed = net.add(mixed, i);
        let norm = net.bn(x, C);
        let y = net.op("Sub", &[mixed, norm]);
        let gamma = net.constant(&[C, 1, 1]);
        let y = net.op("Mul", &[gamma, y]);
        net.add(x, y)
    });
}

#[test]
fn fastvit_position_encoding() {
    check(1, &[], |net, x| {
        let y = net.conv(x, [C, C], &square(7).groups(C).bias());
        net.add(x, y)
    });
}

#[test]
fn replknet_and_repvggdw() {
    check(1, &[], |net, x| {
        let large = net.conv_bn(x, [C, C], &square(7).groups(C));
        let small = net.conv_bn(x, [C, C], &square(3).groups(C));
        net.add(large, small)
    });
}

#[test]
fn unireplknet_dilated_branches() {
    check(1, &[], |net, x| {
        let large = net.conv_bn(x, [C, C], &square(7).groups(C));
        let a = net.conv_bn(x, [C, C], &square(3).groups(C).dilated(3));
        let b = net.conv_bn(x, [C, C], &square(3).groups(C).dilated(2));
        let c = net.conv_bn(x, [C, C], &square(5).groups(C));
        net.op("Sum", &[a, large, b, c])
    });
}

/// Weights that the graph computes itself, `g·v/‖v‖`, as exporters leave them.
#[test]
fn weight_normalization() {
    check(1, &[], |net, x| {
        let v = net.constant(&[C, C, 3, 3]);
        let norm =
            net.push(Node::new("ReduceL2", vec![v], Vec::new()).with("axes", AttributeValue::Ints(vec![1, 2, 3])));
        let g = net.constant(&[C, 1, 1, 1]);
        let scale = net.op("Div", &[g, norm]);
        let weight = net.op("Mul", &[v, scale]);
        let pads = AttributeValue::Ints(vec![1; 4]);
        let a = net.push(Node::new("Conv", vec![x, weight], Vec::new()).with("pads", pads));
        let b = net.conv_bn(x, [C, C], &square(1));
        net.add(a, b)
    });
}

#[test]
fn resnet_folds_and_keeps_its_shape() {
    check(3, &[("Add", 1), ("Relu", 1)], |net, x| {
        let y = net.conv_bn(x, [C, C], &square(3).stride(2));
        let y = net.relu(y);
        let y = net.conv_bn(y, [C, 12], &square(3));
        let shortcut = net.conv_bn(x, [C, 12], &square(1).stride(2));
        net.add(y, shortcut)
    });
}

#[test]
fn branches_between_terms_of_another_source() {
    check(2, &[("Add", 2), ("Relu", 1)], |net, x| {
        let z = net.conv(x, [C, C], &square(3));
        let z = net.relu(z);
        let a = net.conv_bn(x, [C, C], &square(3));
        let b = net.conv_bn(x, [C, C], &square(1));
        let y = net.add(a, z);
        let y = net.op("Sub", &[y, b]);
        net.add(y, z)
    });
}
