//! The work on one log range: decode, find duplicates, judge, quarantine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use tidegate_dedup::{DedupIndex, Looked, Sighting};
use tidegate_event::record::{LoggedRecord, Record};
use tidegate_event::{Event, EventId, Position, RetryMark, decode, undecoded};
use tidegate_log::{LogDamage, LogEntry, ReadChunk};
use tidegate_process::clock;
use tidegate_state::{
    self as state, EndedRetry, FateTally, QuarantineStage, Quarantined, RangeCounts, RetryEnding, State, SubjectSet,
    SuppressList, UNREADABLE_NAME, fate_hour,
};

use super::judge_tally::{JudgeTally, time_is_unreadable};
use super::judged::{Judged, judged};
use super::left_out::{ErasedEntry, RecordVerdict, keep_times};
use super::log_range::{RetriedRecord, SourcePart};
use super::tapped_range::RangePicks;
use super::{LogRange, RefineError, RuleSet};
use crate::consents;
use crate::fates::{key_of, key_of_entry};
use crate::tap::EventTaps;

/// A log range while it is being worked on.
pub(super) struct RangeWork<'a> {
    rules: &'a RuleSet,
    partition: u16,
    log_range: LogRange,
    decoded: Vec<Decoded>,
    quarantined: Vec<Quarantined>,
    /// Records whose events were forgotten, by offset.
    erased: Vec<ErasedEntry>,
    tallies: HashMap<Arc<str>, JudgeTally>,
    /// Where events are offered, if anybody listens.
    taps: Option<EventTaps>,
    /// What became of events that only one sync has not had, by its name.
    of_syncs: HashMap<String, FateTally>,
}

/// The counter of duplicates of what is in quarantine: whoever sends it again does not mend it.
const DUPLICATES_OF_QUARANTINED: &str = "duplicates of quarantined";

/// Records that are worth a thread.
const RECORDS_EACH_MIN: usize = 64;

/// A thread of the scope; `None` when the operating system refuses one.
fn spawned<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<std::thread::ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().name("refine".into()).spawn_scoped(scope, work).ok()
}

/// A record that could be read, decoded or not.
struct Decoded {
    offset: u64,
    source: Arc<str>,
    received_at_us: i64,
    /// The `messageId`; the bytes themselves for what has none.
    id: Vec<u8>,
    event: Result<Event, Quarantined>,
    /// What it was in quarantine, when it is a retry.
    retry: Option<RecordRetry>,
}

/// A [`RetryMark`] that owns its texts.
struct RecordRetry {
    position: Position,
    part: u32,
    attempt: u32,
    stage: String,
    scope: String,
    for_sync: String,
}

impl RecordRetry {
    fn of(mark: RetryMark<'_>) -> Self {
        let RetryMark { position, part, attempt, stage, scope, for_sync } = mark;
        let [stage, scope, for_sync] = [stage, scope, for_sync].map(str::to_owned);
        Self { position, part, attempt, stage, scope, for_sync }
    }

    fn mark(&self) -> RetryMark<'_> {
        RetryMark {
            position: self.position,
            part: self.part,
            attempt: self.attempt,
            stage: &self.stage,
            scope: &self.scope,
            for_sync: &self.for_sync,
        }
    }

    /// For whom the record at `offset` is.
    fn record(&self, offset: u64) -> RetriedRecord {
        let for_sync = (!self.for_sync.is_empty()).then(|| Arc::from(self.for_sync.as_str()));
        RetriedRecord { offset, for_sync, parts: self.mark().parts() }
    }
}

impl Decoded {
    fn sighting(&self) -> Sighting<'_> {
        Sighting { source: &self.source, message_id: &self.id, received_at_us: self.received_at_us }
    }

    /// The event, where whoever listens may see what becomes of it.
    fn listened(&self, verdict: RecordVerdict) -> Option<&Event> {
        let is_seen = match verdict {
            RecordVerdict::GoesOn => true,
            RecordVerdict::Duplicate => self.retry.is_none(),
            RecordVerdict::Suppressed | RecordVerdict::Expired => false,
        };
        self.event.as_ref().ok().filter(|_| is_seen)
    }

    fn is_about(&self, subjects: &SubjectSet) -> bool {
        match &self.event {
            Ok(event) => subjects.holds(&event.body),
            Err(entry) => subjects.holds_text(&entry.event),
        }
    }
}

