//! A memory cgroup for one process, where one can be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where version 1 mounts the controller, and version 2 all of them.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];

static MADE: AtomicUsize = AtomicUsize::new(0);

/// A group with a memory limit; removed when dropped, which must be after its processes have ended.
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes a group of at most `limit_bytes`; `None`, with a word on stderr, where that is not allowed.
    pub fn new(limit_bytes: u64) -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("repserve-test-{}-{number}", std::process::id());
        let made = ROOTS
            .iter()
            .find_map(|root| Self::within(Path::new(root), &name, limit_bytes));
        if made.is_none() {
            eprintln!("no memory cgroup can be made here: only the process's own peak is checked");
        }
        made
    }

    fn within(root: &Path, name: &str, limit_bytes: u64) -> Option<Self> {
        let folder = root.join(name);
        fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        let limit = limit_bytes.to_string();
        let files = ["memory.limit_in_bytes", "memory.max"].map(|file| group.folder.join(file));
        let file = files.iter().find(|file| file.exists())?;
        fs::write(file, &limit).ok()?;
        // Without swap the limit is what is resident.
        let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        let _ = fs::write(group.folder.join("memory.memsw.limit_in_bytes"), &limit);
        Some(group)
    }

    /// The file to which a process writes its id to join.
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How many processes the kernel has killed in it.
    pub fn killed(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"].map(|file| fs::read_to_string(self.folder.join(file)));
        let text: String = files.into_iter().flatten().collect();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
