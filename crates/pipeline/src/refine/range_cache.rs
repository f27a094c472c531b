//! Log ranges that several syncs share, and who is held back a little so that they can.
//!
//! Syncs of one log ask for the same ranges, one after the other. Whoever runs ahead of the others by more than is remembered
//! makes them all refine for themselves, and none of them catches up from then on, because each has more to do than before. So
//! an **asker** waits before it pushes out what others are about to ask for: not longer than the window took it, and for each
//! of them once. Who is slower than that is **left behind** for a while: it refines for itself and holds nobody.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::log_range::LogRange;

/// The longest that an asker is held.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// The least: what a busy machine takes to let another have its turn.
const HOLD_MIN: Duration = Duration::from_millis(2);
/// How long nobody waits for one who was left behind: at first, and when it happens again and again.
const LEFT_MIN: Duration = Duration::from_secs(1);
const LEFT_MAX: Duration = Duration::from_secs(60);

/// The last log ranges, oldest first, by bytes of the log.
#[derive(Debug)]
pub(super) struct RangeCache {
    ranges: VecDeque<CachedRange>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct CachedRange {
    log_range: Arc<LogRange>,
    since: Instant,
}

impl RangeCache {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { ranges: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The log range that holds `from`.
    pub(super) fn find(&self, from: u64) -> Option<Arc<LogRange>> {
        let mut ranges = self.ranges.iter().map(|cached| &cached.log_range);
        ranges.find(|log_range| log_range.range.contains(&from)).cloned()
    }

    pub(super) fn insert(&mut self, log_range: &Arc<LogRange>, now: Instant) {
        self.bytes += log_range.log_bytes;
        self.ranges.push_back(CachedRange { log_range: Arc::clone(log_range), since: now });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.ranges.pop_front() else { break };
            self.bytes -= oldest.log_range.log_bytes;
        }
    }

    /// What goes when another comes, if it is as large as the last: its bounds, and since when it is here.
    pub(super) fn leaving(&self) -> Option<(Range<u64>, Instant)> {
        let mut bytes = self.bytes + self.ranges.back()?.log_range.log_bytes;
        let mut leaving: Option<(Range<u64>, Instant)> = None;
        for CachedRange { log_range, since } in &self.ranges {
            if bytes <= self.bytes_max {
                break;
            }
            bytes -= log_range.log_bytes;
            leaving = Some(match leaving {
                Some((range, since)) => (range.start..log_range.range.end, since),
                None => (log_range.range.clone(), *since),
            });
        }
        leaving
    }
}

/// Who asks: one for each sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AskerId(pub(super) u64);

/// Where everybody is who has asked.
#[derive(Debug, Default)]
pub(super) struct Askers(HashMap<AskerId, Asker>);

#[derive(Debug)]
struct Asker {
    /// What it will ask for next.
    next: u64,
    left: Option<LeftBehind>,
}

/// Nobody waits for an asker until then.
#[derive(Debug, Clone, Copy)]
struct LeftBehind {
    since: Instant,
    length: Duration,
}

impl Asker {
    fn is_waited_for(&self, now: Instant) -> bool {
        self.left.is_none_or(|left| now >= left.since + left.length)
    }
}

impl Askers {
    /// An asker got everything below `next`.
    pub(super) fn got(&mut self, id: AskerId, next: u64) {
        self.0.entry(id).or_insert(Asker { next, left: None }).next = next;
    }

    /// Whether anybody but `id` who is waited for will ask for one of these offsets next.
    pub(super) fn need(&self, range: &Range<u64>, id: Option<AskerId>, now: Instant) -> bool {
        self.0
            .iter()
            .any(|(other, asker)| Some(*other) != id && range.contains(&asker.next) && asker.is_waited_for(now))
    }

    /// Until when `id` is held before it pushes anything out of `cache`; `None` when nobody needs that, or was waited for long
    /// enough. `held` is until when it is held already.
    pub(super) fn hold(
        &mut self,
        cache: &RangeCache,
        id: AskerId,
        held: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let (range, since) = cache.leaving()?;
        if !self.need(&range, Some(id), now) {
            return None;
        }
        let until = held.unwrap_or_else(|| now + now.duration_since(since).clamp(HOLD_MIN, HOLD_MAX));
        if now < until {
            return Some(until);
        }
        for asker in self.0.iter_mut().filter(|(other, _)| **other != id).map(|(_, asker)| asker) {
            if range.contains(&asker.next) && asker.is_waited_for(now) {
                let again = asker.left.filter(|left| now.duration_since(left.since) < left.length + LEFT_MAX);
                let length = again.map_or(LEFT_MIN, |left| (left.length * 2).min(LEFT_MAX));
                asker.left = Some(LeftBehind { since: now, length });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: AskerId = AskerId(1);
    const QUICK: AskerId = AskerId(2);

    fn range(start: u64) -> Arc<LogRange> {
        Arc::new(LogRange { range: start..start + 10, log_bytes: 100, ..LogRange::default() })
    }

    /// Two ranges are remembered, and the slow one needs the first.
    fn started(now: Instant) -> (RangeCache, Askers) {
        let (mut cache, mut askers) = (RangeCache::new(250), Askers::default());
        cache.insert(&range(0), now);
        cache.insert(&range(10), now);
        askers.got(SLOW, 5);
        askers.got(QUICK, 20);
        (cache, askers)
    }

    #[test]
    fn what_is_remembered_is_bounded_and_its_oldest_part_leaves() {
        let now = Instant::now();
        let (mut cache, _) = started(now);
        assert_eq!(cache.leaving().map(|(range, _)| range), Some(0..10));
        cache.insert(&range(20), now);
        assert!(cache.find(9).is_none() && cache.find(10).is_some() && cache.find(29).is_some());
        assert!(RangeCache::new(250).leaving().is_none());
    }

    #[test]
    fn nobody_is_held_longer_than_the_window_took_nor_twice_for_the_same() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (cache, mut askers) = started(start);
        let until = askers.hold(&cache, QUICK, None, at(40));
        assert_eq!(until, Some(at(80)));
        assert_eq!(askers.hold(&cache, QUICK, until, at(60)), until);
        assert_eq!(askers.hold(&cache, QUICK, until, at(80)), None);
        // It was left behind, and is waited for again after a while; twice as long when that happens again.
        assert_eq!(askers.hold(&cache, QUICK, None, at(500)), None);
        assert!(askers.hold(&cache, QUICK, None, at(1_080)).is_some());
        assert_eq!(askers.hold(&cache, QUICK, Some(at(1_090)), at(1_090)), None);
        assert_eq!(askers.hold(&cache, QUICK, None, at(3_089)), None);
        assert!(askers.hold(&cache, QUICK, None, at(3_090)).is_some());
    }

    #[test]
    fn only_who_needs_what_would_go_is_waited_for() {
        let now = Instant::now();
        let (cache, mut askers) = started(now);
        askers.got(SLOW, 10);
        assert_eq!(askers.hold(&cache, QUICK, None, now), None, "it needs what stays");
        askers.got(SLOW, 0);
        assert!(askers.hold(&cache, QUICK, None, now).is_some());
        assert_eq!(askers.hold(&cache, SLOW, None, now), None, "nobody waits for itself");
    }
}
