//! The `repserve` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    repserve::cli::run(std::env::args_os())
}
