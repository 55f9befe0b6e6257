//! CPU time and memory of a process and of its threads, from Linux's `/proc`.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident set, bytes.
    pub rss_bytes: u64,
}

/// Usage of process `pid`; `None` where there is no such process or no `/proc`.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse(&stat, &status)
}

/// User and system time of the threads of process `pid` that run, by the threads' names (cut to 15 bytes by Linux); those of one name are
/// added up. `None` where there is no such process or no `/proc`.
pub fn cpu_by_thread_name(pid: u32) -> Option<BTreeMap<String, Duration>> {
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may end in between.
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if let Some((name, cpu)) = parse_stat(&stat) {
            *by_name.entry(name.to_owned()).or_default() += cpu;
        }
    }
    Some(by_name)
}

/// Allows this process, and those that it starts, as many open files as the system lets it: each connection is one.
///
/// # Errors
/// Where the system refuses.
pub fn raise_open_files_max() -> std::io::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
}

/// What the processor calls itself.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// `/proc` counts in ticks of 1/100 s on every Linux that user space sees (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

fn parse(stat: &str, status: &str) -> Option<Usage> {
    let (_, cpu) = parse_stat(stat)?;
    let rss_kib = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))?
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?;
    Some(Usage {
        cpu,
        rss_bytes: rss_kib * 1024,
    })
}

/// Name, and user and system time, of a process or a thread.
fn parse_stat(stat: &str) -> Option<(&str, Duration)> {
    // The name is in parentheses and may hold anything; fields count from behind it.
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace().skip(11);
    let ticks = fields
        .next()?
        .parse::<u32>()
        .ok()?
        .checked_add(fields.next()?.parse().ok()?)?;
    Some((name, TICK * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        let usage = parse(stat, "Name:\ta\nVmRSS:\t    2048 kB\n");
        assert_eq!(
            usage,
            Some(Usage {
                cpu: Duration::from_secs(3),
                rss_bytes: 2 << 20
            })
        );
        assert_eq!(parse("garbage", ""), None);
        assert_eq!(parse_stat(stat), Some(("a b) c", Duration::from_secs(3))));
    }

    #[test]
    fn threads_are_found_by_their_names() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a-known-name".to_owned());
        let (started, running) = std::sync::mpsc::channel::<()>();
        let thread = thread.spawn(move || {
            started.send(()).unwrap();
            stopped.recv().unwrap_err();
        });
        running.recv().unwrap();
        let by_name = cpu_by_thread_name(std::process::id()).unwrap();
        assert!(by_name.contains_key("a-known-name"), "{by_name:?}");
        drop(stop);
        thread.unwrap().join().unwrap();
        assert_eq!(cpu_by_thread_name(u32::MAX), None);
    }
}
