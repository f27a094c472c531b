//! A range of the log, judged, and what one source's functions made of it.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_event::{Event, EventId, RetriedParts, ViolationRecord};
use tidegate_state::{KeyedEvents, RetryEnding};

use super::open_retries::OpenRetries;

/// What became of a range of the log before any function saw it.
#[derive(Debug, Default)]
pub(super) struct LogRange {
    pub(super) range: Range<u64>,
    /// What goes on, by source.
    pub(super) parts: Vec<SourcePart>,
    /// What the contracts found, of all sources, by offset.
    pub(super) violations: Vec<Arc<ViolationRecord>>,
    /// Those of its records that are retries, by offset.
    pub(super) retried: Vec<RetriedRecord>,
    /// Bytes of the log that it came from.
    pub(super) log_bytes: usize,
    /// How often the log had erased records when it was read.
    pub(super) erasures: u64,
}

/// A record whose event was in quarantine, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetriedRecord {
    pub(super) offset: u64,
    /// The one sync that has not had it; `None` when none has.
    pub(super) for_sync: Option<Arc<str>>,
    pub(super) parts: RetriedParts,
}

impl RetriedRecord {
    fn concerns(&self, part: u32) -> bool {
        self.parts.takes(part) || self.parts.comes_of(part)
    }

    /// Of the parts that a source hands out, the one of which functions of the sync that it is for make what was quarantined; `None` when that is
    /// among them, or functions of no sync may make it.
    fn origin(&self, handed_out: impl Iterator<Item = u32>) -> Option<u32> {
        self.for_sync.as_ref()?;
        let mut origin = None;
        for part in handed_out {
            if self.parts.takes(part) {
                return None;
            }
            if self.parts.comes_of(part) {
                origin = origin.max(Some(part));
            }
        }
        origin
    }
}

/// What became of a range of the log, for the syncs of one source.
#[derive(Debug, Default)]
pub struct Refined {
    pub range: Range<u64>,
    /// What goes on, by offset and part.
    pub events: Vec<Arc<Event>>,
    /// How many of its events are counted under each hour and name. `None` where nobody has counted: functions had them, or the log range was
    /// refined again, or some are retries.
    pub keys: Option<Arc<[KeyedEvents]>>,
    /// What the contract found, by offset.
    pub violations: Vec<Arc<ViolationRecord>>,
    /// Bytes of the log that it came from, other sources included.
    pub log_bytes: usize,
    /// What functions of a sync see as the time of these events, Unix milliseconds; the same on every run.
    pub now_ms: u64,
    /// Those of its records that are retries, by offset.
    pub(super) retried: Vec<RetriedRecord>,
    /// How often the log had erased records when it was read.
    pub(super) erasures: u64,
}

impl Refined {
    fn retried(&self, offset: u64) -> Option<&RetriedRecord> {
        let found = self.retried.binary_search_by_key(&offset, |retried| retried.offset).ok()?;
        self.retried.get(found)
    }

    /// Whether the record at `offset` is for this sync: a retry may be for one alone, because the others have had it.
    #[must_use]
    pub fn is_for(&self, offset: u64, sync: &str) -> bool {
        self.only_for(offset).is_none_or(|only| only == sync)
    }

    /// The one sync that the record at `offset` is for, if it is a retry that the others have had.
    pub(super) fn only_for(&self, offset: u64) -> Option<&str> {
        self.retried(offset)?.for_sync.as_deref()
    }

    /// Whether this part of an event goes on: of a retry only what was quarantined.
    #[must_use]
    pub fn takes(&self, id: EventId) -> bool {
        self.retried(id.position.offset).is_none_or(|retried| retried.parts.takes(id.part))
    }

    /// Whether what becomes of this part is of interest: of a retry what was quarantined, and what that comes of.
    #[must_use]
    pub fn concerns(&self, id: EventId) -> bool {
        self.retried(id.position.offset).is_none_or(|retried| retried.concerns(id.part))
    }

    /// Whether this one of its events counts as one that has come to a sync: of a retry what was quarantined, or what functions of the sync
    /// make that of.
    #[must_use]
    pub fn counts(&self, id: EventId) -> bool {
        self.counts_among(id, &self.events)
    }

    /// The same of one of `events`, by offset, which are to become its events.
    pub(super) fn counts_among<E: Borrow<Event>>(&self, id: EventId, events: &[E]) -> bool {
        self.retried(id.position.offset)
            .is_none_or(|retried| retried.parts.takes(id.part) || origin_among(retried, events) == Some(id.part))
    }

