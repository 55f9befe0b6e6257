//! How much memory this process may use, and what of it the server gives to what.
//!
//! The text of the kernel's files is parsed by pure functions; only [`MemoryPlan::detect`] reads them.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::{self, Hierarchy};

/// What is planned with where the system reports no limit.
const UNKNOWN_BYTES: u64 = 2 << 30;

/// Less than this for decoding is of no use.
const DECODE_BYTES_MIN: u64 = 32 << 20;

/// Bounds of what bodies take: less holds no photograph, and more is of no use.
const BODIES_BYTES: [u64; 2] = [16 << 20, 256 << 20];

/// The memory that the process may use, and its shares.
///
/// Three eighths are for decoding and a sixth for requests' bodies. The rest is for the model, its sessions and what they
/// compute with, the threads, and what the heap loses between blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    limit_bytes: u64,
}

impl MemoryPlan {
    /// Asks the system.
    pub fn detect() -> Self {
        let read = |path: &Path| fs::read_to_string(path).ok();
        Self {
            limit_bytes: limit(Path::new("/proc"), &read).unwrap_or(UNKNOWN_BYTES),
        }
    }

    /// Bytes that the process may use: the smallest limit of its cgroups, or what the machine has.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Bytes for all decoding together.
    pub fn decode_bytes_max(&self) -> u64 {
        (self.limit_bytes / 8 * 3).max(DECODE_BYTES_MIN)
    }

    /// Bytes for the bodies of all requests.
    pub fn bodies_bytes_max(&self) -> usize {
        let [least, most] = BODIES_BYTES;
        usize::try_from((self.limit_bytes / 6).clamp(least, most)).unwrap_or(usize::MAX)
    }
}

/// The smallest of the machine's memory and of the limits of the process's cgroups (v1 or v2) and those above them, in bytes.
fn limit(proc: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(&proc.join("meminfo")).as_deref().and_then(machine);
    let limits = |(hierarchy, folder): (Hierarchy, PathBuf)| {
        let files: &[&str] = match hierarchy {
            Hierarchy::V2 => &["memory.max", "memory.high"],
            Hierarchy::V1 => &["memory.limit_in_bytes"],
        };
        // `max` in v2 is no number; in v1 no limit is one beyond any machine's memory.
        let number = |file: &&str| read(&folder.join(file))?.trim().parse::<u64>().ok();
        files.iter().filter_map(number).min()
    };
    let groups = cgroup::folders(&proc.join("self"), "memory", read);
    groups.into_iter().filter_map(limits).chain(machine).min()
}

/// `MemTotal:       24683724 kB`.
fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\n");
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n";
    const V1: &str = "34 24 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    /// `files` are (path, text); expects that limit.
    fn check(files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(limit(Path::new("/proc"), &read), expected, "{files:?}");
    }

    #[test]
    fn v2_takes_the_smallest_on_the_way_up() {
        check(
            &[
                MACHINE,
                ("/proc/self/cgroup", "0::/a/b\n"),
                ("/proc/self/mountinfo", V2),
                ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("/sys/fs/cgroup/a/b/memory.high", "1000000000\n"),
                ("/sys/fs/cgroup/a/memory.max", "536870912\n"),
            ],
            Some(512 << 20),
        );
    }

    #[test]
    fn v1_in_a_container_sees_its_own_group_as_the_mount() {
        check(
            &[
                MACHINE,
                ("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"),
                ("/proc/self/mountinfo", V1),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "314572800\n"),
            ],
            Some(300 << 20),
        );
    }

    #[test]
    fn without_a_limit_it_is_the_machine() {
        check(
            &[
                MACHINE,
                ("/proc/self/cgroup", "5:memory:/docker/abc\n"),
                ("/proc/self/mountinfo", V1),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
            Some(8 << 30),
        );
        check(&[MACHINE, ("/proc/self/cgroup", "nonsense")], Some(8 << 30));
        check(&[("/proc/meminfo", "lots of it")], None);
    }

    #[test]
    fn shares_follow_the_limit_within_bounds() {
        let shares = |megabytes: u64| {
            let plan = MemoryPlan {
                limit_bytes: megabytes << 20,
            };
            (plan.decode_bytes_max() >> 20, plan.bodies_bytes_max() >> 20)
        };
        assert_eq!(shares(64), (32, 16));
        assert_eq!(shares(512), (192, 85));
        assert_eq!(shares(1024), (384, 170));
        assert_eq!(shares(65_536), (24_576, 256));
        assert!(MemoryPlan::detect().limit_bytes() > 0);
    }
}
