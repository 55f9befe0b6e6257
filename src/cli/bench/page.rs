//! The files of `--out`.

use std::path::Path;

use anyhow::Context;

use super::Args;
use crate::cli::out_file::OutFile;
use repserve_measure::report::Report;

/// What the page says of all its tables.
const PAGE_HEAD: &str = "Made by `repserve bench --out`; every figure is the median of alternating rounds in one run. The client runs on the server's cores.\n\
\n\
The bare loop decodes, preprocesses and runs one-thread sessions of ONNX Runtime on every core, with no server around them. *Same kernels*: its \
sessions have the layers that the server lowers (`runtime.kernels`), so that this column shows what the server itself costs. At three times the \
capacity the client and the refusals take what the answers lack: every refused request is read to its end, so that its connection can be used again.\n";

/// The files of `--out`.
pub(super) struct Page {
    table: OutFile,
    figures: OutFile,
}

impl Page {
    /// Makes the folder, and looks whether files in it would be replaced before anything is measured.
    pub(super) fn new(folder: &Path, args: &Args) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let image = args.image.as_slice();
        let target = |name: &str| OutFile::new(&folder.join(name), args.force, image);
        Ok(Self {
            table: target("README.md")?,
            figures: target("figures.json")?,
        })
    }

    pub(super) fn write(&self, reports: &[Report]) -> anyhow::Result<()> {
        let mut page = format!("# Benchmarks\n\n{PAGE_HEAD}\n");
        for report in reports {
            page += &format!("{}\n", report.markdown());
            if report.throughput.is_some() {
                page += &format!("![{}]({}.svg)\n\n", report.model, report.model);
            }
        }
        self.table.write(page.as_bytes())?;
        let figures = serde_json::to_string_pretty(reports)? + "\n";
        self.figures.write(figures.as_bytes())?;
        Ok(())
    }
}