    /// Whether what functions of a sync stopped as this part is of interest: of a retry what was quarantined, and what that comes of.
    #[must_use]
    pub fn concerns_sync(&self, id: EventId) -> bool {
        self.retried(id.position.offset).is_none_or(|retried| {
            let is_between = |origin: u32| id.part >= origin && retried.parts.comes_of(id.part);
            retried.parts.takes(id.part) || origin_among(retried, &self.events).is_some_and(is_between)
        })
    }

    /// Those of these events that are retries, before the functions of the source have them.
    pub(super) fn open_for_source(&self, events: &[Event]) -> OpenRetries {
        let mut open = OpenRetries::default();
        if self.retried.is_empty() {
            return open;
        }
        for event in events {
            let offset = event.id.position.offset;
            if let Some(retried) = self.retried(offset) {
                open.open(offset, retried.parts, (retried.for_sync.is_some(), RetryEnding::Dropped));
            }
        }
        open
    }

    /// Those of its events from `from` on that are retries for this sync alone, before its filter and its functions have them.
    #[must_use]
    pub fn open_for_sync(&self, sync: &str, from: u64, filter: impl Fn(&Event) -> bool) -> OpenRetries {
        let mut open = OpenRetries::default();
        if self.retried.is_empty() {
            return open;
        }
        let mut passed = None;
        for event in self.events.iter().filter(|event| event.id.position.offset >= from) {
            let offset = event.id.position.offset;
            let Some(retried) = self.retried(offset) else { continue };
            if retried.for_sync.as_deref() != Some(sync) || !retried.concerns(event.id.part) || passed == Some(offset) {
                continue;
            }
            let passes = filter(event);
            let ending = if passes { RetryEnding::Dropped } else { RetryEnding::Filtered };
            open.open(offset, retried.parts, (false, ending));
            passed = passes.then_some(offset);
        }
        open
    }
}

/// The [`RetriedRecord::origin`] of a record among `events`, which are in order.
fn origin_among<E: Borrow<Event>>(retried: &RetriedRecord, events: &[E]) -> Option<u32> {
    let id = |event: &E| -> EventId { Borrow::<Event>::borrow(event).id };
    let from = events.partition_point(|event| id(event).position.offset < retried.offset);
    let behind = events.iter().skip(from).map(id);
    retried.origin(behind.take_while(|id| id.position.offset == retried.offset).map(|id| id.part))
}

/// The events of one source in a log range.
#[derive(Debug)]
pub(super) struct SourcePart {
    source: Arc<str>,
    /// When its first event was taken, microseconds since the epoch.
    pub(super) received_at_us: i64,
    /// The offset of that event.
    first: Option<u64>,
    /// How many of the events are counted under each hour and name, if that is known.
    keys: Option<Arc<[KeyedEvents]>>,
    held: Mutex<HeldEvents>,
}

#[derive(Debug)]
enum HeldEvents {
    /// Nobody has asked yet.
    Owned(Vec<Event>),
    /// Handed out as they are, to whoever asks.
    Shared(Vec<Arc<Event>>),
    /// Handed out to be changed.
    Taken,
}

impl SourcePart {
    pub(super) fn new(source: Arc<str>, events: Vec<Event>, keys: Option<Vec<KeyedEvents>>) -> Self {
        let received_at_us = events.first().map_or(0, |event| event.received_at_us);
        let first = events.first().map(|event| event.id.position.offset);
        let keys = keys.map(Arc::from);
        Self { source, received_at_us, first, keys, held: Mutex::new(HeldEvents::Owned(events)) }
    }

    pub(super) fn is_of(&self, source: &str) -> bool {
        *self.source == *source
    }

    /// There was an event at `offset` once, taken then.
    pub(super) fn began_with(&mut self, offset: u64, received_at_us: i64) {
        if self.first.is_none_or(|first| offset < first) {
            (self.first, self.received_at_us) = (Some(offset), received_at_us);
        }
    }