impl<'a> RangeWork<'a> {
    /// Reads the records of `range`, which is of this partition, on so many threads.
    pub(super) fn new(
        rules: &'a RuleSet,
        (partition, range): (u16, Range<u64>),
        chunk: &ReadChunk,
        threads: usize,
    ) -> Self {
        let empty = |range| Self {
            rules,
            partition,
            log_range: LogRange { range, ..LogRange::default() },
            decoded: Vec::new(),
            quarantined: Vec::new(),
            erased: Vec::new(),
            tallies: HashMap::new(),
            taps: None,
            of_syncs: HashMap::new(),
        };
        let mut work = empty(range);
        for damage in &chunk.damage {
            work.quarantine_damage(damage);
        }
        let each = chunk.records.len().div_ceil(threads.max(1)).max(RECORDS_EACH_MIN);
        let (own, others) = chunk.records.split_at(each.min(chunk.records.len()));
        std::thread::scope(|scope| {
            let read = |records| {
                let mut part = empty(0..0);
                part.read(records);
                part
            };
            let others: Vec<_> =
                others.chunks(each).map(|records| (records, spawned(scope, move || read(records)))).collect();
            work.read(own);
            for (records, other) in others {
                match other.and_then(|thread| thread.join().ok()) {
                    Some(part) => work.append(part),
                    // No thread could be had, or it panicked on what this one has to face then.
                    None => work.read(records),
                }
            }
        });
        work
    }

    fn read(&mut self, records: &[LogEntry]) {
        self.decoded.reserve(records.len());
        for entry in records {
            // What is shared counts for each: each event gets a copy of it.
            self.log_range.log_bytes += entry.shared.len() + entry.own.len();
            if let Some(erased) = ErasedEntry::of(entry) {
                match erased {
                    Ok(erased) => self.erased.push(erased),
                    Err(error) => self.quarantine_log(entry.offset, "unreadable-record", error.to_string(), b""),
                }
                continue;
            }
            match LoggedRecord::read(&entry.shared, &entry.own) {
                Ok(read) => {
                    let mark = RetryMark::split(&entry.own).and_then(|(mark, _)| mark);
                    self.decode(entry.offset, &read.record(), mark.map(RecordRetry::of));
                }
                Err(error) => self.quarantine_log(entry.offset, "unreadable-record", error.to_string(), &entry.own),
            }
        }
    }

    /// Adds what another thread read of the records behind.
    fn append(&mut self, part: Self) {
        self.log_range.log_bytes += part.log_range.log_bytes;
        self.decoded.extend(part.decoded);
        self.quarantined.extend(part.quarantined);
        self.erased.extend(part.erased);
    }

    /// Records that were accepted and cannot be read: one entry with their bounds.
    fn quarantine_damage(&mut self, damage: &LogDamage) {
        let LogDamage { missing, segment, position, length, bytes } = damage;
        let lost = missing.end - missing.start;
        if lost == 0 {
            tracing::warn!(segment, position, bytes = length, "a part of the intake log without records is damaged");
            return;
        }
        let (first, last) = (missing.start, missing.end - 1);
        if *length == 0 {
            tracing::error!(segment, first, last, records = lost, "records are missing from the intake log");
            let message = format!(
                "the records with offsets {first} to {last}, {lost} at most, are missing: segment {segment}, byte {position}"
            );
            self.quarantine_log(first, "missing-records", message, b"");
            return;
        }
        tracing::error!(
            segment,
            position,
            bytes = length,
            first,
            last,
            records = lost,
            "a log range is damaged; its bytes are in quarantine"
        );
        let message = format!(
            "{lost} records, offsets {first} to {last}, cannot be read: segment {segment}, byte {position}, {length} bytes"
        );
        self.quarantine_log(first, "damaged-record", message, bytes);
    }

    fn quarantine_log(&mut self, offset: u64, code: &str, message: String, bytes: &[u8]) {
        self.quarantined.push(Quarantined {
            id: self.id(offset),
            stage: QuarantineStage::Log.as_str(),
            scope: "log".to_owned(),
            code: code.to_owned(),
            message,
            event: bytes.to_vec(),
            at_us: clock::now_us(),
            detail: None,
        });
    }

