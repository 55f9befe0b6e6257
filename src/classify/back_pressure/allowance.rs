//! How often something may happen: a token bucket.

use std::time::Instant;

/// So many a second, and after a pause as many at once.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: f64,
    left: f64,
    counted: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second,
            counted: None,
        }
    }

    /// Whether it may happen once more now; it then counts.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = self.counted.map(|counted| now.saturating_duration_since(counted));
        let gained = since.unwrap_or_default().as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.per_second);
        self.counted = Some(self.counted.map_or(now, |counted| counted.max(now)));
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_many_a_second_as_is_allowed() {
        let (mut allowance, start) = (Allowance::new(10), Instant::now());
        let mut taken = |at_ms: u64| {
            let now = start + Duration::from_millis(at_ms);
            (0..100).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(0), 10);
        assert_eq!(taken(50), 0);
        assert_eq!(taken(101), 1);
        assert_eq!(taken(90_000), 10);
    }
}
