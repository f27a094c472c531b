//! Log ranges that several syncs share, and who is held back a little so that they can.
//!
//! Syncs of one log ask for the same ranges, one after the other. Whoever runs ahead of the others by more than is remembered
//! makes them all refine for themselves, and none of them catches up from then on, because each has more to do than before. So
//! an **asker** waits before it pushes out what others are about to ask for: not longer than the window took it, and not for
//! anybody who has let others wait for a second in all since it was last at their head. Who is slower than that is **left
//! behind** for a while: it refines for itself and holds nobody.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::log_range::LogRange;

/// The longest that an asker is held, and that others are held for one.
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

    /// The ranges that go when another comes, if it is as large as the last, and since when the oldest is here. Empty when none
    /// goes.
    pub(super) fn leaving(&self) -> (Vec<Range<u64>>, Option<Instant>) {
        let Some(last) = self.ranges.back() else { return (Vec::new(), None) };
        let mut bytes = self.bytes + last.log_range.log_bytes;
        let leaving = self.ranges.iter().take_while(|cached| {
            let leaves = bytes > self.bytes_max;
            bytes = bytes.saturating_sub(cached.log_range.log_bytes);
            leaves
        });
        let ranges = leaving.map(|cached| cached.log_range.range.clone()).collect();
        (ranges, self.ranges.front().map(|oldest| oldest.since))
    }
}

/// Who asks: one for each sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AskerId(pub(super) u64);

/// Where everybody is who has asked.
#[derive(Debug)]
pub(super) struct Askers {
    of: HashMap<AskerId, Asker>,
    /// Records that an asker may be behind another and still be near it.
    near: u64,
}

#[derive(Debug)]
struct Asker {
    /// What it will ask for next.
    next: u64,
    /// Since when somebody is held for it.
    held_for_since: Option<Instant>,
    /// How long others were held for it since it was last at the head of those who are near.
    held_for: Duration,
    left: Option<LeftBehind>,
}

/// Nobody waits for an asker until then.
#[derive(Debug, Clone, Copy)]
struct LeftBehind {
    since: Instant,
    length: Duration,
}

impl Asker {
    const fn at(next: u64) -> Self {
        Self { next, held_for_since: None, held_for: Duration::ZERO, left: None }
    }

    fn is_waited_for(&self, now: Instant) -> bool {
        self.left.is_none_or(|left| now >= left.since + left.length)
    }

    fn leave_behind(&mut self, now: Instant) {
        let again = self.left.filter(|left| now.duration_since(left.since) < left.length + LEFT_MAX);
        let length = again.map_or(LEFT_MIN, |left| (left.length * 2).min(LEFT_MAX));
        self.left = Some(LeftBehind { since: now, length });
        (self.held_for_since, self.held_for) = (None, Duration::ZERO);
    }
}

impl Askers {
    pub(super) fn new(near: u64) -> Self {
        Self { of: HashMap::new(), near }
    }

    /// An asker got everything below `next`.
    pub(super) fn got(&mut self, id: AskerId, next: u64, now: Instant) {
        let near = next..next.saturating_add(self.near);
        let is_at_the_head =
            !self.of.iter().any(|(other, asker)| *other != id && asker.next > next && near.contains(&asker.next));
        let asker = self.of.entry(id).or_insert(Asker::at(next));
        asker.next = next;
        if let Some(since) = asker.held_for_since.take() {
            asker.held_for += now.duration_since(since);
        }
        if is_at_the_head {
            asker.held_for = Duration::ZERO;
        } else if asker.held_for > HOLD_MAX {
            asker.leave_behind(now);
        }
    }

    /// An asker asks for nothing more.
    pub(super) fn forget(&mut self, id: AskerId) {
        self.of.remove(&id);
    }

    /// Whether anybody will ask for this offset next.
    pub(super) fn will_ask_for(&self, offset: u64) -> bool {
        self.of.values().any(|asker| asker.next == offset)
    }

    /// Whether anybody but `id` who is waited for will ask for one of these offsets next.
    pub(super) fn need(&self, ranges: &[Range<u64>], id: Option<AskerId>, now: Instant) -> bool {
        let mut others = self.of.iter().filter(|(other, _)| Some(**other) != id).map(|(_, asker)| asker);
        others.any(|asker| asker.is_waited_for(now) && is_in(ranges, asker.next))
    }