    /// The event that the record at `offset` holds.
    const fn id(&self, offset: u64) -> EventId {
        EventId::new(Position::new(self.partition, offset), 0)
    }

    fn decode(&mut self, offset: u64, record: &Record<'_>, retry: Option<RecordRetry>) {
        let source = match self.rules.sources.get_key_value(record.source) {
            Some((source, _)) => Arc::clone(source),
            None => Arc::from(record.source),
        };
        let (id, event) = match decode::decode(record, Arc::clone(&source), self.id(offset).position) {
            Ok(event) => (event.message_id().as_bytes().to_vec(), Ok(event)),
            Err(refusal) => {
                let entry = Quarantined {
                    id: self.id(offset),
                    stage: QuarantineStage::Decode.as_str(),
                    scope: source.to_string(),
                    code: refusal.code.to_owned(),
                    message: refusal.message,
                    event: undecoded::kept(record),
                    at_us: record.received_at_us,
                    detail: undecoded::beside(record),
                };
                (undecoded::identity(record), Err(entry))
            }
        };
        let received_at_us = record.received_at_us;
        self.decoded.push(Decoded { offset, source, received_at_us, id, event, retry });
    }

    /// Which of the ids were seen within the window before.
    fn look(&self, dedup: &mut DedupIndex) -> Result<Looked, RefineError> {
        let sightings: Vec<Sighting<'_>> = self.decoded.iter().map(Decoded::sighting).collect();
        Ok(dedup.look(&sightings)?)
    }

    /// Marks the ids of a range that was refined before, which the index has lost.
    pub(super) fn mark_again(&self, dedup: &mut DedupIndex) -> Result<(), RefineError> {
        let looked = self.look(dedup)?;
        dedup.keep(&looked, &self.log_range.range);
        Ok(())
    }

    /// The first time: finds duplicates and who is left out; keeps them, what is quarantined and the refine cursor in one transaction.
    /// The dedup index learns of the range behind it, and so never knows more than the state.
    pub(super) fn refine_first(
        mut self,
        state: &mut State,
        dedup: &mut DedupIndex,
        (suppressed, taps): (&mut SuppressList, &EventTaps),
    ) -> Result<LogRange, RefineError> {
        self.taps = taps.listened();
        let looked = self.look(dedup)?;
        let mut seen = looked.is_duplicate.clone();
        let mut taken_twice = Vec::new();
        let mut verdicts = Vec::with_capacity(seen.len());
        let mut stage = state.stage()?;
        stage.follow_suppressed(suppressed)?;
        for (decoded, seen) in self.decoded.iter().zip(&mut seen) {
            if let Some(retry) = &decoded.retry {
                // It was seen before, when it went into quarantine. What counts is whether it is still there.
                let mark = retry.mark();
                let is_taken = stage.take_retried(decoded.offset, &mark)?;
                // What cannot be decoded yet is known by its bytes, which were seen then too.
                let is_known = *seen && mark.minds_duplicates() && decoded.event.is_ok();
                if is_taken && is_known {
                    stage.count(&decoded.source, "duplicates", 1)?;
                    stage.end_retries(&[EndedRetry { offset: decoded.offset, by: RetryEnding::Duplicate }])?;
                    taken_twice.push(decoded);
                }
                *seen = !is_taken || is_known;
            } else if *seen
                && let Ok(event) = &decoded.event
                && stage.is_quarantined(event.message_id())?
            {
                stage.count(&decoded.source, DUPLICATES_OF_QUARANTINED, 1)?;
            }
            verdicts.push(if *seen {
                stage.duplicate(decoded.offset)?;
                RecordVerdict::Duplicate
            } else if decoded.is_about(&suppressed.subjects) {
                stage.suppress(decoded.offset)?;
                if decoded.retry.is_some() {
                    stage.end_retries(&[EndedRetry { offset: decoded.offset, by: RetryEnding::Suppressed }])?;
                }
                RecordVerdict::Suppressed
            } else {
                RecordVerdict::GoesOn
            });
        }
        for (decoded, verdict) in self.decoded.iter().zip(&verdicts) {
            if let (RecordVerdict::GoesOn, Ok(event)) = (verdict, &decoded.event) {
                consents::note(&mut stage, event, &self.rules.consents)?;
            }
        }
        // The entry is gone, and its event is a duplicate now.
        let mut duplicates: HashMap<Arc<str>, FateTally> = HashMap::new();
        for decoded in taken_twice {
            if let Ok(event) = &decoded.event {
                let for_sync = decoded.retry.as_ref().map(|retry| &retry.for_sync).filter(|sync| !sync.is_empty());
                let tally = match for_sync {
                    Some(sync) => self.of_syncs.entry(sync.clone()).or_default(),
                    None => duplicates.entry(Arc::clone(&decoded.source)).or_default(),
                };
                tally.add(key_of(event), |counts| {
                    counts.came += 1;
                    counts.duplicates += 1;
                });
            }
        }
        // What was forgotten before it was refined is counted, and goes nowhere.
        for erased in std::mem::take(&mut self.erased) {
            stage.suppress(erased.offset)?;
            if erased.was_retry {
                // As of any retry whose entry is not taken out for it: it is counted where it came first.
                continue;
            }
            self.tally(&erased.source).erased(&erased);
        }
        self.finish(&verdicts, true);
        for (source, tally) in &duplicates {
            self.tally(source).fates.append(tally);
        }
        for entry in &self.quarantined {
            stage.quarantine(entry)?;
        }
        for (sync, tally) in &self.of_syncs {
            stage.sync_fates(sync, tally)?;
        }
        for (source, tally) in &self.tallies {
            let counts = RangeCounts {
                accepted: tally.accepted + tally.retried,
                duplicates: tally.duplicates,
                suppressed: tally.suppressed + tally.expired,
                quarantined: tally.quarantined,
                judged: tally.judged,
            };
            stage.source_fates(source, &self.log_range.range, (counts, &tally.fates))?;
            stage.count(source, "accepted", tally.accepted)?;
            stage.count(source, "retried", tally.retried)?;
            stage.count(source, "duplicates", tally.duplicates)?;
            stage.count(source, "suppressed", tally.suppressed)?;
            stage.count(source, "quarantined", tally.quarantined)?;
            stage.count(source, "violations", tally.violations)?;
            stage.count(source, "unreadable times", tally.unreadable_times)?;
            stage.count_violations(source, &tally.broken)?;
            let scope = state::undeclared(source);
            for (name, count) in &tally.undeclared {
                stage.count(&scope, name, *count)?;
            }
        }
        fail::fail_point!("refine_before_commit", |_| std::process::abort());
        stage.commit(&self.log_range.range, self.rules.revision)?;
        fail::fail_point!("refine_after_commit", |_| std::process::abort());
        dedup.keep(&looked, &self.log_range.range);
        Ok(self.log_range)
    }

