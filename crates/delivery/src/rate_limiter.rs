//! How fast a destination is driven, and how long it is left alone after a failure.

use std::time::Duration;

use parking_lot::Mutex;
use tidegate_plugin::{Retry, Traffic};
use tidegate_process::clock;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Requests at once and requests in a second.
pub(super) struct RateLimiter {
    at_once: Semaphore,
    bucket: Option<RequestBucket>,
}

struct RequestBucket {
    per_second: f64,
    /// When the bucket is full again. A burst of one second's requests is let through.
    full_at: Mutex<Instant>,
}

impl RateLimiter {
    pub(super) fn new(traffic: &Traffic) -> Self {
        let bucket = |per_second| RequestBucket { per_second, full_at: Mutex::new(Instant::now()) };
        Self { at_once: Semaphore::new(traffic.requests_at_once_max), bucket: traffic.requests_per_second.map(bucket) }
    }

    /// Waits for a turn; the turn lasts as long as what is returned is held.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(bucket) = &self.bucket {
            tokio::time::sleep_until(bucket.take()).await;
        }
        // The semaphore is never closed.
        self.at_once.acquire().await.ok()
    }
}

impl RequestBucket {
    /// Takes one token and says when it may be used.
    fn take(&self) -> Instant {
        let now = Instant::now();
        let token = Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(Duration::from_secs(3_600));
        let burst = token.mul_f64(self.per_second.max(1.0));
        let mut full_at = self.full_at.lock();
        *full_at = (*full_at).max(now) + token;
        now.max(full_at.checked_sub(burst).unwrap_or(now))
    }
}

/// How long to wait after this many failed tries: exponential with full jitter, and not before the far side said.
pub(super) fn pause(retry: &Retry, tries: u32, after: Option<Duration>) -> Duration {
    let ceiling = retry.pause_min.saturating_mul(1_u32 << tries.min(20)).min(retry.pause_max);
    let share = f64::from(u32::from_le_bytes(clock::random::<4>())) / f64::from(u32::MAX);
    ceiling.mul_f64(share).max(after.unwrap_or(Duration::ZERO).min(retry.pause_max))
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(value: &str, now_us: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(366 * 86_400)));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_microsecond();
    Some(Duration::from_micros(u64::try_from(at.saturating_sub(now_us)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now_us = 784_111_777_000_000;
        assert_eq!(retry_after("7", now_us), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now_us), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now_us), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-3", "1e9", "99999999999999999999999"] {
            assert_eq!(retry_after(nonsense, now_us), None, "{nonsense}");
        }
    }

    #[test]
    fn a_pause_grows_up_to_its_bound_and_not_below_what_was_asked() {
        let retry = Retry {
            age_max: Duration::from_secs(60),
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(8),
        };
        for tries in 0..40 {
            assert!(pause(&retry, tries, None) <= Duration::from_secs(8.min(1 << tries.min(4))));
            assert!(pause(&retry, tries, Some(Duration::from_secs(5))) >= Duration::from_secs(5));
            assert!(pause(&retry, tries, Some(Duration::MAX)) == Duration::from_secs(8));
        }
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_slows_down() {
        let bucket = RequestBucket { per_second: 10.0, full_at: Mutex::new(Instant::now()) };
        let start = Instant::now();
        let turns: Vec<Duration> = (0..30).map(|_| bucket.take().saturating_duration_since(start)).collect();
        assert!(turns[9] < Duration::from_millis(90), "{turns:?}");
        assert!(turns[29] >= Duration::from_millis(1_900), "{turns:?}");
        assert!(turns[29] <= Duration::from_millis(3_000), "{turns:?}");
    }
}
