//! What one source may send: token buckets of events and bytes, a lane of its own to the disk, and a share of the
//! processor for large bodies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much one source may send; what is `None` has no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Events a second.
    pub events: Option<f64>,
    /// Bytes a second, as they go into the log.
    pub bytes: Option<f64>,
    /// How much of it may come at once, after as long a silence.
    pub burst: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { events: None, bytes: None, burst: Duration::from_secs(5) }
    }
}

/// The meters of all sources.
#[derive(Debug)]
pub(super) struct Meters {
    meters: HashMap<Arc<str>, Meter>,
    /// For requests whose source is not known before their body is read.
    unknown: Meter,
}

/// What one source has sent.
#[derive(Debug)]
pub(super) struct Meter {
    /// Its lane to the disk.
    pub(super) lane: u32,
    buckets: Option<Mutex<Buckets>>,
    /// Large bodies being read at once.
    large: Arc<Semaphore>,
}

#[derive(Debug)]
struct Buckets {
    events: Option<RateBucket>,
    bytes: Option<RateBucket>,
}

impl Meters {
    /// With `cores`, one source never has all of them for its large bodies.
    pub(super) fn new<'a>(sources: impl IntoIterator<Item = (&'a str, &'a Rate)>, cores: usize, now: Instant) -> Self {
        let meter = |lane: u32, rate: &Rate| {
            let bucket = |rate_a_second: Option<f64>| Some(RateBucket::new(rate_a_second?, rate.burst, now));
            let buckets = Buckets { events: bucket(rate.events), bytes: bucket(rate.bytes) };
            let limited = buckets.events.is_some() || buckets.bytes.is_some();
            let large = Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)));
            Meter { lane, buckets: limited.then(|| Mutex::new(buckets)), large }
        };
        let sources = (1..).zip(sources);
        let meters = sources.map(|(lane, (name, rate))| (name.into(), meter(lane, rate))).collect();
        Self { meters, unknown: meter(0, &Rate::default()) }
    }

    pub(super) fn of(&self, source: Option<&str>) -> &Meter {
        source.and_then(|source| self.meters.get(source)).unwrap_or(&self.unknown)
    }
}

impl Meter {
    /// How long to wait when the source has nothing left; asked before a body is read.
    pub(super) fn in_debt(&self, now: Instant) -> Option<Duration> {
        let mut buckets = self.buckets.as_ref()?.lock();
        buckets.all().filter_map(|bucket| bucket.wait(now)).max()
    }

    /// Takes a request's share, or says how long to wait. A request is taken whole as long as anything is left, for no
    /// bucket is too small for any request; what it takes too much is waited for by the next.
    pub(super) fn charge(&self, events: u64, bytes: usize, now: Instant) -> Option<Duration> {
        let mut buckets = self.buckets.as_ref()?.lock();
        if let Some(wait) = buckets.all().filter_map(|bucket| bucket.wait(now)).max() {
            return Some(wait);
        }
        buckets.take(events as f64, bytes as f64);
        None
    }

    /// Gives back what was charged for a request that was not accepted after all.
    pub(super) fn give_back(&self, events: u64, bytes: usize) {
        if let Some(buckets) = &self.buckets {
            buckets.lock().take(-(events as f64), -(bytes as f64));
        }
    }

    /// Waits for a turn to read a large body; sources do not wait for one another.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.large).acquire_owned().await.ok()
    }
}

impl Buckets {
    fn all(&mut self) -> impl Iterator<Item = &mut RateBucket> {
        self.events.iter_mut().chain(self.bytes.iter_mut())
    }

    fn take(&mut self, events: f64, bytes: f64) {
        for (bucket, amount) in [(&mut self.events, events), (&mut self.bytes, bytes)] {
            if let Some(bucket) = bucket {
                bucket.left -= amount;
            }
        }
    }
}

/// A token bucket that may go into debt.
#[derive(Debug)]
struct RateBucket {
    rate: f64,
    most: f64,
    left: f64,
    filled: Instant,
}

impl RateBucket {
    fn new(rate: f64, burst: Duration, now: Instant) -> Self {
        let most = (rate * burst.as_secs_f64()).max(1.0);
        Self { rate, most, left: most, filled: now }
    }

    /// Fills up; answers the time until something is left, if nothing is.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.left = (self.left + passed * self.rate).min(self.most);
        // A century is as good as for ever, and can be told.
        (self.left <= 0.0).then(|| Duration::from_secs_f64((-self.left / self.rate).clamp(0.001, 3e9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_over_time_whatever_the_sizes() {
        let now = Instant::now();
        let rate = Rate { events: Some(100.0), bytes: Some(1e6), burst: Duration::from_secs(2) };
        let meters = Meters::new([("noisy", &rate), ("quiet", &Rate::default())], 2, now);
        let noisy = meters.of(Some("noisy"));
        let mut taken = 0;
        for ms in 0..60_000 {
            let at = now + Duration::from_millis(ms);
            let early = noisy.in_debt(at);
            let charged = noisy.charge(7, 100, at);
            assert_eq!(early.is_some(), charged.is_some(), "what is told before the body holds behind it");
            taken += if charged.is_none() { 7 } else { 0 };
        }
        assert!((6_193..=6_214).contains(&taken), "{taken}: 60 s at 100 and a burst of 200");
        assert_eq!(meters.of(Some("quiet")).charge(1 << 40, 1 << 40, now), None);
        assert_ne!(meters.of(Some("quiet")).lane, noisy.lane);
    }

    #[test]
    fn a_request_larger_than_the_bucket_is_taken_and_paid_for() {
        let now = Instant::now();
        let rate = Rate { events: None, bytes: Some(10.0), burst: Duration::from_secs(1) };
        let meters = Meters::new([("s", &rate)], 2, now);
        let meter = meters.of(Some("s"));
        assert_eq!(meter.charge(1, 110, now), None);
        let wait = meter.charge(1, 1, now).unwrap();
        assert_eq!(wait.as_secs(), 10);
        assert_eq!(meter.charge(1, 1, now + Duration::from_millis(10_100)), None);
        meter.give_back(1, 110);
        assert_eq!(meter.in_debt(now + Duration::from_millis(10_100)), None);
    }
}
