//! Random graphs of (mostly) linear operators: whatever is made of them is valid, equal, and final.

mod generate;
mod grow;

use proptest::prelude::*;

use super::build::Net;
use super::fuse;
use crate::report::BlockKind;
use generate::{automatic, generate};
use repserve_graph::Node;

fn check(bytes: &[u8], seed: u64) -> Result<(), TestCaseError> {
    let mut net = generate(bytes, seed);
    if seed.is_multiple_of(3) {
        automatic(
            &mut net,
            seed as usize / 3,
            if seed.is_multiple_of(2) {
                "SAME_UPPER"
            } else {
                "SAME_LOWER"
            },
        );
    }
    let outcome = fuse(&net);
    prop_assert!(outcome.error <= 2e-6, "error {}\n{}", outcome.error, outcome.report);
    Ok(())
}

/// At least 2,500 cases; more with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(2500),
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_graphs_stay_what_they_compute(bytes in prop::collection::vec(any::<u8>(), 0..160), seed in 0u64..1000) {
        check(&bytes, seed)?;
    }
}

#[test]
fn random_graphs_are_fused_at_all() {
    let mut blocks = [0usize; 3];
    for seed in 0..400u64 {
        let mut state = seed;
        let mut byte = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let bytes: Vec<u8> = (0..160).map(|_| byte()).collect();
        let report = fuse(&generate(&bytes, seed)).report;
        for block in &report.blocks {
            blocks[match block.kind {
                BlockKind::Folded => 0,
                BlockKind::Parallel => 1,
                BlockKind::Serial => 2,
            }] += 1;
        }
    }
    assert!(blocks.iter().all(|n| *n >= 10), "folded, parallel, serial: {blocks:?}");
}

#[test]
fn sums_of_one_value_with_itself() {
    let mut net = Net::new(1);
    let x = net.input(&[2, 4, 4]);
    let y = net.conv(x, [2, 2], &super::build::square(3));
    let mut sum = net.add(y, y);
    for _ in 0..40 {
        sum = net.push(Node::new("Add", vec![sum, sum], Vec::new()));
    }
    net.output(sum);
    let outcome = fuse(&net);
    assert_eq!(outcome.report.deploy.nodes(), 1, "{}", outcome.report);
    assert!(outcome.error <= 1e-6);
}
