//! The real binary.

use std::process::{Command, Output, Stdio};

/// The binary, with none of this process's settings, and no folder for a start-up cache.
pub fn repserve(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repserve"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("REPSERVE_")) {
        command.env_remove(name);
    }
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    repserve(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Checks that it ended with `code` and one line on stderr.
#[track_caller]
pub fn check_error(output: &Output, code: i32, line: &str) {
    assert_eq!(stderr(output), format!("repserve: {line}\n"));
    assert_eq!(output.status.code(), Some(code));
}
