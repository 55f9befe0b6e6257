use std::path::Path;

use repserve_cache::Section;
use repserve_runtime::{KernelMode, PlanMode, Row, RuntimeSettings};
use repserve_scheduler::Session;

use super::*;
use crate::RequestedPrecision;
use crate::tests::{built_in, with_features};

fn settings(precision: RequestedPrecision, kernels: KernelMode) -> CompileSettings {
    CompileSettings {
        precision,
        runtime: RuntimeSettings {
            kernels,
            // Nothing is measured, so that starts do not differ by chance.
            plan: PlanMode::Explicit,
            cores: 2,
            ..RuntimeSettings::default()
        },
        ..CompileSettings::default()
    }
}

fn fp32() -> CompileSettings {
    settings(RequestedPrecision::Fp32, KernelMode::On)
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().to_owned(), 1 << 30);
    (folder, store)
}

/// A start, after which the store holds all of it; the model, and the phases that it took.
fn started(store: &Store, package: Package, settings: &CompileSettings) -> (Compiled, Vec<Phase>) {
    let mut clock = Clock::silent();
    let load = || Runtime::load(None);
    let Started { compiled, unsaved } = start(load, package, Some(store), settings, &mut clock).unwrap();
    unsaved.save().unwrap();
    let phases = clock.spent().iter().map(|(phase, _)| *phase).collect();
    (compiled, phases)
}

fn rows(compiled: &mut Compiled) -> Vec<Row> {
    let length = compiled.description.signature.image_len();
    let image: Vec<f32> = (0..length).map(|i| ((i * 37) % 256) as f32 / 128.0 - 1.0).collect();
    let Compiled { sessions, .. } = compiled;
    let sessions = sessions.narrow.iter_mut().chain(&mut sessions.wide);
    sessions
        .flat_map(|session| session.run(std::slice::from_ref(&image)).unwrap())
        .collect()
}

/// What is served from the cache is what was compiled, to the bit, and so is all that is known of it.
#[track_caller]
fn check(settings: &CompileSettings) {
    let (_folder, store) = store();
    let (mut first, _) = started(&store, with_features().0, settings);
    let (mut second, phases) = started(&store, with_features().0, settings);
    assert_eq!(phases, [Phase::Runtime, Phase::Cache, Phase::Sessions, Phase::Verify]);
    assert!(second.facts.cached && !first.facts.cached);
    assert_eq!(rows(&mut first), rows(&mut second));
    assert_eq!(second.report, first.report);
    assert_eq!(
        (second.plan.cores, second.plan.wide_threads),
        (first.plan.cores, first.plan.wide_threads)
    );
    assert_eq!(second.description.signature, first.description.signature);
    assert_eq!(second.description.scores, first.description.scores);
    let layers = |compiled: &Compiled| compiled.facts.kernels.as_ref().map(|kernels| kernels.layers.clone());
    assert_eq!(layers(&second), layers(&first));
    let agreement = |compiled: &Compiled| compiled.facts.int8.as_ref().map(|int8| int8.agreement.images);
    assert_eq!(agreement(&second), agreement(&first));
    assert_eq!(second.facts.precision, first.facts.precision);
    let chosen = |compiled: &Compiled| compiled.facts.auto.as_ref().map(|auto| auto.reason);
    assert_eq!(chosen(&second), chosen(&first));
    assert_eq!(second.facts.equivalence.images, first.facts.equivalence.images);
    assert_eq!(second.facts.plan.operators, first.facts.plan.operators);
}

#[test]
fn a_start_from_the_cache_serves_what_was_compiled() {
    check(&fp32());
    check(&settings(RequestedPrecision::Fp32, KernelMode::Off));
    check(&settings(RequestedPrecision::Int8, KernelMode::Auto));
    check(&settings(RequestedPrecision::Auto, KernelMode::On));
}

fn files(store: &Store, kind: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(store.folder())
        .unwrap()
        .map(|file| file.unwrap().path());
    let of_kind = |path: &PathBuf| path.to_string_lossy().ends_with(&format!(".{kind}.entry"));
    files.filter(of_kind).collect()
}

#[test]
fn on_another_processor_the_graph_is_taken_and_its_sessions_are_made() {
    let (_folder, store) = store();
    let (mut first, _) = started(&store, built_in(), &fp32());
    for file in files(&store, SESSIONS) {
        std::fs::remove_file(file).unwrap();
    }
    let (mut second, phases) = started(&store, built_in(), &fp32());
    assert!(
        !phases.contains(&Phase::Fuse) && phases.contains(&Phase::Lower),
        "{phases:?}"
    );
    assert_eq!(second.report, first.report);
    assert_eq!(rows(&mut first), rows(&mut second));
    assert_eq!((files(&store, GRAPH).len(), files(&store, SESSIONS).len()), (1, 1));
}

