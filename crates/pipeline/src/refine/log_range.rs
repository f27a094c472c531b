//! A range of the log, judged, and what one source's functions made of it.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_event::{Event, ViolationRecord};

/// What became of a range of the log before any function saw it.
#[derive(Debug, Default)]
pub(super) struct LogRange {
    pub(super) range: Range<u64>,
    /// What goes on, by source.
    pub(super) parts: Vec<SourcePart>,
    /// What the contracts found, of all sources, by offset.
    pub(super) violations: Vec<Arc<ViolationRecord>>,
    /// Bytes of the log that it came from.
    pub(super) log_bytes: usize,
}

/// What became of a range of the log, for the syncs of one source.
#[derive(Debug, Default)]
pub struct Refined {
    pub range: Range<u64>,
    /// What goes on, by offset and part.
    pub events: Vec<Arc<Event>>,
    /// What the contract found, by offset.
    pub violations: Vec<Arc<ViolationRecord>>,
    /// Bytes of the log that it came from, other sources included.
    pub log_bytes: usize,
    /// What functions of a sync see as the time of these events, Unix milliseconds; the same on every run.
    pub now_ms: u64,
}

/// The events of one source in a log range.
#[derive(Debug)]
pub(super) struct SourcePart {
    source: Arc<str>,
    /// When its first event was taken, microseconds since the epoch.
    pub(super) received_at_us: i64,
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
    pub(super) fn new(source: Arc<str>, events: Vec<Event>) -> Self {
        let received_at_us = events.first().map_or(0, |event| event.received_at_us);
        Self { source, received_at_us, held: Mutex::new(HeldEvents::Owned(events)) }
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

    /// The frame of what goes on for `source`: everything but the events.
    pub(super) fn frame(&self, source: &str) -> Refined {
        let received_at_us = self.part(source).map_or(0, |part| part.received_at_us);
        Refined {
            range: self.range.clone(),
            events: Vec::new(),
            violations: self.violations.iter().filter(|violation| *violation.source == *source).cloned().collect(),
            log_bytes: self.log_bytes,
            now_ms: u64::try_from(received_at_us / 1000).unwrap_or(0),
        }
    }
}
