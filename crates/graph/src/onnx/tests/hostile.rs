//! Files that are not what they should be: each gets an error that names the place.

use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;

use super::{encoded, files, node, tensor, value_info};
use crate::TensorError;
use crate::onnx::rope::Rope;
use crate::onnx::{ExternalData, OnnxError, read};

/// A model of `nodes` between the input `x` and the output `y`, with further fields of its graph.
fn model(nodes: Vec<Rope>, more: impl FnOnce(&mut Rope)) -> Bytes {
    let mut graph = Rope::default();
    nodes.into_iter().for_each(|n| graph.message(1, n));
    graph.message(11, value_info("x"));
    graph.message(12, value_info("y"));
    more(&mut graph);
    let mut model = Rope::default();
    model.int(1, 8);
    model.message(7, graph);
    encoded(model)
}

fn error(bytes: impl Into<Bytes>) -> OnnxError {
    read(bytes.into(), &ExternalData::None).expect_err("must be refused")
}

fn check(bytes: impl Into<Bytes>, expected: &str) {
    assert_eq!(error(bytes).to_string(), expected);
}

fn relu() -> Vec<Rope> {
    vec![node("Relu", &["x"], &["y"])]
}

#[test]
fn a_minimal_model_is_read() {
    let model = read(model(relu(), |_| {}), &ExternalData::None).unwrap();
    assert_eq!(model.graph.node_count(), 1);
}

#[test]
fn what_is_not_onnx_is_told_from_what_is_damaged() {
    check("", "the file is empty; expected an ONNX model");
    assert!(matches!(error(&b"\xff\xd8\xff\xe0 a JPEG"[..]), OnnxError::NotOnnx(_)));
    assert!(matches!(error("<!DOCTYPE html><html></html>"), OnnxError::NotOnnx(_)));
    assert!(
        matches!(error("\x08\x08"), OnnxError::NotOnnx(_)),
        "a version and no graph"
    );
    let pointer = error("version https://git-lfs.github.com/spec/v1\noid sha256:0\n").to_string();
    assert!(pointer.contains("git lfs pull"), "{pointer}");
    let whole = model(relu(), |_| {});
    let cut = whole.slice(..whole.len() - 3);
    assert!(matches!(error(cut), OnnxError::Truncated { .. }));
}

#[test]
fn missing_and_duplicate_names() {
    let undefined = "node 0 (Add \"\") reads \"w\", which no input, initializer or node provides";
    check(model(vec![node("Add", &["x", "w"], &["y"])], |_| {}), undefined);
    let no_output = "the list of graph outputs reads \"y\", which no input, initializer or node provides";
    check(model(vec![], |_| {}), no_output);
    let twice = vec![node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])];
    check(
        model(twice, |_| {}),
        "node 1 (Relu \"\") defines \"y\", which is defined already; names must be unique",
    );
    let initializers = model(relu(), |g| {
        g.message(5, tensor("w", &[1], 1, &[0; 4]));
        g.message(5, tensor("w", &[1], 1, &[0; 4]));
    });
    check(
        initializers,
        "an initializer defines \"w\", which is defined already; names must be unique",
    );
    let inputs = model(relu(), |g| g.message(11, value_info("x")));
    check(
        inputs,
        "a graph input defines \"x\", which is defined already; names must be unique",
    );
    check(
        model(vec![node("", &["x"], &["y"])], |_| {}),
        "node 0 ( \"\") has no operator (op_type)",
    );
}

#[test]
fn nodes_out_of_order_are_sorted_and_cycles_refused() {
    let shuffled = vec![
        node("Relu", &["b"], &["y"]),
        node("Neg", &["a"], &["b"]),
        node("Abs", &["x"], &["a"]),
    ];
    let model_read = read(model(shuffled, |_| {}), &ExternalData::None).unwrap();
    let ops: Vec<&str> = model_read.graph.nodes().map(|(_, n)| n.op.as_str()).collect();
    assert_eq!(ops, ["Abs", "Neg", "Relu"]);
    let cycle = vec![
        node("Add", &["x", "b"], &["a"]),
        node("Neg", &["a"], &["b"]),
        node("Relu", &["b"], &["y"]),
    ];
    let message = error(model(cycle, |_| {})).to_string();
    assert!(message.starts_with("the graph has a cycle through node"), "{message}");
    let own = vec![node("Add", &["x", "y"], &["y"])];
    check(model(own, |_| {}), "the graph has a cycle through node 0 (Add \"\")");
}

