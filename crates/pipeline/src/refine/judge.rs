//! The work on one log range: decode, find duplicates, judge, quarantine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use tidegate_contract::{Action, Contract};
use tidegate_dedup::{DedupIndex, Looked, Sighting};
use tidegate_event::record::Record;
use tidegate_event::time::{ReadAs, SENT_AT_READ_AS, TIMESTAMP_READ_AS};
use tidegate_event::{Event, EventId, Position, ViolationRecord, decode, undecoded};
use tidegate_log::{LogDamage, LogEntry, ReadChunk};
use tidegate_process::clock;
use tidegate_state::{self as state, QuarantineStage, Quarantined, State};

use super::log_range::SourcePart;
use super::{LogRange, RefineError, RuleSet};

/// A log range while it is being worked on.
pub(super) struct RangeWork<'a> {
    rules: &'a RuleSet,
    partition: u16,
    log_range: LogRange,
    decoded: Vec<Decoded>,
    quarantined: Vec<Quarantined>,
    tallies: HashMap<Arc<str>, JudgeTally>,
}

/// What became of the events of one source.
#[derive(Default)]
struct JudgeTally {
    accepted: u64,
    duplicates: u64,
    quarantined: u64,
    violations: u64,
    /// Events with a client's time that cannot be read: they bear the time of receipt, or one that was not corrected.
    unreadable_times: u64,
    /// What is undeclared and allowed, by name.
    undeclared: HashMap<String, u64>,
}

/// Records that are worth a thread.
const RECORDS_EACH_MIN: usize = 64;

/// A thread of the scope; `None` when the operating system refuses one.
fn spawned<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<std::thread::ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().name("refine".into()).spawn_scoped(scope, work).ok()
}

/// Names counted in one log range; what comes beyond is counted together.
const UNDECLARED_MAX: usize = 1_000;

impl JudgeTally {
    fn undeclared(&mut self, names: Vec<String>) {
        for name in names {
            let has_room = self.undeclared.len() < UNDECLARED_MAX || self.undeclared.contains_key(&name);
            *self.undeclared.entry(if has_room { name } else { "others".to_owned() }).or_default() += 1;
        }
    }
}

fn time_is_unreadable(event: &Event) -> bool {
    let Some(context) = event.body.get("context") else { return false };
    let mut words = [TIMESTAMP_READ_AS, SENT_AT_READ_AS].into_iter().filter_map(|field| context.get(field)?.as_str());
    words.any(|word| Some(word) == ReadAs::Unreadable.as_str())
}

/// A record that could be read, decoded or not.
struct Decoded {
    offset: u64,
    source: Arc<str>,
    received_at_us: i64,
    /// The `messageId`; the bytes themselves for what has none.
    id: Vec<u8>,
    event: Result<Event, Quarantined>,
}

impl Decoded {
    fn sighting(&self) -> Sighting<'_> {
        Sighting { source: &self.source, message_id: &self.id, received_at_us: self.received_at_us }
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
            tallies: HashMap::new(),
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
            match Record::read(&entry.shared, &entry.own) {
                Ok(record) => self.decode(entry.offset, &record),
                Err(error) => self.quarantine_log(entry.offset, "unreadable-record", error.to_string(), &entry.own),
            }
        }
    }

    /// Adds what another thread read of the records behind.
    fn append(&mut self, part: Self) {
        self.log_range.log_bytes += part.log_range.log_bytes;
        self.decoded.extend(part.decoded);
        self.quarantined.extend(part.quarantined);
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

    fn decode(&mut self, offset: u64, record: &Record<'_>) {
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
                    event: undecoded::without_write_key(record.event),
                    at_us: record.received_at_us,
                    detail: undecoded::beside(record),
                };
                // No id: a retry of the same bytes is the same event.
                ([b"\0raw", record.event].concat(), Err(entry))
            }
        };
        let received_at_us = record.received_at_us;
        self.decoded.push(Decoded { offset, source, received_at_us, id, event });
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

    /// The first time: finds duplicates; keeps them, what is quarantined and the refine cursor in one transaction. The
    /// dedup index learns of the range behind it, and so never knows more than the state.
    pub(super) fn refine_first(mut self, state: &mut State, dedup: &mut DedupIndex) -> Result<LogRange, RefineError> {
        let looked = self.look(dedup)?;
        let mut stage = state.stage()?;
        for (decoded, seen) in self.decoded.iter().zip(&looked.is_duplicate) {
            if *seen {
                stage.duplicate(decoded.offset)?;
            }
        }
        self.finish(&looked.is_duplicate);
        for entry in &self.quarantined {
            stage.quarantine(entry)?;
        }
        for (source, tally) in &self.tallies {
            stage.count(source, "accepted", tally.accepted)?;
            stage.count(source, "duplicates", tally.duplicates)?;
            stage.count(source, "quarantined", tally.quarantined)?;
            stage.count(source, "violations", tally.violations)?;
            stage.count(source, "unreadable times", tally.unreadable_times)?;
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
        let duplicates = state.duplicates_in(&self.log_range.range)?;
        let seen: Vec<bool> =
            self.decoded.iter().map(|decoded| duplicates.binary_search(&decoded.offset).is_ok()).collect();
        self.finish(&seen);
        Ok(self.log_range)
    }

    /// Judges what is no duplicate; what goes on is parted by source.
    fn finish(&mut self, seen: &[bool]) {
        let mut groups: Vec<(Arc<str>, Vec<Event>)> = Vec::new();
        let mut group_of: HashMap<Arc<str>, usize> = HashMap::new();
        for (decoded, seen) in std::mem::take(&mut self.decoded).into_iter().zip(seen) {
            let tally = self.tally(&decoded.source);
            tally.accepted += 1;
            if *seen {
                tally.duplicates += 1;
                continue;
            }
            let event = match decoded.event {
                Ok(event) => event,
                Err(entry) => {
                    tally.quarantined += 1;
                    self.quarantined.push(entry);
                    continue;
                }
            };
            if time_is_unreadable(&event) {
                self.tally(&decoded.source).unreadable_times += 1;
            }
            let Some(event) = self.judge(event) else { continue };
            let at = match group_of.entry(Arc::clone(&decoded.source)) {
                Entry::Occupied(at) => *at.get(),
                Entry::Vacant(vacant) => {
                    groups.push((decoded.source, Vec::new()));
                    *vacant.insert(groups.len() - 1)
                }
            };
            groups[at].1.push(event);
        }
        self.log_range.parts = groups.into_iter().map(|(source, events)| SourcePart::new(source, events)).collect();
    }

    /// The contract's verdict; `None` when the event goes no further.
    fn judge(&mut self, event: Event) -> Option<Event> {
        let contract = self.rules.sources.get(&event.source).and_then(|rules| rules.contract.as_ref());
        let Some(contract) = contract else { return Some(event) };
        let source = Arc::clone(&event.source);
        let Judged { event, violation, quarantined, undeclared } = judged(contract, event);
        if !undeclared.is_empty() {
            self.tally(&source).undeclared(undeclared);
        }
        if let Some(violation) = violation {
            let tally = self.tally(&source);
            tally.violations += 1;
            tally.quarantined += u64::from(quarantined.is_some());
            self.log_range.violations.push(Arc::new(violation));
        }
        self.quarantined.extend(quarantined);
        event
    }

    fn tally(&mut self, source: &Arc<str>) -> &mut JudgeTally {
        self.tallies.entry(Arc::clone(source)).or_default()
    }
}

