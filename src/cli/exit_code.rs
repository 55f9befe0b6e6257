//! How the process ends.
//!
//! Returning from `main`, and [`std::process::exit`], run the destructors of loaded libraries while other threads go on. A worker, or a thread that
//! loads a model, may be inside ONNX Runtime then, which crashes it: a server that was told twice to stop ended by SIGSEGV. There is nothing
//! to wait for (a run may take seconds), so the process ends without those destructors.
#![allow(unsafe_code, reason = "no safe function ends a process without running destructors")]

use std::io::Write;

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(u8);

impl ExitCode {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something failed.
    pub const FAILURE: Self = Self(1);
    /// The command line or the configuration is wrong.
    pub const USAGE: Self = Self(2);

    /// That of a process that a signal has ended, as shells count.
    pub(super) const fn of_signal(signal: u8) -> Self {
        Self(128 + signal)
    }

    /// Ends the process now, whatever its threads are at. What was printed is written; nothing else is finished: no destructor runs, neither
    /// of a value nor of a library.
    pub fn exit(self) -> ! {
        // What cannot be written has no reader.
        let _ = std::io::stdout().flush();
        // SAFETY: the call takes any number, does not return, and runs no code of this process.
        unsafe { libc::_exit(self.0.into()) }
    }
}
