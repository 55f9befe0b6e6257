//! What is read and written is what was there.

use bytes::Bytes;

use super::{files, load};
use crate::Model;
use crate::onnx::{ExternalData, read, write, write_beside, write_to};

/// Everything that a model says, comparable.
fn facts(model: &Model) -> (String, Vec<String>, String) {
    let graph = &model.graph;
    let constants = graph
        .constants()
        .map(|(id, t)| format!("{} {:x?}", graph.describe(id), digest(t.data())))
        .collect();
    let nodes: Vec<_> = graph
        .nodes()
        .map(|(_, n)| (&n.name, &n.opaque, n.attributes.clone()))
        .collect();
    let values: Vec<_> = graph
        .nodes()
        .flat_map(|(_, n)| n.produces().collect::<Vec<_>>())
        .map(|v| graph.value(v).clone())
        .collect();
    let head = (
        model.ir_version,
        &model.opsets,
        &model.producer_name,
        &model.producer_version,
        &model.metadata,
        &model.functions,
        &model.opaque,
        &graph.opaque,
    );
    (graph.to_string(), constants, format!("{head:?}\n{nodes:?}\n{values:?}"))
}

#[test]
fn every_file_survives_with_its_weights_beside_it() {
    for path in files() {
        let folder = tempfile::tempdir().unwrap();
        let model = load(&path);
        let before = facts(&model);
        let weights = std::fs::File::create(folder.path().join("weights")).unwrap();
        let written = write_beside(model, "weights", 64, weights).unwrap();
        let beside = ExternalData::Folder(folder.path().to_owned());
        let again = read(Bytes::from(written), &beside).unwrap();
        assert!(before == facts(&again), "{}: not the same model", path.display());
        let large = |t: &crate::Tensor| t.dtype().size_bytes().is_some() && t.data().len() >= 64;
        let large = again.graph.constants().filter(|(_, t)| large(t));
        let addresses: Vec<usize> = large.map(|(_, t)| t.data().as_ptr() as usize).collect();
        let first = addresses.iter().copied().min().unwrap_or_default();
        assert!(addresses.iter().all(|address| (address - first) % 64 == 0));
    }
}

fn digest(data: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn every_file_survives_reading_and_writing() {
    for path in files() {
        let model = load(&path);
        let before = facts(&model);
        let mut streamed = Vec::new();
        write_to(model.clone(), &mut streamed).unwrap();
        let written = write(model).unwrap();
        assert!(written == streamed, "{}: write and write_to differ", path.display());
        let again = read(Bytes::from(written), &ExternalData::None).unwrap();
        assert!(before == facts(&again), "{}: not the same model", path.display());
    }
}