/// What a contract made of an event.
#[derive(Debug)]
pub struct Judged {
    /// As it goes on; `None` when it goes no further.
    pub event: Option<Event>,
    pub violation: Option<ViolationRecord>,
    pub quarantined: Option<Quarantined>,
    /// What is undeclared and allowed, by name.
    pub undeclared: Vec<String>,
}

/// Judges one event by the contract of its source.
#[must_use]
pub fn judged(contract: &Contract, mut event: Event) -> Judged {
    let verdict = contract.judge(event.kind, &mut event.body);
    let undeclared = verdict.undeclared;
    let Some(violation) = verdict.violation else {
        return Judged { event: Some(event), violation: None, quarantined: None, undeclared };
    };
    let code = if violation.has_undeclared_schema {
        "undeclared-event"
    } else if violation.has_schema_violated {
        "schema-violation"
    } else {
        "undeclared-field"
    };
    let blocked = verdict.action == Action::Block;
    let quarantined = blocked.then(|| Quarantined {
        id: event.id,
        stage: QuarantineStage::Contract.as_str(),
        scope: event.source.to_string(),
        code: code.to_owned(),
        message: violation.violations.join("; "),
        event: violation.payload.clone().into_bytes(),
        at_us: event.received_at_us,
        detail: None,
    });
    let record = ViolationRecord {
        source: Arc::clone(&event.source),
        position: event.id.position,
        message_id: event.message_id().to_owned(),
        received_at_us: event.received_at_us,
        payload: violation.payload,
        event_name: violation.event_name,
        event_type: violation.event_type,
        schema_version: violation.schema_version,
        has_undeclared_schema: violation.has_undeclared_schema,
        has_undeclared_fields: violation.has_undeclared_fields,
        has_schema_violated: violation.has_schema_violated,
        violations: violation.violations,
    };
    Judged { event: (!blocked).then_some(event), violation: Some(record), quarantined, undeclared }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refine::tests::written;

    /// Events, some that cannot be decoded, and bytes that are no record.
    fn chunk(records: u64) -> ReadChunk {
        let event = |offset: u64| match offset % 7 {
            3 => b"{\"type\":7}".to_vec(),
            _ => format!(r#"{{"type":"track","event":"E","messageId":"m{offset}"}}"#).into_bytes(),
        };
        let entry = |offset: u64| {
            let (shared, mut own) = written(&event(offset));
            if offset % 11 == 5 {
                own.truncate(1);
            }
            LogEntry { offset, shared: shared.into(), own: own.into() }
        };
        ReadChunk { records: (0..records).map(entry).collect(), damage: Vec::new(), next: records }
    }

    #[test]
    fn on_any_number_of_threads_the_same_is_read_in_the_same_order() {
        let rules = RuleSet::default();
        for records in [0, 1, 63, 64, 65, 1_000] {
            let chunk = chunk(records);
            let seen = |threads| {
                let work = RangeWork::new(&rules, (0, 0..records), &chunk, threads);
                let decoded: Vec<_> = work
                    .decoded
                    .iter()
                    .map(|decoded| (decoded.offset, decoded.id.clone(), decoded.event.as_ref().ok().cloned()))
                    .collect();
                let quarantined: Vec<_> = work.quarantined.iter().map(|entry| entry.id).collect();
                (decoded, quarantined, work.log_range.log_bytes)
            };
            let one = seen(1);
            assert_eq!(one.0.len() + one.1.len(), usize::try_from(records).unwrap());
            for threads in [2, 3, 16] {
                assert!(seen(threads) == one, "{records} records on {threads} threads");
            }
        }
    }
}
