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
    meters: HashMap<Arc<str>, Arc<Meter>>,
    /// For requests whose source is not known before their body is read.
    unknown: Arc<Meter>,
    /// Of all sources that there ever were: a lane may hold what waits for the disk, so it is never given to another source.
    lanes: HashMap<Arc<str>, u32>,
    /// Large bodies of one source that may be read at once.
    large_max: usize,
}

/// What one source has sent.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Its lane to the disk.
    pub(crate) lane: u32,
    rate: Rate,
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
        let large_max = cores.saturating_sub(1).max(1);
        let unknown = Arc::new(Meter::new(0, &Rate::default(), large_max, now));
        let none = Self { meters: HashMap::new(), unknown, lanes: HashMap::new(), large_max };
        none.followed_by(sources, now)
    }

    /// The meters of these sources, which go on where the same sources are now.
    pub(super) fn followed_by<'a>(&self, sources: impl IntoIterator<Item = (&'a str, &'a Rate)>, now: Instant) -> Self {
        let (mut meters, mut lanes) = (HashMap::new(), self.lanes.clone());
        for (name, rate) in sources {
            let name: Arc<str> = name.into();
            let next = u32::try_from(lanes.len() + 1).unwrap_or(u32::MAX);
            let lane = *lanes.entry(Arc::clone(&name)).or_insert(next);
            let meter = match self.meters.get(&name) {
                Some(meter) if meter.rate == *rate => Arc::clone(meter),
                Some(meter) => Arc::new(meter.with_rate(rate, now)),
                None => Arc::new(Meter::new(lane, rate, self.large_max, now)),
            };
            meters.insert(name, meter);
        }
        Self { meters, unknown: Arc::clone(&self.unknown), lanes, large_max: self.large_max }
    }

    pub(super) fn of(&self, source: Option<&str>) -> &Arc<Meter> {
        source.and_then(|source| self.meters.get(source)).unwrap_or(&self.unknown)
    }
}

impl Meter {
    fn new(lane: u32, rate: &Rate, large_max: usize, now: Instant) -> Self {
        let buckets = Buckets::new(rate, now);
        let buckets = buckets.is_limit().then(|| Mutex::new(buckets));
        Self { lane, rate: rate.clone(), buckets, large: Arc::new(Semaphore::new(large_max)) }
    }

    /// The same source under another rate: what it has left, or owes, is what it had under the old one.
    fn with_rate(&self, rate: &Rate, now: Instant) -> Self {
        let mut buckets = Buckets::new(rate, now);
        if let Some(before) = &self.buckets {
            buckets.go_on_from(&mut before.lock(), now);
        }
        let buckets = buckets.is_limit().then(|| Mutex::new(buckets));
        Self { lane: self.lane, rate: rate.clone(), buckets, large: Arc::clone(&self.large) }
    }

    /// How long to wait when the source has nothing left; asked before a body is read.
    pub(crate) fn in_debt(&self, now: Instant) -> Option<Duration> {
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

    /// Takes the share of what comes in whatever is left: whoever has read it already waits before reading on.
    pub(crate) fn owe(&self, events: u64, bytes: usize, now: Instant) {
        if let Some(buckets) = &self.buckets {
            let mut buckets = buckets.lock();
            // What came since the last time counts first.
            buckets.all().for_each(|bucket| bucket.fill(now));
            buckets.take(events as f64, bytes as f64);
        }
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
    fn new(rate: &Rate, now: Instant) -> Self {
        let bucket = |rate_a_second: Option<f64>| Some(RateBucket::new(rate_a_second?, rate.burst, now));
        Self { events: bucket(rate.events), bytes: bucket(rate.bytes) }
    }

    fn is_limit(&self) -> bool {
        self.events.is_some() || self.bytes.is_some()
    }

    fn go_on_from(&mut self, before: &mut Self, now: Instant) {
        for (bucket, before) in [(&mut self.events, &mut before.events), (&mut self.bytes, &mut before.bytes)] {
            if let (Some(bucket), Some(before)) = (bucket, before) {
                before.fill(now);
                bucket.left = before.left.min(bucket.most);
            }
        }
    }

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

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.left = (self.left + passed * self.rate).min(self.most);
    }

    /// Fills up; answers the time until something is left, if nothing is.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
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

    #[test]
    fn a_changed_rate_keeps_its_debt_and_its_lane() {
        let now = Instant::now();
        let rate = |events: f64| Rate { events: Some(events), burst: Duration::from_secs(1), ..Rate::default() };
        let before = Meters::new([("a", &rate(10.0)), ("b", &rate(10.0))], 3, now);
        // Each has its burst of 10, and takes 100 at once.
        assert_eq!(before.of(Some("a")).charge(100, 0, now), None);
        assert_eq!(before.of(Some("b")).charge(100, 0, now), None);
        // Another source in front of them, "a" under a higher rate, "b" as it was.
        let after = before.followed_by([("0", &rate(1.0)), ("a", &rate(45.0)), ("b", &rate(10.0))], now);
        for name in ["a", "b"] {
            assert_eq!(after.of(Some(name)).lane, before.of(Some(name)).lane, "{name}");
            assert!(Arc::ptr_eq(&after.of(Some(name)).large, &before.of(Some(name)).large), "{name}");
        }
        assert_eq!(after.of(Some("0")).lane, 3);
        assert_eq!(after.of(Some("a")).in_debt(now).unwrap().as_secs(), 2, "90 are owed, and 45 come a second");
        assert_eq!(after.of(Some("b")).in_debt(now).unwrap().as_secs(), 9);
        assert!(Arc::ptr_eq(&after.meters["b"], &before.meters["b"]), "what did not change is the same meter");
        // A lower rate leaves no larger burst than its own.
        let later = now + Duration::from_secs(60);
        let lower = after.followed_by([("a", &rate(5.0))], later);
        assert_eq!(lower.of(Some("a")).charge(6, 0, later), None);
        assert!(lower.of(Some("a")).in_debt(later).is_some(), "5 were left, not 45");
        // Who was away for a time comes back to the same lane, and nobody got it meanwhile.
        let back = lower.followed_by([("c", &rate(1.0)), ("b", &rate(10.0)), ("a", &rate(5.0))], later);
        let lanes = ["a", "b", "0", "c"].map(|name| back.lanes[name]);
        assert_eq!(lanes, [1, 2, 3, 4]);
        assert_eq!(back.of(Some("b")).lane, 2);
    }

    #[test]
    fn a_source_without_a_limit_gets_one_and_loses_it() {
        let now = Instant::now();
        let limit = Rate { events: Some(1.0), burst: Duration::from_secs(1), ..Rate::default() };
        let free = Meters::new([("s", &Rate::default())], 2, now);
        assert_eq!(free.of(Some("s")).charge(1_000, 0, now), None);
        let limited = free.followed_by([("s", &limit)], now);
        assert_eq!(limited.of(Some("s")).charge(5, 0, now), None);
        assert!(limited.of(Some("s")).in_debt(now).is_some());
        assert_eq!(limited.followed_by([("s", &Rate::default())], now).of(Some("s")).in_debt(now), None);
    }
}
