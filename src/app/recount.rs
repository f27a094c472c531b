//! Counts the records of the log once more, by hour, source and event name, and compares that with what was counted when they were refined: a
//! second way that has nothing of the first but the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api_types::conservation::{LogRecount, RecountDifference};
use tidegate_event::record::{ErasedRecord, LoggedRecord};
use tidegate_event::{Position, RetryMark, decode, time};
use tidegate_log::{Log, LogPartitions};
use tidegate_process::clock;
use tidegate_state::{FURTHER_NAMES, State, UNREADABLE_NAME, fate_hour, fate_hour_begins_us, fate_name};

use super::AppError;

/// What is read of the log at once.
const READ_BYTES: usize = 4 << 20;
const READ_RECORDS: usize = 4_096;
/// Differences that are told.
const DIFFERENCES_MAX: usize = 100;
/// Hours of the last days are kept apart; those before are put together at some time.
const HOURS_COMPARED: i64 = 89 * 24;

/// What the log has.
#[derive(Default)]
struct RecountedLog {
    records: u64,
    events: BTreeMap<(String, i64, String), i64>,
    /// Sources with records that are retries: an edited event may have another name than when it came first.
    with_retries: BTreeSet<String>,
    /// Sources and hours with records that were erased: nobody knows any more which names those had.
    with_erased: BTreeSet<(String, i64)>,
    /// Before this hour the log has given records up.
    from_hour: i64,
}

/// Counts all records that are refined and counted. `state` is read, and may be written by others meanwhile.
pub(super) fn recount(log: &LogPartitions, state: &State) -> Result<LogRecount, AppError> {
    let accepted = state.accepted_at_one_moment()?;
    let begins: Vec<(u16, u64)> = accepted.begins.iter().map(|at| (at.partition, at.offset)).collect();
    let mut counted =
        RecountedLog { from_hour: fate_hour(clock::now_us()) - HOURS_COMPARED, ..RecountedLog::default() };
    let oldest_hour = counted.from_hour;
    for (partition, log) in log.iter() {
        let Some((_, first)) = begins.iter().find(|(number, _)| *number == partition) else { continue };
        let end = accepted.refined.iter().find(|at| at.partition == partition).map_or(0, |at| at.offset);
        counted.read(&**log, (partition, *first, end), &begins)?;
    }
    Ok(counted.compared(accepted.hours, oldest_hour))
}

impl RecountedLog {
    fn read(
        &mut self,
        log: &dyn Log,
        (partition, first, end): (u16, u64, u64),
        begins: &[(u16, u64)],
    ) -> Result<(), AppError> {
        let is_counted =
            |at: Position| begins.iter().any(|(number, first)| *number == at.partition && at.offset >= *first);
        let oldest = log.oldest();
        let mut at = first.max(oldest);
        let mut is_trimmed = oldest > first;
        let mut reader = if at < end { Some(log.reader(at)?) } else { None };
        while let Some(reader) = reader.as_mut().filter(|_| at < end) {
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            if chunk.next <= at {
                break;
            }
            for entry in chunk.records.iter().filter(|entry| entry.offset < end) {
                self.records += 1;
                if let Some(erased) = ErasedRecord::read(&entry.shared, &entry.own) {
                    if let Ok(erased) = erased {
                        let is_first = !erased.was_retry && std::mem::take(&mut is_trimmed);
                        self.erased(&erased, is_first);
                    }
                    continue;
                }
                let Ok(read) = LoggedRecord::read(&entry.shared, &entry.own) else { continue };
                let record = read.record();
                let mark = RetryMark::split(&entry.own).and_then(|(mark, _)| mark);
                // A retry has the time of its event, which came long before those around it.
                if mark.is_none() && std::mem::take(&mut is_trimmed) {
                    // Records of the same hour may be gone.
                    self.from_hour = self.from_hour.max(fate_hour(record.received_at_us) + 1);
                }
                if let Some(mark) = mark {
                    self.with_retries.insert(record.source.to_owned());
                    // It was counted when it came first, or is none of the source's.
                    if is_counted(mark.position) || !mark.for_sync.is_empty() {
                        continue;
                    }
                }
                let position = Position::new(partition, entry.offset);
                let (hour, name) = match decode::decode(&record, Arc::from(record.source), position) {
                    Ok(event) => (fate_hour(event.received_at_us), fate_name(&event.body).to_owned()),
                    Err(_) => (fate_hour(record.received_at_us), UNREADABLE_NAME.to_owned()),
                };
                *self.events.entry((record.source.to_owned(), hour, name)).or_default() += 1;
            }
            at = chunk.next;
        }
        if is_trimmed {
            // Nothing that is left tells when what is gone came.
            self.from_hour = self.from_hour.max(fate_hour(clock::now_us()) + 1);
        }
        Ok(())
    }

