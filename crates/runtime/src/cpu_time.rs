//! CPU time of the calling thread, which neither a quota nor other processes lengthen as they do the time on the wall.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time since a start: on the wall, and CPU time of the thread that started it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// What a [`Stopwatch`] has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Elapsed {
    /// Milliseconds in which the thread ran on a core.
    pub(crate) cpu_ms: f64,
    /// Milliseconds on the wall: `cpu_ms`, and those in which the thread had to wait for a core.
    pub(crate) wall_ms: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: thread_cpu(),
        }
    }

    /// Since the start. To be asked on the thread that started it.
    pub(crate) fn elapsed(self) -> Elapsed {
        let cpu = thread_cpu().saturating_sub(self.cpu);
        Elapsed {
            cpu_ms: cpu.as_secs_f64() * 1e3,
            wall_ms: self.wall.elapsed().as_secs_f64() * 1e3,
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_takes_no_cpu_time_and_computing_does() {
        let watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(20));
        let slept = watch.elapsed();
        assert!(slept.wall_ms >= 20.0 && slept.cpu_ms < slept.wall_ms, "{slept:?}");
        let mut sum = 0_u64;
        while watch.elapsed().cpu_ms <= slept.cpu_ms {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
