//! Random graphs of (mostly) linear operators: whatever is made of them is valid, equal, and final.

use proptest::prelude::*;

use super::build::{Net, Shape};
use super::fuse;
use crate::graph::{AttributeValue, Dim, Node, Tensor, ValueId};
use crate::reparam::report::BlockKind;

/// A value and what is known of it.
#[derive(Debug, Clone)]
struct Known {
    id: ValueId,
    channels: usize,
    extents: Vec<usize>,
}

/// Choices, read from bytes so that a failing case shrinks; 0 when they are used up.
struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % n.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

struct Generator<'a> {
    net: Net,
    choose: Choices<'a>,
    rank: usize,
    known: Vec<Known>,
}

impl Generator<'_> {
    fn latest(&mut self) -> Known {
        let back = if self.choose.one_in(4) {
            self.choose.below(self.known.len())
        } else {
            0
        };
        self.known[self.known.len() - 1 - back].clone()
    }

    fn grow(&mut self) {
        let x = self.latest();
        let made = match self.choose.below(9) {
            0 | 1 => self.convolve(&x),
            2 | 3 => Some(self.scale(&x)),
            4 => self.average(&x),
            5 => self.pad(&x),
            6 => self.branches(&x),
            7 => self.sum(&x),
            _ => Some(self.other(&x)),
        };
        self.known.extend(made);
    }

    fn like(x: &Known, id: ValueId) -> Known {
        Known { id, ..x.clone() }
    }

    /// A window of random geometry, its input dilated extent at most the padded extent.
    fn window(&mut self, x: &Known) -> Option<(Shape, Vec<usize>)> {
        let kernel: Vec<usize> = (0..self.rank).map(|_| [1, 3, 1, 2][self.choose.below(4)]).collect();
        let (stride, dilation) = (
            1 + usize::from(self.choose.one_in(4)),
            1 + usize::from(self.choose.one_in(4)),
        );
        let mut pads = vec![0; 2 * self.rank];
        if self.choose.one_in(2) {
            pads = (0..2 * self.rank)
                .map(|i| self.choose.below(kernel[i % self.rank] * dilation))
                .collect();
        }
        let shape = Shape {
            kernel,
            stride,
            dilation,
            groups: 1,
            pads,
            bias: self.choose.one_in(2),
        };
        let extents = extents(&shape, &x.extents)?;
        Some((shape, extents))
    }

    fn channels(&mut self, x: &Known) -> (usize, usize) {
        match self.choose.below(4) {
            0 => (x.channels, 1),
            1 => (2 * (1 + self.choose.below(3)), 1),
            2 => (x.channels, x.channels),
            _ => (x.channels, if x.channels.is_multiple_of(2) { 2 } else { 1 }),
        }
    }

    fn convolve(&mut self, x: &Known) -> Option<Known> {
        let (mut shape, extents) = self.window(x)?;
        let (channels, groups) = self.channels(x);
        shape.groups = groups;
        let mut id = self.net.conv(x.id, [x.channels, channels], &shape);
        if self.choose.one_in(2) {
            id = self.net.bn(id, channels);
        }
        Some(Known { id, channels, extents })
    }

    fn scale(&mut self, x: &Known) -> Known {
        let shape: Vec<usize> = match self.choose.below(3) {
            0 => [&[x.channels][..], &vec![1; self.rank]].concat(),
            1 => [&[1, x.channels][..], &vec![1; self.rank]].concat(),
            _ => Vec::new(),
        };
        let numbers = self.net.randoms(shape.iter().product());
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|v| if v.abs() < 0.3 { v + 1.0 } else { *v })
            .collect();
        let constant = self.net.given(&shape, &numbers);
        let id = match self.choose.below(7) {
            0 => self.net.bn(x.id, x.channels),
            1 => self.net.op("Mul", &[x.id, constant]),
            2 => self.net.op("Add", &[constant, x.id]),
            3 => self.net.op("Sub", &[x.id, constant]),
            4 => self.net.op("Sub", &[constant, x.id]),
            5 => self.net.op("Div", &[x.id, constant]),
            _ => self.net.op("Neg", &[x.id]),
        };
        Self::like(x, id)
    }

    fn average(&mut self, x: &Known) -> Option<Known> {
        let (mut shape, _) = self.window(x)?;
        shape.dilation = 1;
        for i in 0..2 * self.rank {
            shape.pads[i] = shape.pads[i].min(shape.kernel[i % self.rank] - 1);
        }
        let extents = extents(&shape, &x.extents)?;
        let counts = self.choose.one_in(2);
        let id = self.net.pool(x.id, &shape, counts);
        Some(Known {
            id,
            extents,
            ..x.clone()
        })
    }

    fn pad(&mut self, x: &Known) -> Option<Known> {
        let pads: Vec<i64> = (0..2 * self.rank)
            .map(|_| [0, 1, 2, 0, -1][self.choose.below(5)])
            .collect();
        let wide = |a: usize| x.extents[a] as i64 + pads[a] + pads[a + self.rank];
        let extents: Option<Vec<usize>> = (0..self.rank)
            .map(|a| usize::try_from(wide(a)).ok().filter(|n| *n > 0))
            .collect();
        let extents = extents?;
        let all = [&[0, 0], &pads[..self.rank], &[0, 0], &pads[self.rank..]].concat();
        let all = Tensor::from_i64(&[all.len()], &all);
        let mut inputs = vec![x.id, self.net.graph.add_constant("pads", all)];
        if self.choose.one_in(3) {
            inputs.push(self.net.given(&[], &[0.5]));
        }
        let id = self.net.op("Pad", &inputs);
        Some(Known {
            id,
            extents,
            ..x.clone()
        })
    }

    /// Parallel branches of one value whose outputs have the same size, as re-parameterizable networks have them.
    fn branches(&mut self, x: &Known) -> Option<Known> {
        let stride = 1 + usize::from(self.choose.one_in(4));
        let (channels, groups) = self.channels(x);
        let mut terms = Vec::new();
        let mut size = None;
        for _ in 0..2 + self.choose.below(3) {
            let identity = stride == 1 && channels == x.channels && self.choose.one_in(4);
            if identity {
                let id = if self.choose.one_in(2) {
                    self.net.bn(x.id, channels)
                } else {
                    x.id
                };
                terms.push(id);
                size.get_or_insert(x.extents.clone());
                continue;
            }
            let kernel: Vec<usize> = (0..self.rank).map(|_| [1, 3, 2, 5][self.choose.below(4)]).collect();
            let dilation = 1 + usize::from(self.choose.one_in(4));
            let reach = |a: usize| dilation * (kernel[a] - 1);
            let begins: Vec<usize> = (0..self.rank).map(|a| self.choose.below(reach(a) + 1)).collect();
            let ends = (0..self.rank).map(|a| reach(a) - begins[a]);
            let shape = Shape {
                pads: begins.iter().copied().chain(ends).collect(),
                kernel: kernel.clone(),
                stride,
                dilation,
                groups: if self.choose.one_in(3) { 1 } else { groups },
                bias: self.choose.one_in(2),
            };
            let made = extents(&shape, &x.extents)?;
            size.get_or_insert(made);
            let mut id = self.net.conv(x.id, [x.channels, channels], &shape);
            if self.choose.one_in(2) {
                id = self.net.bn(id, channels);
            }
            terms.push(id);
        }
        let id = if self.choose.one_in(2) {
            self.net.op("Sum", &terms)
        } else {
            let op = |choose: &mut Choices<'_>| if choose.one_in(4) { "Sub" } else { "Add" };
            let mut rest = terms.into_iter();
            let mut sum = rest.next()?;
            for term in rest {
                let pair = if self.choose.one_in(2) {
                    [sum, term]
                } else {
                    [term, sum]
                };
                let op = op(&mut self.choose);
                sum = self.net.op(op, &pair);
            }
            sum
        };
        Some(Known {
            id,
            channels,
            extents: size?,
        })
    }

    /// A sum of values that happen to fit, of whatever source.
    fn sum(&mut self, x: &Known) -> Option<Known> {
        let fitting: Vec<ValueId> = self
            .known
            .iter()
            .filter(|k| k.channels == x.channels && k.extents == x.extents)
            .map(|k| k.id)
            .collect();
        let terms: Vec<ValueId> = (0..2 + self.choose.below(2))
            .map(|_| fitting[self.choose.below(fitting.len())])
            .collect();
        let op = ["Sum", "Mean", "Sum"][self.choose.below(3)];
        let id = self.net.op(op, &terms);
        Some(Self::like(x, id))
    }

    fn other(&mut self, x: &Known) -> Known {
        let op = ["Identity", "Relu", "Dropout"][self.choose.below(3)];
        let id = self.net.op(op, &[x.id]);
        Self::like(x, id)
    }
}

