//! The records that quarantined events came in: in the log for as long as it keeps them, and in the state from before it gives them up.

use std::collections::BTreeSet;

use tidegate_event::{Position, RetryMark};
use tidegate_log::{Log, LogEntry, LogError, LogPartitions};
use tidegate_state::{KeptOriginal, State};

use super::AppError;

/// Offsets that are asked for at once.
const OFFSETS_MAX: u64 = 1_024;
/// What is kept in one transaction.
const BATCH_BYTES: usize = 4 << 20;
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 256;
/// Records that are read over; for more a reader begins anew.
const NEAR_RECORDS: u64 = 1_024;

/// The record at a position; `None` when nobody has it any more.
pub(super) fn original(log: &LogPartitions, state: &State, at: Position) -> Result<Option<KeptOriginal>, AppError> {
    if let Some(found) = state.original(at)? {
        return Ok(Some(found));
    }
    match log.iter().find(|(number, _)| *number == at.partition) {
        Some((_, log)) => Ok(in_log(&**log, at.offset)?),
        None => Ok(None),
    }
}

fn in_log(log: &dyn Log, offset: u64) -> Result<Option<KeptOriginal>, LogError> {
    if offset < log.oldest() || offset >= log.committed() {
        return Ok(None);
    }
    let mut reader = match log.reader(offset) {
        Err(LogError::Trimmed { .. }) => return Ok(None),
        reader => reader?,
    };
    let chunk = reader.read(READ_BYTES, 1)?;
    Ok(chunk.records.iter().find(|entry| entry.offset == offset).and_then(kept))
}

/// A record without what says that it is a retry.
fn kept(entry: &LogEntry) -> Option<KeptOriginal> {
    let (_, own) = RetryMark::split(&entry.own)?;
    Some(KeptOriginal { offset: entry.offset, shared: entry.shared.to_vec(), own: own.to_vec() })
}

/// Keeps in the state what the log has of entries below `to`: that is about to go. False when `is_over` said so before the end.
pub(super) fn keep(log: &dyn Log, state: &mut State, to: u64, is_over: &dyn Fn() -> bool) -> Result<bool, AppError> {
    let mut from = log.oldest();
    loop {
        let offsets = state.without_original((from, to), OFFSETS_MAX)?;
        let Some(last) = offsets.last().copied() else { break };
        if !keep_some(log, state, &offsets.into_iter().collect(), is_over)? {
            return Ok(false);
        }
        // What could not be read now cannot be read later.
        from = Position::new(state.partition(), last).behind().offset;
    }
    state.forget_originals()?;
    Ok(true)
}

fn keep_some(
    log: &dyn Log,
    state: &mut State,
    wanted: &BTreeSet<u64>,
    is_over: &dyn Fn() -> bool,
) -> Result<bool, AppError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut next = wanted.first().copied();
    while let Some(first) = next {
        let mut reader = log.reader(first)?;
        loop {
            if is_over() {
                return Ok(false);
            }
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            if chunk.next <= first {
                state.keep_originals(&found)?;
                return Ok(true);
            }
            for entry in chunk.records.iter().filter(|entry| wanted.contains(&entry.offset)) {
                bytes += entry.shared.len() + entry.own.len();
                found.extend(kept(entry));
                // What many records share is copied for each.
                if bytes > BATCH_BYTES {
                    state.keep_originals(&std::mem::take(&mut found))?;
                    bytes = 0;
                }
            }
            next = wanted.range(chunk.next..).next().copied();
            let is_near = next.is_some_and(|next| log.records(chunk.next, next) < NEAR_RECORDS);
            let is_end = chunk.records.is_empty() && chunk.damage.is_empty();
            if is_end {
                state.keep_originals(&found)?;
                return Ok(true);
            }
            if !is_near {
                break;
            }
        }
    }
    state.keep_originals(&found)?;
    Ok(true)
}
