//! The process's control groups, of version 1 and 2, and where their files lie. Knows no limit itself.

use std::path::{Path, PathBuf};

/// Which version a group belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hierarchy {
    V1,
    V2,
}

/// The folders of the groups that `controller` limits the process by: its own and those above it. `process` is its folder in `/proc`.
pub(super) fn folders(
    process: &Path,
    controller: &str,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Vec<(Hierarchy, PathBuf)> {
    let (Some(groups), Some(mounts)) = (read(&process.join("cgroup")), read(&process.join("mountinfo"))) else {
        return Vec::new();
    };
    groups
        .lines()
        .filter_map(|line| group(line, controller))
        .flat_map(|(hierarchy, group)| {
            let folders = mounted(&mounts, hierarchy, controller, group);
            folders.into_iter().map(move |folder| (hierarchy, folder))
        })
        .collect()
}

/// A line of `/proc/self/cgroup`: `0::/a/b` (v2) or `4:cpu,cpuacct:/a/b` (v1).
fn group<'a>(line: &'a str, controller: &str) -> Option<(Hierarchy, &'a str)> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if id == "0" && controllers.is_empty() {
        return Some((Hierarchy::V2, path));
    }
    controllers
        .split(',')
        .any(|c| c == controller)
        .then_some((Hierarchy::V1, path))
}

/// Where a group's files and those of the groups above it lie, by `/proc/self/mountinfo`:
/// `36 35 98:0 ROOT MOUNT options … - TYPE source super-options`.
fn mounted(mounts: &str, hierarchy: Hierarchy, controller: &str, group: &str) -> Vec<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, mount) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1).unwrap_or(""));
        let fits = match hierarchy {
            Hierarchy::V2 => kind == "cgroup2",
            Hierarchy::V1 => kind == "cgroup" && options.split(',').any(|o| o == controller),
        };
        fits.then_some((Path::new(root), Path::new(mount)))
    });
    let Some((root, mount)) = mount else {
        return Vec::new();
    };
    // In a container without a cgroup namespace the mount shows only what lies below `root`.
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
    let deepest = mount.join(below.strip_prefix("/").unwrap_or(below));
    deepest
        .ancestors()
        .take_while(|f| f.starts_with(mount))
        .map(Path::to_owned)
        .collect()
}
