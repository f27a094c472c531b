//! Finding records by their id in the archive, through the indexes that lie beside its segments.

use std::sync::Arc;

use tidegate_event::{Position, record_id};
use tidegate_log::{FoundRecords, Log};
use tidegate_state::{State, StateError};
use tokio::time::{Instant, timeout_at};

use super::search::{TraceHit, wanted};
use crate::api::TraceOrder;
use crate::app::archive::{ArchiveError, HeldSegment, LogArchive};

/// What was found in the archive.
#[derive(Debug, Default)]
pub(super) struct ArchivedHits {
    pub(super) records: Vec<TraceHit>,
    pub(super) has_more: bool,
    /// A sentence each.
    pub(super) not_looked_at: Vec<String>,
}

/// Looks for the records with an id in all segments that the log of a partition does not have any more.
pub(super) async fn look_for(
    archive: &Arc<LogArchive>,
    (partition, log): (u16, &dyn Log),
    (id, order): (&str, &TraceOrder),
    until: Instant,
    found: &mut ArchivedHits,
) {
    let is_over = || Instant::now() >= until;
    for segment in archive.segments(partition, &(0..log.oldest())) {
        if found.records.len() >= order.limit {
            found.has_more = true;
            return;
        }
        let (from, to) = (Position::new(partition, segment.first), Position::new(partition, segment.end));
        if is_over() {
            found.not_looked_at.push(format!("the archive from {from} on: there was no time for it; ask again"));
            return;
        }
        let key = (id.as_bytes(), record_id::message_id as tidegate_log::RecordKey);
        match timeout_at(until, archive.find(&segment, key, &is_over)).await {
            Ok(Ok(FoundRecords { records, has_more, left })) => {
                found.has_more |= has_more;
                found.records.extend(records.into_iter().filter_map(|entry| wanted(partition, entry, order)));
                if !left.is_empty() {
                    found
                        .not_looked_at
                        .push(format!("the archive from {from} on: there was no time for it; ask again"));
                    return;
                }
            }
            Ok(Err(error)) => found.not_looked_at.push(format!("the archive from {from} to before {to}: {error}")),
            Err(_) => {
                found.not_looked_at.push(format!("the archive from {from} on: it has not answered in time; ask again"));
                return;
            }
        }
    }
}

/// Has the log be able to read what was refined together with a record, for as long as the answer is kept.
pub(super) async fn hold(
    archive: &Arc<LogArchive>,
    (log, state): (&dyn Log, &State),
    at: Position,
) -> Result<Result<Vec<HeldSegment>, ArchiveError>, StateError> {
    let (mut held, oldest) = (Vec::new(), log.oldest());
    if at.offset >= oldest {
        return Ok(Ok(held));
    }
    let range = state.log_range_at(at.offset)?.map_or(at.offset..at.behind().offset, |(range, _)| range);
    for segment in archive.covering(at.partition, &(range.start..range.end.min(oldest))) {
        match archive.fetch(&segment).await {
            Ok(segment) => held.push(segment),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(held))
}