#[test]
fn other_settings_and_other_models_have_entries_of_their_own() {
    let (_folder, store) = store();
    started(&store, built_in(), &fp32());
    let (_, phases) = started(&store, built_in(), &settings(RequestedPrecision::Fp32, KernelMode::Off));
    assert!(!phases.contains(&Phase::Fuse), "{phases:?}");
    let mut other = built_in();
    other.manifest.input.mean = [0.25; 3];
    let (compiled, phases) = started(&store, other, &fp32());
    assert!(!compiled.facts.cached && phases.contains(&Phase::Fuse));
    assert_eq!((files(&store, GRAPH).len(), files(&store, SESSIONS).len()), (2, 3));
}

/// Writes a copy of the sessions' entry in which `change` was made to its record.
fn rewrite(store: &Store, settings: &CompileSettings, change: impl FnOnce(&mut serde_json::Value)) {
    let runtime = Runtime::load(None).unwrap();
    let key = Keys::of(&runtime, Hashes::of(&built_in()), &built_in(), settings)
        .unwrap()
        .sessions;
    let entry = store.open(SESSIONS, &key).unwrap().unwrap();
    rewrite_entry(store, &key, &entry, settings, change);
}

fn rewrite_entry(
    store: &Store,
    key: &repserve_cache::Key,
    entry: &Entry,
    settings: &CompileSettings,
    change: impl FnOnce(&mut serde_json::Value),
) {
    let runtime = Runtime::load(None).unwrap();
    let mut record: serde_json::Value = super::record(entry).unwrap();
    let parts: sessions::SessionsRecord = super::record(entry).unwrap();
    let pool = repserve_runtime::Pool::restored(&runtime, parts.pool, |name| entry.section(name), &settings.runtime);
    let pool = pool.unwrap();
    change(&mut record);
    let (record, probe) = (serde_json::to_vec(&record).unwrap(), entry.section(PROBE).unwrap());
    let own = [Section::new(RECORD, &record), Section::new(PROBE, &probe)];
    let parts = pool.stored().parts;
    let parts = parts.iter().map(|(name, bytes)| Section::new(name.clone(), bytes));
    store
        .write(SESSIONS, key, &own.into_iter().chain(parts).collect::<Vec<_>>())
        .unwrap();
}

#[test]
fn sessions_that_do_not_return_the_stored_answer_are_not_served() {
    for answer in ["train_time", "narrow", "wide"] {
        let (_folder, store) = store();
        started(&store, built_in(), &fp32());
        rewrite(&store, &fp32(), |record| {
            let stored = &mut record["answers"][answer];
            let output = if stored["main"].is_object() {
                &mut stored["main"]
            } else {
                stored
            };
            output["data"][0] = 1e3.into();
        });
        let (compiled, _) = started(&store, built_in(), &fp32());
        assert!(!compiled.facts.cached, "{answer}");
        let (compiled, _) = started(&store, built_in(), &fp32());
        assert!(compiled.facts.cached, "{answer}");
    }
}

#[test]
fn sessions_that_do_not_return_the_stored_embedding_are_not_served() {
    let (_folder, store) = store();
    started(&store, with_features().0, &fp32());
    let runtime = Runtime::load(None).unwrap();
    let package = with_features().0;
    let key = Keys::of(&runtime, Hashes::of(&package), &package, &fp32())
        .unwrap()
        .sessions;
    let entry = store.open(SESSIONS, &key).unwrap().unwrap();
    let record: sessions::SessionsRecord = super::record(&entry).unwrap();
    assert_eq!(record.answers.narrow.further.len(), 1);
    rewrite_entry(&store, &key, &entry, &fp32(), |record| {
        record["answers"]["narrow"]["further"][0]["data"][0] = 1e3.into();
    });
    assert!(!started(&store, with_features().0, &fp32()).0.facts.cached);
}

#[test]
fn a_record_that_is_not_understood_is_made_anew() {
    let (_folder, store) = store();
    started(&store, built_in(), &fp32());
    rewrite(&store, &fp32(), |record| record["pool"] = 1.into());
    assert!(!started(&store, built_in(), &fp32()).0.facts.cached);
}

#[test]
fn data_beside_the_graph_is_part_of_what_the_entries_hold() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/repvgg-cifar10");
    for name in ["model.toml", "labels.txt", "model.onnx"] {
        std::fs::copy(model.join(name), folder.path().join(name)).unwrap();
    }
    let data = folder.path().join("data.bin");
    std::fs::write(&data, b"one").unwrap();
    let package = Package::open(folder.path()).unwrap();
    let files: external::Files =
        serde_json::from_value(serde_json::json!([["data.bin", repserve_cache::Digest::of(b"one")]])).unwrap();
    files.check(&package).unwrap();
    std::fs::write(&data, b"two").unwrap();
    let error = files.check(&package).unwrap_err().to_string();
    assert_eq!(error, "data.bin: it holds other data than when the entry was made");
}
