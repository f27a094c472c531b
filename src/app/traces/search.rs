//! Finding records: by their id through the indexes of the log, by user, name and time among the newest, window by window.

use std::collections::{BTreeSet, VecDeque};

use tidegate_event::record::{ErasedRecord, LoggedRecord};
use tidegate_event::{Event, Position, decode, record_id};
use tidegate_log::{FOUND_MAX, FoundRecords, Log, LogEntry, LogError, LogPartitions};
use tidegate_pipeline::tap::is_of_user;

use crate::api::TraceOrder;

/// Records of one window.
const WINDOW_RECORDS: u64 = 8_192;
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_000;
/// Records that one search without an id looks at.
const RECORDS_MAX: u64 = 400_000;
/// How far clocks and partitions may disagree about the order of records, microseconds.
const SLACK_US: i64 = 60_000_000;

/// A record of the log.
#[derive(Debug, Clone)]
pub(super) struct TraceHit {
    pub(super) partition: u16,
    pub(super) entry: LogEntry,
    pub(super) received_at_us: i64,
}

impl TraceHit {
    pub(super) const fn position(&self) -> Position {
        Position::new(self.partition, self.entry.offset)
    }
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct TraceHits {
    pub(super) records: Vec<TraceHit>,
    /// Of a search by an id: all that have it, of all sources, as they were received.
    pub(super) of_id: Vec<TraceHit>,
    pub(super) has_more: bool,
    pub(super) not_looked_at: Vec<String>,
    /// Older records than this were not looked at, microseconds since the epoch.
    pub(super) look_until_us: Option<i64>,
    /// When the oldest record was received that the log has, microseconds since the epoch.
    pub(super) log_since_us: Option<i64>,
}

/// Finds the records that an order is about.
pub(super) fn search(
    log: &LogPartitions,
    order: &TraceOrder,
    is_over: &dyn Fn() -> bool,
) -> Result<TraceHits, LogError> {
    let mut found = match &order.message_id {
        Some(id) => by_id(log, (id, order), is_over)?,
        None => newest(log, order, is_over)?,
    };
    for (_, log) in log.iter() {
        found.log_since_us = found.log_since_us.into_iter().chain(received_at(&**log, log.oldest())?).min();
    }
    Ok(found)
}

fn by_id(
    log: &LogPartitions,
    (id, order): (&str, &TraceOrder),
    is_over: &dyn Fn() -> bool,
) -> Result<TraceHits, LogError> {
    let (mut found, any) = (TraceHits::default(), TraceOrder::default());
    for (partition, log) in log.iter() {
        let FoundRecords { records, has_more, left } = log.find_key(id.as_bytes(), record_id::message_id, is_over)?;
        found.has_more |= has_more;
        for range in left.iter().filter(|range| !range.is_empty()) {
            let (from, to) = (Position::new(partition, range.start), Position::new(partition, range.end));
            found.not_looked_at.push(format!(
                "the records from {from} to before {to}: they are lost, or there was no time for them; ask again"
            ));
        }
        for entry in records {
            found.records.extend(wanted(partition, entry.clone(), order));
            found.of_id.extend(wanted(partition, entry, &any));
        }
    }
    for records in [&mut found.records, &mut found.of_id] {
        records.sort_by_key(|found| (found.received_at_us, found.position()));
    }
    if found.has_more && found.records.len() < order.limit {
        found.not_looked_at.push(format!(
            "records behind the first {FOUND_MAX} with this id: the ones that are asked for may be among them"
        ));
    }
    found.has_more |= found.records.len() > order.limit;
    found.records.truncate(order.limit);
    Ok(found)
}

/// The records that have this id, of all sources, as they were received; the first ones where there are many.
pub(super) fn same_id(log: &LogPartitions, id: &[u8], is_over: &dyn Fn() -> bool) -> Result<Vec<TraceHit>, LogError> {
    let mut same = Vec::new();
    for (partition, log) in log.iter() {
        let found = log.find_key(id, record_id::message_id, is_over)?;
        same.extend(found.records.into_iter().filter_map(|entry| wanted(partition, entry, &TraceOrder::default())));
    }
    same.sort_by_key(|found| (found.received_at_us, found.position()));
    Ok(same)
}

/// The record, if it is of what is asked for.
pub(super) fn wanted(partition: u16, entry: LogEntry, order: &TraceOrder) -> Option<TraceHit> {
    let read = LoggedRecord::read(&entry.shared, &entry.own).ok()?;
    let record = read.record();
    let received_at_us = record.received_at_us;
    let is_of_source = order.source.as_deref().is_none_or(|source| source == record.source)
        && order.sources.as_ref().is_none_or(|sources: &BTreeSet<String>| sources.contains(record.source));
    let is_of_time = order.since_us.is_none_or(|since_us| received_at_us >= since_us)
        && order.until_us.is_none_or(|until_us| received_at_us < until_us);
    if !is_of_source || !is_of_time {
        return None;
    }
    if order.user.is_some() || order.event.is_some() {
        // What is no event is of nobody, and has no name.
        let event = decode::decode(&record, record.source.into(), Position::new(partition, entry.offset)).ok()?;
        if !is_like(&event, order) {
            return None;
        }
    }
    Some(TraceHit { partition, entry, received_at_us })
}

fn is_like(event: &Event, order: &TraceOrder) -> bool {
    order.user.as_deref().is_none_or(|user| is_of_user(event, user))
        && order.event.as_deref().is_none_or(|name| event.name() == Some(name))
}

/// The newest records that are like that, the newest first.
fn newest(log: &LogPartitions, order: &TraceOrder, is_over: &dyn Fn() -> bool) -> Result<TraceHits, LogError> {
    let mut found = TraceHits::default();
    let records_max = RECORDS_MAX / u64::from(log.count()).max(1);
    for (partition, log) in log.iter() {
        let mut of_partition = Vec::new();
        let broken_off = newest_in(&**log, (partition, order, records_max), is_over, &mut of_partition)?;
        // Of all partitions the newest of these counts: what is older was not looked at everywhere.
        found.look_until_us = found.look_until_us.max(broken_off);
        found.records.extend(of_partition);
    }
    // Never later than what was asked for, so that whoever goes on there comes to an end.
    found.look_until_us = found.look_until_us.map(|at_us| order.until_us.map_or(at_us, |until_us| at_us.min(until_us)));
    found.records.sort_by_key(|found| std::cmp::Reverse((found.received_at_us, found.position())));
    if let Some(until_us) = found.look_until_us {
        // Older ones come when it goes on there.
        found.records.retain(|found| found.received_at_us >= until_us);
        found.not_looked_at.push(
            "the search was broken off: many records lie between those that are like that; go on with `continue_until`"
                .to_owned(),
        );
    }
    found.has_more = found.look_until_us.is_some() || found.records.len() > order.limit;
    found.records.truncate(order.limit);
    if found.records.len() == order.limit {
        // What was left away is found from the last one on.
        found.look_until_us = None;
        found.not_looked_at.clear();
    }
    Ok(found)
}

/// The same in one partition. Where it was broken off it answers when the oldest record was received that was looked at, and a microsecond: others
/// that came with that one were not looked at.
fn newest_in(
    log: &dyn Log,
    (partition, order, records_max): (u16, &TraceOrder, u64),
    is_over: &dyn Fn() -> bool,
    found: &mut Vec<TraceHit>,
) -> Result<Option<i64>, LogError> {
    let oldest = log.oldest();
    let windows = log.records(oldest, log.committed()).div_ceil(WINDOW_RECORDS);
    let first = skipped_windows(log, order, windows)?;
    let mut end = if first == 0 { log.committed() } else { log.newest(first * WINDOW_RECORDS) };
    let mut looked_at = 0;
    for window in first..windows {
        let start = log.newest((window + 1) * WINDOW_RECORDS);
        if looked_at >= records_max || is_over() {
            return Ok(received_at(log, end)?.map(|at_us| at_us.saturating_add(1)));
        }
        let mut of_window: VecDeque<TraceHit> = VecDeque::new();
        let mut reader = match log.reader(start) {
            // It was trimmed away meanwhile.
            Err(LogError::Trimmed { .. }) => return Ok(None),
            reader => reader?,
        };
        let (mut newest_us, mut oldest_us) = (i64::MIN, i64::MAX);
        while reader.next() < end {
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            if chunk.records.is_empty() && chunk.damage.is_empty() {
                break;
            }
            for entry in chunk.records.into_iter().filter(|entry| entry.offset < end) {
                if let Some(at_us) = time_of(&entry) {
                    (newest_us, oldest_us) = (newest_us.max(at_us), oldest_us.min(at_us));
                }
                let copied = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
                // A copy, so that one record does not hold what was read around it.
                of_window.extend(wanted(partition, entry, order).map(|found| {
                    let LogEntry { offset, shared, own } = found.entry;
                    let entry = LogEntry { offset, shared: copied(&shared), own: copied(&own) };
                    TraceHit { entry, ..found }
                }));
                // With one more than is asked for it is known that there are more.
                if of_window.len() > order.limit.saturating_add(1) {
                    of_window.pop_front();
                }
            }
        }
        found.extend(of_window.into_iter().rev());
        end = start;
        // What is newer than what is asked for leads no further back.
        if order.until_us.is_none_or(|until_us| oldest_us < until_us) {
            looked_at += WINDOW_RECORDS;
        }
        let is_too_old = order.since_us.is_some_and(|since_us| newest_us < since_us.saturating_sub(SLACK_US));
        if found.len() > order.limit || (is_too_old && newest_us > i64::MIN) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// How many of the newest windows hold nothing that was received before the end of the time that is asked for.
fn skipped_windows(log: &dyn Log, order: &TraceOrder, windows: u64) -> Result<u64, LogError> {
    let Some(until_us) = order.until_us else { return Ok(0) };
    let (mut low, mut high) = (0, windows);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let first_at_us = received_at(log, log.newest(middle * WINDOW_RECORDS))?;
        // Windows up to this one begin later than what is asked for.
        if first_at_us.is_some_and(|at_us| at_us >= until_us.saturating_add(SLACK_US)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// When the first record at or behind an offset was received.
fn received_at(log: &dyn Log, offset: u64) -> Result<Option<i64>, LogError> {
    let mut reader = match log.reader(offset) {
        Err(LogError::Trimmed { .. }) => return Ok(None),
        reader => reader?,
    };
    let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
    Ok(chunk.records.iter().find_map(time_of))
}

/// When a record was received, microseconds since the epoch; of one whose event was forgotten as well.
fn time_of(entry: &LogEntry) -> Option<i64> {
    if let Ok(read) = LoggedRecord::read(&entry.shared, &entry.own) {
        return Some(read.record().received_at_us);
    }
    let erased = ErasedRecord::read(&entry.shared, &entry.own)?.ok()?;
    Some(erased.received_at_us).filter(|at_us| *at_us > 0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tidegate_event::record::Record;
    use tidegate_log::{Frames, LogSettings, SegmentLog};

    use super::*;

    fn record() -> Record<'static> {
        Record {
            problem: None,
            route: None,
            received_at_us: 0,
            source: "web",
            ip: "",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: br#"{"type":"track","event":"E"}"#,
        }
    }

    /// Adds a record that was received then.
    fn push(frames: &mut Frames, received_at_us: i64) {
        let record = Record { received_at_us, ..record() };
        frames.begin(|out| record.write_shared(out));
        frames.push(|out| record.write_own(out));
    }

    #[test]
    fn when_a_record_came_is_known_though_its_event_was_forgotten() {
        let record = Record { received_at_us: 7, ..record() };
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        record.write_shared(&mut shared);
        record.write_own(&mut own);
        let erased = ErasedRecord::of(&shared, &own, 1).unwrap().own(false);
        let entry = |own: &[u8]| LogEntry { offset: 0, shared: shared.clone().into(), own: own.to_vec().into() };
        assert_eq!(
            [time_of(&entry(&own)), time_of(&entry(&erased)), time_of(&entry(b"\x09"))],
            [Some(7), Some(7), None]
        );
        assert!(wanted(0, entry(&erased), &TraceOrder::default()).is_none(), "nothing is left to find");
    }

    #[test]
    fn a_search_keeps_no_more_than_what_is_asked_for_and_the_newest_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 1).unwrap();
        let writer = writer.run().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut frames = Frames::default();
        (0..1_000).for_each(|number| push(&mut frames, number));
        runtime.block_on(log.append_in_lane(0, frames)).unwrap();
        let order = TraceOrder { limit: 3, ..TraceOrder::default() };
        let mut found = Vec::new();
        assert_eq!(newest_in(&log, (0, &order, u64::MAX), &|| false, &mut found).unwrap(), None);
        let offsets: Vec<u64> = found.iter().map(|found| found.entry.offset).collect();
        assert_eq!(offsets, [999, 998, 997, 996], "one more, so that it is known that there are more");
        log.close();
        writer.join().unwrap();
    }

    #[test]
    fn a_search_that_goes_on_where_it_was_broken_off_finds_all_of_a_batch_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 1).unwrap();
        let writer = writer.run().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // The second window begins in the middle of what came at once.
        let records = 3 * WINDOW_RECORDS;
        let mut frames = Frames::default();
        for number in 0..records {
            push(&mut frames, i64::try_from(number / 10_000).unwrap());
        }
        runtime.block_on(log.append_in_lane(0, frames)).unwrap();
        let mut order = TraceOrder { limit: usize::MAX, ..TraceOrder::default() };
        let (looks, mut first) = (Cell::new(0), Vec::new());
        let is_over = || looks.replace(looks.get() + 1) > 0;
        let until_us = newest_in(&log, (0, &order, u64::MAX), &is_over, &mut first).unwrap();
        assert_eq!(until_us, Some(2), "the records of time 1 are in the window behind as well");
        first.retain(|found| Some(found.received_at_us) >= until_us);
        order.until_us = until_us;
        let mut rest = Vec::new();
        assert_eq!(newest_in(&log, (0, &order, u64::MAX), &|| false, &mut rest).unwrap(), None);
        let mut offsets: Vec<u64> = first.iter().chain(&rest).map(|found| found.entry.offset).collect();
        offsets.sort_unstable();
        assert!(offsets == (0..records).collect::<Vec<u64>>(), "{} of {records}", offsets.len());
        log.close();
        writer.join().unwrap();
    }
}