fn extents(shape: &Shape, extents: &[usize]) -> Option<Vec<usize>> {
    let rank = extents.len();
    let along = |a: usize| {
        let padded = extents[a] + shape.pads[a] + shape.pads[a + rank];
        padded
            .checked_sub(shape.dilation * (shape.kernel[a] - 1) + 1)
            .map(|free| free / shape.stride + 1)
    };
    (0..rank).map(along).collect()
}

/// The graph that these choices make.
fn generate(bytes: &[u8], seed: u64) -> Net {
    let mut choose = Choices { bytes: bytes.iter() };
    let rank = [2, 2, 2, 1, 3][choose.below(5)];
    let channels = [4, 2, 6, 3][choose.below(4)];
    let largest = if rank == 3 { 2 } else { 4 };
    let sizes: Vec<usize> = (0..rank).map(|_| 4 + choose.below(largest)).collect();
    let dynamic = choose.one_in(3);
    let mut net = Net::new(seed);
    let dim = |n: &usize| {
        if dynamic {
            Dim::Symbol(format!("n{n}"))
        } else {
            Dim::Fixed(*n)
        }
    };
    let dims: Vec<Dim> = std::iter::once(Dim::Fixed(channels))
        .chain(sizes.iter().map(dim))
        .collect();
    let id = net.input_of(&dims);
    let source = Known {
        id,
        channels,
        extents: sizes,
    };
    let mut generator = Generator {
        net,
        choose,
        rank,
        known: vec![source],
    };
    for _ in 0..1 + generator.choose.below(9) {
        generator.grow();
    }
    let Generator {
        mut net,
        mut choose,
        known,
        ..
    } = generator;
    let last = known.len() - 1;
    for (i, value) in known.iter().enumerate() {
        if i == last || (i > 0 && choose.one_in(8)) {
            net.output(value.id);
        }
    }
    net
}

