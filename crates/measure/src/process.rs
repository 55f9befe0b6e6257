//! CPU time and memory of a process, from Linux's `/proc`.

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

/// What the processor calls itself.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// `/proc` counts in ticks of 1/100 s on every Linux that user space sees (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The command's name is in parentheses and may hold anything; fields count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    let rss_kib = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))?
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?;
    Some(Usage {
        cpu: TICK * ticks,
        rss_bytes: rss_kib * 1024,
    })
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
    }
}
