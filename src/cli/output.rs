//! Writing to stdout, stderr and files.

use std::io::{self, Write};
use std::path::Path;

/// Writes to stdout.
///
/// # Errors
/// Where stdout cannot be written, above all where its reader has gone (see [`pipe_closed`]).
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line on stderr.
pub(super) fn complain(text: &str) {
    let line: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let _ = writeln!(io::stderr().lock(), "repserve: {}", line.join(" "));
}

/// Whether the error is only that the reader of stdout has seen enough.
pub(super) fn pipe_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a temporary file beside `path` and renames it: nobody sees half a file.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".repserve-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    readable_as_usual(file.as_file())?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file is its owner's alone; the written one gets what the umask leaves, as any other file.
fn readable_as_usual(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    let mode = 0o666 & !mask.bits();
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}
