//! A process that does not outlive the one that started it.
#![allow(
    unsafe_code,
    reason = "what a new process does before it becomes the program can only be set so"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets the kernel kill the process that `command` starts when the thread that starts it ends, however that is: with its process, too.
pub(super) fn ends_with_its_parent(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Where it has ended already, no signal comes.
        match getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::from(Errno::CHILD)),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing: the errors are numbers.
    unsafe { command.pre_exec(prepare) }
}