    /// Whether anybody but `id` who is waited for is near before `from`.
    pub(super) fn follow(&self, from: u64, id: AskerId, now: Instant) -> bool {
        self.need(std::slice::from_ref(&(from.saturating_sub(self.near)..from + 1)), Some(id), now)
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
        let (ranges, Some(since)) = cache.leaving() else { return None };
        if !self.need(&ranges, Some(id), now) {
            return None;
        }
        let until = held.unwrap_or_else(|| now + now.duration_since(since).clamp(HOLD_MIN, HOLD_MAX));
        let others = self.of.iter_mut().filter(|(other, _)| **other != id).map(|(_, asker)| asker);
        for asker in others.filter(|asker| asker.is_waited_for(now) && is_in(&ranges, asker.next)) {
            if now < until {
                asker.held_for_since.get_or_insert(now);
            } else {
                asker.leave_behind(now);
            }
        }
        (now < until).then_some(until)
    }
}

fn is_in(ranges: &[Range<u64>], offset: u64) -> bool {
    ranges.iter().any(|range| range.contains(&offset))
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
        let (mut cache, mut askers) = (RangeCache::new(250), Askers::new(100));
        cache.insert(&range(0), now);
        cache.insert(&range(10), now);
        askers.got(SLOW, 5, now);
        askers.got(QUICK, 20, now);
        (cache, askers)
    }

    #[test]
    fn what_is_remembered_is_bounded_and_its_oldest_part_leaves() {
        let now = Instant::now();
        let (mut cache, _) = started(now);
        assert_eq!(cache.leaving().0.iter().collect::<Vec<_>>(), [&(0..10)]);
        cache.insert(&range(20), now);
        assert!(cache.find(9).is_none() && cache.find(10).is_some() && cache.find(29).is_some());
        assert_eq!(RangeCache::new(250).leaving(), (Vec::new(), None));
        // Ranges that lie apart leave nothing between them.
        let mut apart = RangeCache::new(150);
        apart.insert(&range(0), now);
        apart.insert(&range(500), now);
        assert_eq!(apart.leaving().0.iter().collect::<Vec<_>>(), [&(500..510)]);
    }

    #[test]
    fn whoever_is_gone_is_waited_for_by_nobody() {
        let now = Instant::now();
        let (cache, mut askers) = started(now);
        let until = askers.hold(&cache, QUICK, None, now);
        assert!(until.is_some());
        askers.forget(SLOW);
        assert_eq!(askers.hold(&cache, QUICK, until, now), None);
        assert_eq!(askers.of.len(), 1);
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
        askers.got(SLOW, 10, now);
        assert_eq!(askers.hold(&cache, QUICK, None, now), None, "it needs what stays");
        askers.got(SLOW, 0, now);
        assert!(askers.hold(&cache, QUICK, None, now).is_some());
        assert_eq!(askers.hold(&cache, SLOW, None, now), None, "nobody waits for itself");
    }

    #[test]
    fn who_is_slow_all_the_time_holds_others_for_a_second_in_all() {
        let start = Instant::now();
        let (mut cache, mut askers) = (RangeCache::new(250), Askers::new(100));
        let (mut now, mut waited) = (start, Duration::ZERO);
        cache.insert(&range(0), now);
        cache.insert(&range(10), now);
        for at in 2..100 {
            // The quick one wants the next range as soon as it has one, and the slow one takes 90 ms for each.
            askers.got(QUICK, at * 10, now);
            askers.got(SLOW, at * 10 - 20, now);
            let since = now;
            now += Duration::from_millis(90);
            if askers.hold(&cache, QUICK, None, since).is_some() {
                waited += now - since;
            }
            askers.got(SLOW, at * 10 - 10, now);
            cache.insert(&range(at * 10), now);
        }
        let most = HOLD_MAX + Duration::from_millis(200);
        // It is waited for again once in a while: after a second, three, seven.
        assert!(waited > Duration::from_millis(900) && waited < most * 4, "{waited:?}");
        // Whoever comes to the head is as good as any other.
        askers.got(SLOW, 2_000, now);
        assert_eq!(askers.of[&SLOW].held_for, Duration::ZERO);
    }
}