    /// A record that was erased is counted as it was when it had an event.
    fn erased(&mut self, erased: &ErasedRecord<'_>, is_first: bool) {
        let (source, hour) = (erased.source.to_owned(), fate_hour(erased.received_at_us));
        if is_first {
            self.from_hour = self.from_hour.max(hour + 1);
        }
        if erased.was_retry {
            self.with_retries.insert(source);
        } else {
            self.with_erased.insert((source.clone(), hour));
            *self.events.entry((source, hour, UNREADABLE_NAME.to_owned())).or_default() += 1;
        }
    }

    /// Holds the log against what was counted: by name where names are kept apart, else all names of an hour at once.
    fn compared(self, accepted: BTreeMap<(String, i64, String), i64>, oldest_hour: i64) -> LogRecount {
        let further: BTreeSet<(String, i64)> = accepted
            .keys()
            .filter(|(_, _, name)| name == FURTHER_NAMES)
            .map(|(source, hour, _)| (source.clone(), *hour))
            .collect();
        let mut sums: BTreeMap<(String, i64, Option<String>), (i64, i64)> = BTreeMap::new();
        let Self { records, events, with_retries, with_erased, from_hour } = self;
        let place = |(source, hour, name): (String, i64, String)| {
            let of_hour = (source.clone(), hour);
            let is_apart =
                !with_retries.contains(&source) && !further.contains(&of_hour) && !with_erased.contains(&of_hour);
            (source, hour, is_apart.then_some(name))
        };
        for (key, counted) in accepted.into_iter().filter(|(key, _)| key.1 >= from_hour) {
            sums.entry(place(key)).or_default().0 += counted;
        }
        for (key, in_log) in events.into_iter().filter(|(key, _)| key.1 >= from_hour) {
            sums.entry(place(key)).or_default().1 += in_log;
        }
        let compared = sums.len() as u64;
        let differences = sums.into_iter().filter(|(_, (counted, in_log))| counted != in_log);
        let differences = differences.take(DIFFERENCES_MAX).map(|((source, hour, event), (counted, in_log))| {
            RecountDifference { source, hour: time::format(fate_hour_begins_us(hour)), event, counted, in_log }
        });
        LogRecount {
            records,
            compared_from: (from_hour > oldest_hour).then(|| time::format(fate_hour_begins_us(from_hour))),
            compared,
            differences: differences.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::record::Record;
    use tidegate_log::{Frames, LogSettings, SegmentLog};

    use super::*;

    /// Adds a record of this hour, or a retry of the first record of the log.
    fn push(frames: &mut Frames, hour: i64, is_retry: bool) {
        let record = Record {
            problem: None,
            route: None,
            received_at_us: fate_hour_begins_us(hour),
            source: "web",
            ip: "",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: br#"{"type":"track","event":"E"}"#,
        };
        let position = Position::new(0, 0);
        let mark = RetryMark { position, part: 0, attempt: 1, stage: "contract", scope: "web", for_sync: "" };
        frames.begin(|out| record.write_shared(out));
        frames.push(|out| {
            if is_retry {
                mark.write(out);
            }
            record.write_own(out);
        });
    }

    #[test]
    fn a_trimmed_log_is_compared_from_its_first_record_that_is_no_retry() {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 1).unwrap();
        let writer = writer.run().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let append = |records: &[(i64, bool)]| {
            let mut frames = Frames::default();
            records.iter().for_each(|(hour, is_retry)| push(&mut frames, *hour, *is_retry));
            runtime.block_on(log.append_in_lane(0, frames)).unwrap();
            log.committed()
        };
        append(&[(10, false), (20, false)]);
        let sealed = log.seal().unwrap();
        let retried = append(&[(10, true)]);
        let end = append(&[(20, false), (21, false), (21, false)]);
        assert!(log.trim_below((sealed, sealed), i64::MAX).is_ok());
        assert_eq!(log.oldest(), sealed);
        let read = |end: u64| {
            let mut counted = RecountedLog::default();
            counted.read(&log, (0, 0, end), &[(0, 0)]).unwrap();
            counted
        };
        let counted = read(end);
        assert_eq!((counted.records, counted.from_hour), (4, 21));
        let compared: i64 =
            counted.events.iter().filter(|((_, hour, _), _)| *hour >= 21).map(|(_, events)| events).sum();
        assert_eq!(compared, 2);
        // The time of a retry says nothing.
        let now = fate_hour(clock::now_us());
        let counted = read(retried);
        assert_eq!(counted.records, 1);
        assert!(counted.from_hour > now);
        log.close();
        writer.join().unwrap();
    }
}