#[test]
fn absurd_tensors() {
    let with = |t: Rope| model(relu(), |g| g.message(5, t));
    check(
        with(tensor("w", &[2, 2], 1, &[0; 4])),
        "tensor \"w\": a tensor of shape [2, 2] and type F32 needs 16 bytes and has 4",
    );
    check(
        with(tensor("w", &[-1], 1, &[])),
        "tensor \"w\" has the extent -1; extents must not be negative",
    );
    let huge = error(with(tensor("w", &[1 << 40, 1 << 40], 1, &[])));
    assert!(
        matches!(
            huge,
            OnnxError::Tensor {
                source: TensorError::Overflow(_),
                ..
            }
        ),
        "{huge}"
    );
    let large = error(with(tensor("w", &[1 << 40], 1, &[0; 8])));
    assert!(
        matches!(
            large,
            OnnxError::Tensor {
                source: TensorError::Size { .. },
                ..
            }
        ),
        "{large}"
    );
    let unsigned = error(with(tensor("w", &[3], 12, &[0; 8])));
    assert!(
        matches!(unsigned, OnnxError::Tensor { .. }),
        "a type that the IR does not model is measured too: {unsigned}"
    );
    let mut bad = Rope::default();
    bad.float(2, 1.0);
    check(
        with(bad),
        "an initializer is damaged: field 2 has another type than in ONNX",
    );
}

#[test]
fn subgraphs_without_end_are_refused() {
    let mut graph = Rope::default();
    for _ in 0..100 {
        let mut attribute = Rope::default();
        attribute.bytes(1, b"body");
        attribute.message(6, graph);
        attribute.int(20, 5);
        let mut inner = node("Loop", &[], &[]);
        inner.message(5, attribute);
        graph = Rope::default();
        graph.message(1, inner);
    }
    let mut attribute = Rope::default();
    attribute.bytes(1, b"body");
    attribute.message(6, graph);
    attribute.int(20, 5);
    let mut outer = node("Loop", &["x"], &["y"]);
    outer.message(5, attribute);
    check(
        model(vec![outer], |_| {}),
        "node 0 (Loop \"\") nests graphs deeper than 32 levels",
    );
}

#[test]
fn external_data_stays_in_the_models_folder() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(folder.path().join("w.bin"), [0u8; 16]).unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let from = ExternalData::Folder(folder.path().to_path_buf());
    let at = |location: &str, offset: &str, length: &str| {
        let mut external = tensor("w", &[2], 1, &[]);
        for (key, value) in [("location", location), ("offset", offset), ("length", length)] {
            let mut entry = Rope::default();
            entry.bytes(1, key.as_bytes());
            entry.bytes(2, value.as_bytes());
            external.message(13, entry);
        }
        external.int(14, 1);
        model(relu(), |g| g.message(5, external))
    };
    let read_at = |location: &str, offset: &str, length: &str| read(at(location, offset, length), &from).map(|_| ());
    read_at("w.bin", "8", "8").unwrap();
    read_at("./w.bin", "0", "8").unwrap();
    let mut bad = vec![
        ("w.bin", "9", "8"),
        ("w.bin", "17", "0"),
        ("w.bin", "-1", "8"),
        ("w.bin", "0", "4"),
        ("sub", "0", "8"),
    ];
    bad.extend([
        ("missing.bin", "0", "8"),
        ("", "0", "8"),
        ("../w.bin", "0", "8"),
        ("sub/../../w.bin", "0", "8"),
        ("..\\w.bin", "0", "8"),
    ]);
    let absolute = outside.path().to_string_lossy().into_owned();
    bad.push((&absolute, "0", "8"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.bin")).unwrap();
        bad.push(("link.bin", "0", "8"));
    }
    for (location, offset, length) in bad {
        let error = read_at(location, offset, length).expect_err(location);
        assert!(
            matches!(error, OnnxError::External { .. } | OnnxError::Tensor { .. }),
            "{location}: {error}"
        );
    }
    let nowhere = read(at("w.bin", "0", "8"), &ExternalData::None).expect_err("no folder");
    assert!(nowhere.to_string().contains("lies in a folder"), "{nowhere}");
    let missing = ExternalData::Folder(PathBuf::from("/does/not/exist"));
    assert!(read(at("w.bin", "0", "8"), &missing).is_err());
}

/// A small real file to damage.
fn seed() -> Vec<u8> {
    let smallest = files()
        .into_iter()
        .min_by_key(|p| std::fs::metadata(p).map_or(u64::MAX, |m| m.len()));
    std::fs::read(smallest.unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn truncated_files_are_refused(cut in any::<prop::sample::Index>()) {
        let whole = seed();
        let end = cut.index(whole.len());
        prop_assert!(read(Bytes::copy_from_slice(&whole[..end]), &ExternalData::None).is_err());
    }

    #[test]
    fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24)) {
        let mut bytes = seed();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let _ = read(Bytes::from(bytes), &ExternalData::None);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(Bytes::from(noise), &ExternalData::None);
    }
}