    /// Once more, for a sync that lags, by the rules of then: the same verdicts, nothing written.
    pub(super) fn refine_again(mut self, state: &State) -> Result<LogRange, RefineError> {
        let range = &self.log_range.range;
        let (duplicates, suppressed) = (state.duplicates_in(range)?, state.suppressed_in(range)?);
        let again = |offset| RecordVerdict::again(offset, (duplicates.as_slice(), suppressed.as_slice()));
        let verdicts: Vec<RecordVerdict> = self.decoded.iter().map(|decoded| again(decoded.offset)).collect();
        self.erased.retain(|erased| again(erased.offset) == RecordVerdict::GoesOn);
        self.finish(&verdicts, false);
        Ok(self.log_range)
    }

    /// Judges what goes on by those verdicts; what goes on is parted by source. What became of events is counted the first time.
    fn finish(&mut self, verdicts: &[RecordVerdict], is_first: bool) {
        let mut groups: Vec<(Arc<str>, Vec<Event>)> = Vec::new();
        let mut group_of: HashMap<Arc<str>, usize> = HashMap::new();
        let listened = self.decoded.iter().zip(verdicts).map(|(decoded, verdict)| decoded.listened(*verdict));
        let picks = RangePicks::of(self.taps.as_ref(), listened);
        for (at, (decoded, verdict)) in std::mem::take(&mut self.decoded).into_iter().zip(verdicts).enumerate() {
            // One that was taken out of the quarantine before is counted where it was.
            if *verdict == RecordVerdict::Duplicate && decoded.retry.is_some() {
                continue;
            }
            if let Some(retry) = &decoded.retry {
                self.log_range.retried.push(retry.record(decoded.offset));
            }
            // An event that only one sync has not had is of that one's counts: the source has it already.
            let only_for = decoded.retry.as_ref().map(|retry| retry.for_sync.clone()).filter(|sync| !sync.is_empty());
            let tally = self.tally(&decoded.source);
            *(if decoded.retry.is_some() { &mut tally.retried } else { &mut tally.accepted }) += 1;
            if is_first && only_for.is_none() {
                tally.came(decoded.event.as_ref().ok(), decoded.received_at_us, *verdict);
            }
            match verdict {
                RecordVerdict::GoesOn => {}
                // Nothing of it was decoded.
                RecordVerdict::Expired => continue,
                RecordVerdict::Duplicate => {
                    tally.duplicates += 1;
                    if let Ok(event) = &decoded.event {
                        picks.repeats(at, event);
                    }
                    continue;
                }
                RecordVerdict::Suppressed => {
                    tally.suppressed += 1;
                    if is_first && let Some(sync) = only_for {
                        let unreadable = (fate_hour(decoded.received_at_us), UNREADABLE_NAME);
                        let key = decoded.event.as_ref().map_or(unreadable, key_of);
                        self.of_syncs.entry(sync).or_default().add(key, |counts| {
                            counts.came += 1;
                            counts.suppressed += 1;
                        });
                    }
                    continue;
                }
            }
            let event = match decoded.event {
                Ok(event) => event,
                Err(entry) => {
                    tally.quarantined += 1;
                    self.quarantined.push(entry);
                    if is_first {
                        self.stopped(&decoded.source, only_for);
                    }
                    continue;
                }
            };
            if time_is_unreadable(&event) {
                self.tally(&decoded.source).unreadable_times += 1;
            }
            let before = picks.before(at, &event);
            // What is tried once more was counted where it came first.
            let judged = self.judge(event, is_first && decoded.retry.is_none());
            if let Some(before) = before {
                picks.judged(before, judged.as_ref(), self.quarantined.last());
            }
            let Some(event) = judged else {
                if is_first {
                    self.stopped(&decoded.source, only_for);
                }
                continue;
            };
            let at = match group_of.entry(Arc::clone(&decoded.source)) {
                Entry::Occupied(at) => *at.get(),
                Entry::Vacant(vacant) => {
                    groups.push((decoded.source, Vec::new()));
                    *vacant.insert(groups.len() - 1)
                }
            };
            groups[at].1.push(event);
        }
        let is_counted = is_first && self.log_range.retried.is_empty();
        for (source, events) in groups {
            let keys = self.tally(&source).goes_on(events.len(), is_counted);
            self.log_range.parts.push(SourcePart::new(source, events, keys));
        }
        keep_times(&mut self.log_range.parts, &self.erased);
    }

