//! Networks that are more than a block between two ReLUs: several outputs, matrices, channels last.

use super::build::{Net, square};
use super::families::repvgg;
use super::fuse;
use repserve_graph::{Node, ValueId};

const C: usize = 8;

#[test]
fn repvggplus_keeps_one_of_its_outputs() {
    let mut net = Net::new(3);
    let input = net.input(&[C, 8, 8]);
    let x = repvgg(&mut net, input, &square(3), false);
    let x = net.relu(x);
    let auxiliary = net.op("GlobalAveragePool", &[x]);
    let y = repvgg(&mut net, x, &square(3).stride(2), false);
    let y = net.relu(y);
    net.output(auxiliary);
    net.output(y);
    let kept = net.graph.value(y).name.clone();
    let options = crate::Options {
        output: Some(kept.clone()),
        ..Default::default()
    };
    let outcome = super::fuse_with(&net, &options);
    assert_eq!((outcome.count("Conv"), outcome.count("GlobalAveragePool")), (2, 0));
    let names: Vec<&str> = outcome
        .deploy
        .graph
        .outputs
        .iter()
        .map(|v| outcome.deploy.graph.value(*v).name.as_str())
        .collect();
    assert_eq!(names, [kept]);
    assert_eq!(outcome.train.graph.outputs.iter().count(), 2);
    assert!(outcome.error < 1e-6);
    assert_eq!(fuse(&net).count("Conv"), 2, "both outputs kept, both blocks fused");
}

#[test]
fn matrices_fold_too() {
    let mut net = Net::new(5);
    let x = net.input(&[6]);
    let w = net.constant(&[6, 10]);
    let y = net.op("MatMul", &[x, w]);
    let b = net.constant(&[10]);
    let y = net.add(y, b);
    let y = net.bn(y, 10);
    let w = net.constant(&[4, 10]);
    let z = net.push(Node::new("Gemm", vec![y, w], Vec::new()).with("transB", repserve_graph::AttributeValue::Int(1)));
    net.output(z);
    let outcome = fuse(&net);
    assert_eq!(outcome.report.deploy.nodes(), 1, "{}", outcome.report);
    assert!(outcome.error < 1e-6, "{}", outcome.error);
}

/// A block as converters from channels-last frameworks write it.
#[test]
fn channels_last_with_transpositions() {
    let mut net = Net::new(9);
    let turn = |net: &mut Net, x: ValueId, perm: [i64; 4]| {
        let node = Node::new("Transpose", vec![x], Vec::new());
        net.push(node.with("perm", repserve_graph::AttributeValue::Ints(perm.to_vec())))
    };
    let (last, first) = ([0, 2, 3, 1], [0, 3, 1, 2]);
    let mut x = net.input(&[9, 8, C]);
    for _ in 0..2 {
        let mut branches = Vec::new();
        for k in [3, 1] {
            let y = turn(&mut net, x, first);
            let y = net.conv(y, [C, C], &square(k));
            let y = turn(&mut net, y, last);
            let bias = net.constant(&[C]);
            branches.push(net.add(y, bias));
        }
        let y = net.add(branches[0], branches[1]);
        let y = net.add(y, x);
        x = net.relu(y);
    }
    net.output(x);
    let outcome = fuse(&net);
    assert_eq!(
        (outcome.count("Conv"), outcome.count("Add")),
        (2, 0),
        "{}",
        outcome.report
    );
    assert_eq!(outcome.count("Transpose"), 2, "{}", outcome.report);
    assert!(outcome.error <= 1e-6, "error {}", outcome.error);
}

/// Concatenations and reductions name axes, which a transposition before them renames.
#[test]
fn channels_last_through_concatenation_and_reduction() {
    let ints = |axes: &[i64]| repserve_graph::AttributeValue::Ints(axes.to_vec());
    let int = repserve_graph::AttributeValue::Int;
    for (axes, keeps, left) in [(&[1, 2][..], 0, 1), (&[1, 2], 1, 2), (&[-1], 0, 1), (&[2], 0, 2)] {
        let mut net = Net::new(9);
        let turn = |net: &mut Net, x: ValueId, perm: [i64; 4]| {
            net.push(Node::new("Transpose", vec![x], Vec::new()).with("perm", ints(&perm)))
        };
        let input = net.input(&[9, 8, C]);
        let branches = [3, 1].map(|k| {
            let y = turn(&mut net, input, [0, 3, 1, 2]);
            let y = net.conv(y, [C, C], &square(k));
            turn(&mut net, y, [0, 2, 3, 1])
        });
        let y = net.push(Node::new("Concat", branches.to_vec(), Vec::new()).with("axis", int(-1)));
        let y = net.relu(y);
        let mean = Node::new("ReduceMean", vec![y], Vec::new()).with("axes", ints(axes));
        let y = net.push(mean.with("keepdims", int(keeps)));
        net.output(y);
        let outcome = fuse(&net);
        assert_eq!(outcome.count("Transpose"), left, "{axes:?}: {}", outcome.report);
        assert!(outcome.error <= 1e-6, "{axes:?}: error {}", outcome.error);
    }
}

#[test]
fn a_block_that_is_to_stay_keeps_all_of_its_nodes() {
    let mut net = Net::new(3);
    let input = net.input(&[C, 8, 8]);
    let first = repvgg(&mut net, input, &square(3), true);
    let x = net.relu(first);
    let second = repvgg(&mut net, x, &square(3), true);
    let y = net.relu(second);
    net.output(y);
    let whole = fuse(&net);
    assert_eq!(whole.report.blocks.len(), 2);
    let name = whole.report.blocks[0].output.clone();
    let unfused = crate::Unfused::Blocks([name.clone()].into());
    let options = crate::Options {
        unfused,
        ..Default::default()
    };
    let outcome = super::fuse_with(&net, &options);
    let blocks: Vec<_> = outcome.report.blocks.iter().map(|b| b.output.as_str()).collect();
    assert_eq!(blocks, [whole.report.blocks[1].output.as_str()]);
    let kept = whole.report.blocks[0].nodes.len();
    let others = whole.report.deploy.nodes() - 1;
    assert_eq!(outcome.report.deploy.nodes(), others + kept, "{}", outcome.report);
    let options = crate::Options {
        unfused: crate::Unfused::All,
        ..Default::default()
    };
    let outcome = super::fuse_with(&net, &options);
    assert_eq!(outcome.report.deploy, outcome.report.source);
}