    /// Looks at the events, unless they were taken to be changed.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = &Event>) -> T) -> T {
        match &*self.held.lock() {
            HeldEvents::Owned(events) => look(&mut events.iter()),
            HeldEvents::Shared(events) => look(&mut events.iter().map(|event| &**event)),
            HeldEvents::Taken => look(&mut std::iter::empty::<&Event>()),
        }
    }

    /// The events as they are; `None` when they were taken to be changed.
    pub(super) fn share(&self) -> Option<Vec<Arc<Event>>> {
        let mut held = self.held.lock();
        if let HeldEvents::Owned(events) = &mut *held {
            *held = HeldEvents::Shared(std::mem::take(events).into_iter().map(Arc::new).collect());
        }
        match &*held {
            HeldEvents::Shared(events) => Some(events.clone()),
            HeldEvents::Owned(_) | HeldEvents::Taken => None,
        }
    }

    /// The events, to be changed; `None` when they were taken before.
    pub(super) fn take(&self) -> Option<Vec<Event>> {
        let mut held = self.held.lock();
        match std::mem::replace(&mut *held, HeldEvents::Taken) {
            HeldEvents::Owned(events) => Some(events),
            HeldEvents::Shared(events) => {
                let copies = events.iter().map(|event| Event::clone(event)).collect();
                *held = HeldEvents::Shared(events);
                Some(copies)
            }
            HeldEvents::Taken => None,
        }
    }
}

impl LogRange {
    pub(super) fn part(&self, source: &str) -> Option<&SourcePart> {
        self.parts.iter().find(|part| *part.source == *source)
    }

    /// What goes on for `source` without functions; no events where they were taken to be changed.
    pub(super) fn plain(&self, source: &str) -> Refined {
        let shared = self.part(source).and_then(|part| Some((part.share()?, part.keys.clone())));
        let (events, keys) = shared.unwrap_or_default();
        Refined { events, keys, ..self.frame(source) }
    }

    /// The frame of what goes on for `source`: everything but the events.
    pub(super) fn frame(&self, source: &str) -> Refined {
        let received_at_us = self.part(source).map_or(0, |part| part.received_at_us);
        Refined {
            range: self.range.clone(),
            events: Vec::new(),
            keys: None,
            violations: self.violations.iter().filter(|violation| *violation.source == *source).cloned().collect(),
            log_bytes: self.log_bytes,
            now_ms: u64::try_from(received_at_us / 1000).unwrap_or(0),
            retried: self.retried.clone(),
            erasures: self.erasures,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventKind, Position};

    use super::*;

    fn id(part: u32) -> EventId {
        EventId::new(Position::new(0, 7), part)
    }

    /// A retry for one sync of what was stopped as `part`, of which the source hands out these parts.
    fn refined(part: u32, handed_out: &[u32]) -> Refined {
        let event = |part: &u32| {
            let body = r#"{"type":"track","event":"E"}"#.parse().unwrap();
            Arc::new(Event { source: "web".into(), id: id(*part), kind: EventKind::Track, received_at_us: 0, body })
        };
        let parts = RetriedParts::of("destination", part);
        Refined {
            range: 7..8,
            events: handed_out.iter().map(event).collect(),
            retried: vec![RetriedRecord { offset: 7, for_sync: Some("crm".into()), parts }],
            ..Refined::default()
        }
    }

    #[test]
    fn of_a_retry_counts_what_was_quarantined_or_that_of_which_functions_of_the_sync_make_it() {
        for (part, handed_out, counted) in [
            (0, vec![0], vec![0]),
            (2, vec![0, 1, 2], vec![2]),
            (2, vec![0], vec![0]),
            (1_025, vec![0, 1, 2], vec![1]),
            (2, vec![2_048, 2_049], vec![2_048, 2_049]),
            (2, vec![1], vec![]),
        ] {
            let refined = refined(part, &handed_out);
            let found: Vec<u32> = handed_out.iter().copied().filter(|part| refined.counts(id(*part))).collect();
            assert_eq!(found, counted, "{part} of {handed_out:?}");
        }
    }

    #[test]
    fn a_part_that_was_delivered_before_is_not_quarantined_in_the_place_of_another() {
        let of_three = refined(1_025, &[0, 1, 2]);
        assert!(of_three.concerns_sync(id(1)) && of_three.concerns_sync(id(1_025)));
        assert!(!of_three.concerns_sync(id(0)) && !of_three.concerns_sync(id(2)) && !of_three.concerns_sync(id(1_024)));
        assert!(refined(2, &[0]).concerns_sync(id(0)));
        assert!(!refined(2, &[0, 2]).concerns_sync(id(0)));
    }
}