    /// Counts that the last event that was quarantined goes no further.
    fn stopped(&mut self, source: &Arc<str>, only_for: Option<String>) {
        let Some((hour, name)) = self.quarantined.last().map(key_of_entry) else { return };
        match only_for {
            Some(sync) => self.of_syncs.entry(sync).or_default().add((hour, &name), |counts| {
                counts.came += 1;
                counts.quarantined += 1;
            }),
            None => self.tally(source).fates.add((hour, &name), |counts| {
                counts.went_on -= 1;
                counts.quarantined += 1;
            }),
        }
    }

    /// The contract's verdict; `None` when the event goes no further.
    fn judge(&mut self, event: Event, is_counted: bool) -> Option<Event> {
        let contract = self.rules.sources.get(&event.source).and_then(|rules| rules.contract.as_ref());
        let Some(contract) = contract else { return Some(event) };
        let source = Arc::clone(&event.source);
        let Judged { event, violation, quarantined, undeclared, broken } = judged(contract, event);
        if !undeclared.is_empty() {
            self.tally(&source).undeclared(undeclared);
        }
        if let Some(violation) = violation {
            let tally = self.tally(&source);
            tally.violations += 1;
            tally.quarantined += u64::from(quarantined.is_some());
            if is_counted {
                tally.breaks(&violation, &broken);
            }
            self.log_range.violations.push(Arc::new(violation));
        }
        self.quarantined.extend(quarantined);
        event
    }

    fn tally(&mut self, source: &Arc<str>) -> &mut JudgeTally {
        self.tallies.entry(Arc::clone(source)).or_default()
    }
}

#[cfg(test)]
mod tests;
