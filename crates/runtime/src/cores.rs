//! How many cores this process may use: those of its affinity mask, no more than its cgroup's quota pays for.
//!
//! The text of the kernel's files is parsed by pure functions; only [`Cores::detect`] reads them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cgroup::{self, Hierarchy};

/// Share of a quota that whole cores must be worth for its fraction to be left.
const WHOLE_SHARE_MIN: f64 = 0.95;

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

    /// Workers to plan with, at least one. A quota with a fraction gets a worker for the fraction too: all of them together are throttled
    /// for a part of every period, and still compute more than the whole cores below would. Only a fraction that is worth less than
    /// 5 % of the quota is left: it would make every request slower for nothing.
    pub fn usable(&self) -> usize {
        let whole = |quota: f64| {
            let floor = quota.floor();
            let enough = floor >= quota * WHOLE_SHARE_MIN;
            (if enough { floor } else { quota.ceil() }) as usize
        };
        self.affinity.min(self.quota.map_or(usize::MAX, whole)).max(1)
    }

    /// Seconds of CPU time a second that the process may use: the quota, at most the cores of the mask.
    pub fn paid(&self) -> f64 {
        let cores = self.affinity as f64;
        self.quota.map_or(cores, |quota| quota.min(cores))
    }
}

fn affinity() -> usize {
    // The process's mask is that of its first thread: the one that asks may have been moved to fewer cores.
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())) {
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

    /// Reads `files`, which are (path, text).
    fn reader<'a>(files: &'a [(&str, &str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    /// `files` are (path, text); expects that quota.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<f64>) {
        assert_eq!(quota(Path::new("/proc/self"), &reader(files)), expected, "{files:?}");
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

    /// The quota of a group of version 1 and of version 2 with this quota and period in microseconds; without one, the words of each.
    fn quotas(quota_us: Option<i64>) -> [Option<f64>; 2] {
        let quota_v1 = quota_us.unwrap_or(-1).to_string();
        let quota_v2 = quota_us.map_or("max 100000".to_owned(), |quota| format!("{quota} 100000"));
        let v1 = [
            ("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n"),
            ("/proc/self/mountinfo", V1),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", &quota_v1),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        let v2 = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/cpu.max", &quota_v2),
        ];
        [&v1[..], &v2].map(|files| quota(Path::new("/proc/self"), &reader(files)))
    }

    /// On `affinity` cores with that quota: the workers, and the CPU time a second.
    #[track_caller]
    fn check_cores(affinity: usize, quota_us: Option<i64>, workers: usize, paid: f64) {
        for quota in quotas(quota_us) {
            let cores = Cores { affinity, quota };
            assert_eq!((cores.usable(), cores.paid()), (workers, paid), "{cores:?}");
        }
    }

    #[test]
    fn a_quota_is_used_to_its_fraction() {
        check_cores(2, Some(25_000), 1, 0.25);
        check_cores(2, Some(50_000), 1, 0.5);
        check_cores(2, Some(100_000), 1, 1.0);
        check_cores(2, Some(150_000), 2, 1.5);
        check_cores(2, Some(200_000), 2, 2.0);
        check_cores(8, Some(370_000), 4, 3.7);
        check_cores(8, Some(110_000), 2, 1.1);
    }

    #[test]
    fn a_fraction_that_is_worth_nothing_gets_no_worker() {
        check_cores(8, Some(105_000), 1, 1.05);
        check_cores(64, Some(2_050_000), 20, 20.5);
    }

    #[test]
    fn without_a_quota_or_above_the_mask_all_cores_of_the_mask_are_used() {
        check_cores(8, None, 8, 8.0);
        check_cores(2, Some(1_600_000), 2, 2.0);
        assert!(Cores::detect().usable() >= 1);
    }
}
