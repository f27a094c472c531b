//! Where in the log a time is: by when records were received. Clocks may have gone back, and records of retried events have the times of when
//! those came first.

use std::ops::Range;

use tidegate_event::record::{ErasedRecord, LoggedRecord};
use tidegate_event::{Position, RetryMark};
use tidegate_log::{Log, LogEntry, LogError};

/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_024;
/// Records among which one says when it came.
const LOOKED_AT: usize = 64;

fn received(entry: &LogEntry) -> Option<i64> {
    LoggedRecord::read(&entry.shared, &entry.own).ok().map(|read| read.record().received_at_us)
}

/// When a record was received that was erased since; of one that could not be read nobody knows.
fn erased_received(entry: &LogEntry) -> Option<i64> {
    let erased = ErasedRecord::read(&entry.shared, &entry.own)?.ok()?;
    Some(erased.received_at_us).filter(|at_us| *at_us > 0 && !erased.was_retry)
}

/// When the first record at or behind an offset was received, as far as that can be told.
pub(super) fn received_at(log: &dyn Log, offset: u64) -> Result<Option<i64>, LogError> {
    let mut reader = match log.reader(offset) {
        Err(LogError::Trimmed { .. }) => return Ok(None),
        reader => reader?,
    };
    let chunk = reader.read(READ_BYTES, LOOKED_AT)?;
    let is_first = |entry: &&LogEntry| !matches!(RetryMark::split(&entry.own), Some((Some(_), _)));
    let found = chunk.records.iter().filter(is_first).find_map(received);
    Ok(found.or_else(|| chunk.records.iter().find_map(erased_received)))
}

/// About the first record that was received then or later; the end of the log where there is none.
pub(super) fn first_since(log: &dyn Log, at_us: i64) -> Result<u64, LogError> {
    // As many of the newest records were received then or later; where nobody can tell, rather more.
    let (mut low, mut high) = (0, log.records(log.oldest(), log.committed()));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if received_at(log, log.newest(middle))?.is_none_or(|received| received >= at_us) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(if low == 0 { log.committed() } else { log.newest(low) })
}

/// The smallest part of `range` that has all its records that were received at these times, also those that were erased since; `None` where
/// there is none. It reads all of it.
pub(super) async fn received_within(
    log: &dyn Log,
    range: Range<u64>,
    times: &Range<i64>,
) -> Result<Option<Range<u64>>, LogError> {
    let mut found: Option<Range<u64>> = None;
    if range.is_empty() {
        return Ok(found);
    }
    let mut reader = log.reader(range.start)?;
    while reader.next() < range.end {
        let is_end = {
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            for entry in chunk.records.iter().filter(|entry| entry.offset < range.end) {
                let received = received(entry).or_else(|| erased_received(entry));
                if received.is_some_and(|received| times.contains(&received)) {
                    let end = Position::new(0, entry.offset).behind().offset;
                    found = Some(found.map_or(entry.offset, |found| found.start)..end);
                }
            }
            chunk.records.is_empty() && chunk.damage.is_empty()
        };
        if is_end {
            break;
        }
        // Others have their turn, and whoever waits for this may leave.
        tokio::task::yield_now().await;
    }
    Ok(found)
}