/// Gives a random convolution `auto_pad` instead of its pads.
fn automatic(net: &mut Net, which: usize, kind: &str) {
    let convs: Vec<_> = net
        .graph
        .nodes()
        .filter(|(_, n)| n.is("Conv"))
        .map(|(id, _)| id)
        .collect();
    let Some(id) = convs.get(which % convs.len().max(1)).copied() else {
        return;
    };
    let Some(mut node) = net.graph.node_mut(id) else { return };
    let single = |a: &crate::graph::Attribute| {
        a.name == "strides" && a.value.as_ints().is_some_and(|s| s.iter().all(|v| *v == 1))
    };
    if node.attributes.iter().any(single) {
        let rank = node
            .attribute("strides")
            .and_then(AttributeValue::as_ints)
            .map_or(0, <[i64]>::len);
        let keeps = node
            .attribute("pads")
            .and_then(AttributeValue::as_ints)
            .map(<[i64]>::to_vec)
            .unwrap_or_default();
        let reach = |a: usize| {
            let list = |name: &str| {
                node.attribute(name)
                    .and_then(AttributeValue::as_ints)
                    .map_or(1, |l| l[a])
            };
            list("dilations") * (list("kernel_shape") - 1)
        };
        if (0..rank).all(|a| keeps[a] + keeps[a + rank] == reach(a)) {
            node.attributes.retain(|a| a.name != "pads");
            let value = AttributeValue::String(kind.to_owned().into());
            *node = node.clone().with("auto_pad", value);
        }
    }
}

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
    for seed in 0..200u64 {
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
