//! The graph that a string of bytes stands for.

use super::grow::{Choices, Generator, Known};
use crate::tests::build::Net;
use repserve_graph::{Attribute, AttributeValue, Dim};

/// The graph that these choices make.
pub(super) fn generate(bytes: &[u8], seed: u64) -> Net {
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
pub(super) fn automatic(net: &mut Net, which: usize, kind: &str) {
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
    let single = |a: &Attribute| a.name == "strides" && a.value.as_ints().is_some_and(|s| s.iter().all(|v| *v == 1));
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
