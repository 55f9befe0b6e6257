//! How many cores this process may use: those of its affinity mask, no more than its cgroup's quota pays for.
//!
//! The text of the kernel's files is parsed by pure functions; only [`Cores::detect`] reads them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cgroup::{self, Hierarchy};

/// Cores that are there and what may be used of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cores {
    /// Cores in the affinity mask.
    pub affinity: usize,
    /// Cores that the cgroup's CPU quota pays for, the smallest on the way to the root; `None` without one.
    pub quota: Option<f64>,
}

impl Cores {
    /// Reads what the system allows. What it does not report counts as no limit.
    pub fn detect() -> Self {
        Self {
            affinity: affinity(),
            quota: quota(Path::new("/proc/self"), &|path| fs::read_to_string(path).ok()),
        }
    }

    /// Whole cores to plan with. A quota is rounded down, so that the plan never runs into it; at least one.
    pub fn usable(&self) -> usize {
        let paid = self.quota.map_or(usize::MAX, |quota| quota.floor() as usize);
        self.affinity.min(paid).max(1)
    }
}

fn affinity() -> usize {
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return (set.count() as usize).max(1);
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The smallest quota of the process's cgroup (v1 or v2) and of those above it, in cores.
fn quota(process: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<f64> {
    let quota = |(hierarchy, folder): (Hierarchy, PathBuf)| match hierarchy {
        Hierarchy::V2 => read(&folder.join("cpu.max")).as_deref().and_then(quota_v2),
        Hierarchy::V1 => {
            let number = |file: &str| read(&folder.join(file))?.trim().parse().ok();
            number("cpu.cfs_quota_us")
                .zip(number("cpu.cfs_period_us"))
                .and_then(ratio)
        }
    };
    let folders = cgroup::folders(process, "cpu", read);
    folders.into_iter().filter_map(quota).reduce(f64::min)
}

/// `cpu.max`: `max 100000` or `150000 100000`.
fn quota_v2(text: &str) -> Option<f64> {
    let mut parts = text.split_whitespace();
    ratio((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Microseconds of CPU time a period; v1 says -1 for no quota.
fn ratio((quota, period): (i64, i64)) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n";
    const V1: &str = "33 24 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                      34 24 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    /// `files` are (path, text); expects that quota.
    fn check(files: &[(&str, &str)], expected: Option<f64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(quota(Path::new("/proc/self"), &read), expected, "{files:?}");
    }

    #[test]
    fn v2_takes_the_smallest_on_the_way_up() {
        check(
            &[
                ("/proc/self/cgroup", "0::/a/b\n"),
                ("/proc/self/mountinfo", V2),
                ("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
                ("/sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
                ("/sys/fs/cgroup/cpu.max", "400000 100000\n"),
            ],
            Some(1.5),
        );
    }

    #[test]
    fn v2_in_a_namespace_is_the_root() {
        let files = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/cpu.max", "200000 100000"),
        ];
        check(&files, Some(2.0));
    }

    #[test]
    fn v1_in_a_container_sees_its_own_group_as_the_mount() {
        check(
            &[
                ("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"),
                ("/proc/self/mountinfo", V1),
                ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
                ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
            Some(0.5),
        );
    }

    #[test]
    fn no_quota_no_files_and_nonsense_are_no_limit() {
        check(&[], None);
        let v1 = [
            ("/proc/self/cgroup", "4:cpu:/docker/abc\n"),
            ("/proc/self/mountinfo", V1),
        ];
        check(&v1, None);
        check(
            &[
                ("/proc/self/cgroup", "0::/\nnonsense\n"),
                ("/proc/self/mountinfo", V2),
                ("/sys/fs/cgroup/cpu.max", "lots of it"),
            ],
            None,
        );
    }

    #[test]
    fn cores_are_whole_and_at_least_one() {
        let usable = |affinity, quota| Cores { affinity, quota }.usable();
        assert_eq!(usable(8, None), 8);
        assert_eq!(usable(8, Some(2.5)), 2);
        assert_eq!(usable(2, Some(16.0)), 2);
        assert_eq!(usable(8, Some(0.5)), 1);
        assert!(Cores::detect().usable() >= 1);
    }
}
