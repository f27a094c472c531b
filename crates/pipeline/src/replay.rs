//! A part of the log for one sync once more.
//!
//! A **replay** reads log ranges that were handed out before, takes the events that are meant, and has the filter, the functions and the
//! mapping of the sync make batches of them. It writes nothing and knows no destination: who asks for a batch has it delivered. What was a
//! duplicate, suppressed or forgotten stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tidegate_event::destination::Batch;
use tidegate_event::{Event, Position, ViolationRecord};
use tidegate_state::{KnownConsents, Quarantined, SubjectSet, fate_name};

use crate::refine::{BatchContext, RefineError, Refined, RefinerHandle};
use crate::sync::{Mapping, SyncFilter};

/// Names of events that are counted each by itself.
const NAMES_MAX: usize = 500;
/// All further ones.
const FURTHER: &str = "(others)";

/// By which contract and functions of the source events are made what they are. The sync's own functions are those of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReplayRules {
    /// Those that were live when the events came.
    #[default]
    Then,
    Now,
}

/// Which events of the source are meant.
#[derive(Debug, Clone, Default)]
pub struct ReplayFilter {
    /// Their names; all where there is none. What has no name of its own has its type in brackets, as `(identify)`.
    pub names: BTreeSet<String>,
    /// Whom they are about; everybody where there is nobody.
    pub subjects: SubjectSet,
    /// When they were received, microseconds since the epoch; at any time where it is empty.
    pub received: Range<i64>,
}

impl ReplayFilter {
    fn takes(&self, event: &Event) -> bool {
        self.is_received_then(event.received_at_us)
            && self.takes_name(fate_name(&event.body))
            && (self.subjects.is_empty() || self.subjects.holds(&event.body))
    }

    fn takes_violation(&self, found: &ViolationRecord) -> bool {
        self.is_received_then(found.received_at_us)
            && found.event_name.as_deref().map_or(self.names.is_empty(), |name| self.takes_name(name))
            && (self.subjects.is_empty() || self.subjects.holds_text(found.payload.as_bytes()))
    }

    fn is_received_then(&self, at_us: i64) -> bool {
        self.received.is_empty() || self.received.contains(&at_us)
    }

    fn takes_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}

/// What a replay reads, of one partition, and what it makes of that.
pub struct ReplaySource {
    pub refiner: RefinerHandle,
    pub sync: Arc<str>,
    pub source: Arc<str>,
    pub filter: SyncFilter,
    pub mapping: Mapping,
    pub only: ReplayFilter,
    pub rules: ReplayRules,
    /// The sync had events from this offset on.
    pub first: u64,
}

/// How large a batch grows: events, and bytes of the log that it comes of.
#[derive(Debug, Clone, Copy)]
pub struct ReplayBounds {
    pub events_max: usize,
    pub bytes_max: usize,
}

/// How many events there were, and what became of those that are in no batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayedCounts {
    /// Events that are meant, before the filter of the sync.
    pub came: u64,
    /// Of these, events about somebody who is suppressed by now.
    pub suppressed: u64,
    /// What passes the filter and what the sync had before.
    pub had_before: u64,
    pub filtered: u64,
    /// By functions of the sync, on purpose.
    pub dropped: u64,
    /// By functions of the sync, with an error.
    pub stopped: u64,
}

/// Events of one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NameCount {
    pub events: u64,
    /// As JSON text; only where nothing is delivered.
    pub bytes: u64,
}

/// A batch, and what was counted on its way.
#[derive(Debug, Default)]
pub struct ReplayedPart {
    pub batch: Batch,
    pub counts: ReplayedCounts,
    /// What passes the filter, by name.
    pub names: BTreeMap<String, NameCount>,
    /// What the functions of the sync stopped.
    pub stopped: Vec<Quarantined>,
}

impl ReplayedPart {
    fn count(&mut self, event: &Event, with_bytes: bool) {
        let name = fate_name(&event.body);
        let is_further = self.names.len() >= NAMES_MAX && !self.names.contains_key(name);
        let name = if is_further { FURTHER } else { name };
        let counted = self.names.entry(name.to_owned()).or_default();
        counted.events += 1;
        if with_bytes {
            counted.bytes += event.to_json().len() as u64;
        }
    }
}

impl ReplaySource {
    /// The next batch of `range`, from its start on: it says where it ends. Nothing is in it about those who are `suppressed` by now.
    ///
    /// # Errors
    /// The log cannot be refined again.
    pub async fn next(
        &self,
        range: Range<u64>,
        bounds: ReplayBounds,
        suppressed: &SubjectSet,
    ) -> Result<ReplayedPart, RefineError> {
        self.gather(range, bounds, (suppressed, false)).await
    }

    /// The same without events: they are counted, and no function of the sync runs.
    ///
    /// # Errors
    /// The log cannot be refined again.
    pub async fn count(
        &self,
        range: Range<u64>,
        bounds: ReplayBounds,
        suppressed: &SubjectSet,
    ) -> Result<ReplayedPart, RefineError> {
        self.gather(range, bounds, (suppressed, true)).await
    }

