//! Reports to look at: one HTML file that needs nothing else, light and dark, for the screen and for paper. [`page`] is the frame, [`charts`] and
//! [`blocks`] draw, and one file a command says what is shown. Everything that comes from files is escaped by `maud`.

mod blocks;
pub(super) mod calibration;
mod charts;
pub(super) mod evaluation;
pub(super) mod fusion;
mod page;

use std::path::{Path, PathBuf};

use super::out_file::OutFile;

/// Where a report is written.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ReportArgs {
    /// Write a report to look at: one HTML file, which is replaced where it exists
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

impl ReportArgs {
    /// Whether a report is written.
    pub(super) fn is_wanted(&self) -> bool {
        self.report.is_some()
    }

    /// The file, where one is wanted; none of `sources`, which are read.
    pub(super) fn target(&self, sources: &[PathBuf]) -> anyhow::Result<Option<OutFile>> {
        let target = |path: &Path| Ok(OutFile::new(path, true, sources)?);
        self.report.as_deref().map(target).transpose()
    }
}
