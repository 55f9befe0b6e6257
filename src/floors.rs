//! Checks the building: floors look only down, and each outside library has one room that knows it.

use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Libraries that one room keeps from the others: (library, room).
const KEPT: [(&str, &str); 3] = [("axum", "http"), ("ort", "runtime"), ("prometheus", "telemetry")];

/// Rooms in the order of `lib.rs`, from the ground up.
fn floors() -> Vec<String> {
    let map = fs::read_to_string(format!("{SOURCE}/lib.rs")).expect("lib.rs");
    map.lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .flat_map(|e| files(&e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// Code lines of a room, each with the file it stands in; documentation may name what it likes.
fn lines(room: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(SOURCE);
    let places = [source.join(room), source.join(format!("{room}.rs"))];
    let files = places.iter().filter(|p| p.exists()).flat_map(|p| files(p));
    files
        .flat_map(|file| {
            let text = fs::read_to_string(&file).expect("a source file");
            text.lines().map(|l| (file.clone(), l.to_owned())).collect::<Vec<_>>()
        })
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// Names that follow `prefix` in a line, where `prefix` does not continue another name.
fn names_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(at, _)| {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            return None;
        }
        let rest = &line[at + prefix.len()..];
        Some(
            &rest[..rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())],
        )
    })
}

#[test]
fn floors_look_only_down() {
    let floors = floors();
    assert!(floors.len() > 10, "lib.rs lists the rooms one a line: {floors:?}");
    let mut faults = Vec::new();
    for (height, room) in floors.iter().enumerate() {
        for (file, line) in lines(room) {
            for used in names_after(&line, "crate::") {
                if floors.iter().position(|f| f == used).is_some_and(|h| h > height) {
                    faults.push(format!(
                        "{}: {room} looks up at {used}: {}",
                        file.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_library_has_its_room() {
    let mut faults = Vec::new();
    for room in floors() {
        for (file, line) in lines(&room) {
            for (library, home) in KEPT {
                let path = format!("{library}::");
                if room != home && names_after(&line, &path).next().is_some() {
                    faults.push(format!(
                        "{}: {library} belongs to {home}: {}",
                        file.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_are_found_whole() {
    let found = |line, prefix| names_after(line, prefix).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        found("use crate::graph::{Graph}; crate::onnx::read()", "crate::"),
        ["graph", "onnx"]
    );
    assert_eq!(found("transport::send(); ort::init()", "ort::"), ["init"]);
}
