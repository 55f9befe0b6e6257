//! One more operator behind a value of a random graph.

use crate::tests::build::{Net, Shape};
use repserve_graph::{Tensor, ValueId};

/// A value and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: ValueId,
    pub(super) channels: usize,
    pub(super) extents: Vec<usize>,
}

/// Choices, read from bytes so that a failing case shrinks; 0 when they are used up.
pub(super) struct Choices<'a> {
    pub(super) bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % n.max(1)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// A graph under growth.
pub(super) struct Generator<'a> {
    pub(super) net: Net,
    pub(super) choose: Choices<'a>,
    pub(super) rank: usize,
    pub(super) known: Vec<Known>,
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

    /// Adds one operator, or a few, behind a value that is there.
    pub(super) fn grow(&mut self) {
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

    /// A stride or dilation, mostly 1: larger ones leave little of a small image for what follows.
    fn step(&mut self) -> usize {
        [1, 1, 1, 1, 1, 1, 2, 3][self.choose.below(8)]
    }

    /// A window of random geometry, its input dilated extent at most the padded extent.
    fn window(&mut self, x: &Known) -> Option<(Shape, Vec<usize>)> {
        let kernel: Vec<usize> = (0..self.rank).map(|_| [1, 3, 1, 2][self.choose.below(4)]).collect();
        let (stride, dilation) = (self.step(), self.step());
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
            let dilation = self.step();
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