    async fn gather(
        &self,
        range: Range<u64>,
        bounds: ReplayBounds,
        (suppressed, only_counts): (&SubjectSet, bool),
    ) -> Result<ReplayedPart, RefineError> {
        let mut part = ReplayedPart::default();
        part.batch.range = range.start..range.start;
        let mut bytes = 0;
        loop {
            let at = part.batch.range.end;
            if at >= range.end || part.batch.events.len() >= bounds.events_max || bytes >= bounds.bytes_max {
                return Ok(part);
            }
            let refined = match self.rules {
                ReplayRules::Then => self.refiner.refined(&self.source, at).await?,
                ReplayRules::Now => self.refiner.refined_by_rules_of_now(&self.source, at).await?,
            };
            bytes += refined.log_bytes;
            let end = refined.range.end.min(range.end);
            if end <= at {
                // Nothing is there any more.
                part.batch.range.end = range.end;
                return Ok(part);
            }
            let known = self.refiner.known_consents(&refined.events, &self.filter.consent.categories)?;
            let taken = self.take(&refined, at..end, (suppressed, &known, only_counts), &mut part);
            if !only_counts {
                self.make(&refined, taken, &mut part).await?;
            }
            part.batch.range.end = end;
        }
    }

    /// The events of a part of a log range that are meant and that the sync takes.
    fn take(
        &self,
        refined: &Refined,
        within: Range<u64>,
        (suppressed, known, only_counts): (&SubjectSet, &KnownConsents, bool),
        part: &mut ReplayedPart,
    ) -> Vec<Arc<Event>> {
        let is_for_it = |offset: u64| within.contains(&offset) && refined.is_for(offset, &self.sync);
        let mut taken = Vec::new();
        for event in refined.events.iter().filter(|event| is_for_it(event.id.position.offset)) {
            // Functions may make a part of it that is meant.
            if !refined.concerns(event.id) || !self.only.takes(event) {
                continue;
            }
            part.counts.came += 1;
            if suppressed.holds(&event.body) {
                part.counts.suppressed += 1;
                continue;
            }
            if self.filter.left_out_knowing(event, known.of(event.id)).is_some() {
                part.counts.filtered += 1;
                continue;
            }
            part.counts.had_before += u64::from(event.id.position.offset >= self.first);
            part.count(event, only_counts);
            taken.push(Arc::clone(event));
        }
        if !only_counts {
            let violations = refined.violations.iter().filter(|found| is_for_it(found.position.offset));
            let is_meant = |found: &&Arc<ViolationRecord>| {
                self.only.takes_violation(found) && !suppressed.holds_text(found.payload.as_bytes())
            };
            part.batch.violations.extend(violations.filter(is_meant).cloned());
        }
        taken
    }

    /// What the functions and the mapping of the sync make of events.
    async fn make(
        &self,
        refined: &Refined,
        taken: Vec<Arc<Event>>,
        part: &mut ReplayedPart,
    ) -> Result<(), RefineError> {
        let is_plain = self.refiner.functions_of_sync(&self.sync).is_empty();
        if is_plain && self.mapping.is_empty() {
            part.batch.events.extend(taken.into_iter().filter(|event| refined.takes(event.id)));
            return Ok(());
        }
        let mut events: Vec<Event> = taken.iter().map(|event| Event::clone(event)).collect();
        if !is_plain && !events.is_empty() {
            let batch = BatchContext {
                scope: Arc::clone(&self.sync),
                now_ms: refined.now_ms,
                seed: Position::new(self.refiner.partition(), refined.range.start).bits(),
                bytes: refined.log_bytes,
                at_us: events.first().map_or(0, |event| event.received_at_us),
                tap: None,
            };
            let chain_output = self.refiner.run(events, &batch).await?;
            part.counts.dropped += chain_output.dropped.values().sum::<u64>();
            part.counts.stopped += chain_output.quarantined.len() as u64;
            part.stopped.extend(chain_output.quarantined);
            events = chain_output.events;
        }
        events.retain(|event| refined.takes(event.id));
        for mut event in events {
            self.mapping.apply(&mut event.body);
            part.batch.events.push(Arc::new(event));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, EventKind};

    use super::*;

    fn event(json: &str, received_at_us: i64) -> Event {
        let body = json.parse().unwrap();
        Event { source: Arc::from("web"), id: EventId::default(), kind: EventKind::Track, received_at_us, body }
    }

    #[test]
    fn events_are_meant_by_name_and_time() {
        let bought = event(r#"{"type":"track","event":"Bought"}"#, 7);
        let identify = event(r#"{"type":"identify","userId":"u"}"#, 7);
        let named = |names: &[&str]| ReplayFilter {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..ReplayFilter::default()
        };
        for (only, takes) in [
            (named(&[]), [true, true]),
            (named(&["Bought"]), [true, false]),
            (named(&["(identify)", "Sold"]), [false, true]),
            (ReplayFilter { received: 7..8, ..named(&[]) }, [true, true]),
            (ReplayFilter { received: 8..9, ..named(&[]) }, [false, false]),
        ] {
            assert_eq!([only.takes(&bought), only.takes(&identify)], takes, "{only:?}");
        }
    }
}
