//! What entries depend on.

use std::fs;
use std::sync::OnceLock;
use std::thread;

use repserve_cache::{Digest, Key};
use repserve_files as files;
use repserve_runtime::{Cores, Runtime, RuntimeSettings, int8_instructions};
use serde::Serialize;

use super::super::error::CompileError;
use super::super::package::Package;
use super::super::precision::RequestedPrecision;
use super::super::settings::CompileSettings;

/// What `/proc/cpuinfo` says of a processor that decides which code runs on it and how fast.
const PROCESSOR: [&str; 13] = [
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "cache size",
    "flags",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "CPU revision",
    "Features",
];

/// The keys of a model's entries.
pub(super) struct Keys {
    pub(super) graph: Key,
    pub(super) sessions: Key,
}

/// The hashes of what is long: the program's file and the model's.
pub(super) struct Hashes {
    program: &'static str,
    model: Digest,
}

impl Hashes {
    /// Those of a package and of this program, on two threads.
    pub(super) fn of(package: &Package) -> Self {
        thread::scope(|scope| {
            let program = scope.spawn(program);
            let model = Digest::of(&package.graph);
            Self {
                program: program.join().unwrap_or_default(),
                model,
            }
        })
    }
}

impl Keys {
    /// Those of a package that is compiled with these settings, on this machine, by this program.
    ///
    /// # Errors
    /// A calibration that cannot be read.
    pub(super) fn of(
        runtime: &Runtime,
        Hashes { program, model }: Hashes,
        package: &Package,
        settings: &CompileSettings,
    ) -> Result<Self, CompileError> {
        let labels = package.labels.as_ref().map(Vec::len);
        let graph = Key::of(&[
            ("program", program.as_bytes()),
            ("onnxruntime", runtime.build_info().as_bytes()),
            ("model", model.to_string().as_bytes()),
            ("manifest", &json(&package.manifest)),
            ("assumed", &json(&package.assumed)),
            ("labels", &json(&labels)),
            ("verify", &json(&settings.verify)),
        ]);
        let calibration = match settings.precision {
            RequestedPrecision::Fp32 => None,
            RequestedPrecision::Int8 | RequestedPrecision::Auto => package.calibration()?,
        };
        let runtime = RuntimeSettings {
            // Its version is part of the other key.
            library: Default::default(),
            ..settings.runtime.clone()
        };
        let sessions = Key::of(&[
            ("graph", graph.as_ref()),
            ("processor", processor_here().as_bytes()),
            // The system may keep some of the processor's from this process.
            ("instructions", int8_instructions().unwrap_or_default().as_bytes()),
            ("cores", &json(&Cores::detect())),
            ("runtime", &json(&runtime)),
            ("precision", &json(&settings.precision)),
            ("calibration", &json(&calibration)),
            ("gate", &json(&settings.gate)),
            ("limits", format!("{:?}", settings.limits).as_bytes()),
        ]);
        Ok(Self { graph, sessions })
    }
}

/// The text of a value whose serialization does not fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The hash of this program's file: a version's number does not change with every change of the code. The version where there is no file.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let file = std::env::current_exe().ok().and_then(|file| files::open(&file).ok());
        let digest = file.and_then(|file| Digest::of_reader(file).ok());
        let version = || env!("CARGO_PKG_VERSION").to_owned();
        digest.map_or_else(version, |digest| digest.to_string())
    })
}

fn processor_here() -> String {
    processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The first processor of `/proc/cpuinfo`, without what changes while it runs.
fn processor(cpuinfo: &str) -> String {
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let known = first.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        PROCESSOR.contains(&name)
    });
    let mut text = std::env::consts::ARCH.to_owned();
    for line in known {
        text.push('\n');
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_what_it_can_do_not_how_fast_it_runs_just_now() {
        let cpuinfo = |mhz: &str, flags: &str| {
            format!(
                "processor\t: 0\nmodel name\t: X\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n\nprocessor\t: 1\nmodel name\t: X\n"
            )
        };
        let found = processor(&cpuinfo("2100.0", "avx2 fma"));
        assert_eq!(found, processor(&cpuinfo("800.1", "avx2 fma")));
        assert_ne!(found, processor(&cpuinfo("2100.0", "avx2")));
        assert_eq!(found.lines().count(), 3);
    }
}
