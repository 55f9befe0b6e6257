//! `repserve init`.

use std::path::{Path, PathBuf};

use super::out_file::OutFile;
use super::{ExitCode, Outcome, output};
use repserve_compile::{Manifest, Package, Preset};

/// The labels' file beside the model.
const LABELS_FILE: &str = "labels.txt";

/// Write a model.toml for an ONNX file, into its folder, filled from the graph
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ONNX file
    #[arg(value_name = "MODEL")]
    file: PathBuf,
    /// How images are prepared: plain (pixels divided by 255) or imagenet (as torchvision and timm do for ImageNet)
    #[arg(long, value_name = "NAME", default_value = "plain")]
    preset: Preset,
    /// Replace model.toml and labels.txt where they exist
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let package = Package::bare(&args.file, args.preset)?;
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let labels = package.labels.map(|labels| labels.join("\n") + "\n");
    let manifest = Manifest {
        labels: labels.as_ref().map(|_| LABELS_FILE.to_owned()),
        ..package.manifest
    };
    let text = toml::to_string(&manifest)?;
    let mut written = Vec::new();
    let files = [("model.toml", Some(text)), (LABELS_FILE, labels)];
    let files = files
        .into_iter()
        .filter_map(|(name, text)| Some((folder.join(name), text?)));
    let files: Vec<(PathBuf, String)> = files.collect();
    let targets = files
        .iter()
        .map(|(path, _)| OutFile::new(path, args.force, std::slice::from_ref(&args.file)));
    let targets: Vec<OutFile> = targets.collect::<Result<_, _>>()?;
    for (target, (path, text)) in targets.iter().zip(&files) {
        target.write(text.as_bytes())?;
        written.push(path.display().to_string());
    }
    output::print(&format!("{text}# written: {}\n", written.join(", "), text = files[0].1))?;
    Ok(ExitCode::SUCCESS)
}
