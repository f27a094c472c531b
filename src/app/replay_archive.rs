//! What of a replay the log does not have any more: it is fetched from the archive before it is read, a few segments at a time.

use std::ops::Range;
use std::sync::Arc;

use tidegate_log::Log;
use tidegate_state::State;

use super::archive::{HeldSegment, LogArchive};
use super::running_syncs::SyncPlace;
use super::{AppError, log_times};

/// How far clocks may be off, microseconds: a segment that was sealed so long before a time has nothing that was received then.
const SLACK_US: i64 = 3_600_000_000;

/// How far a replay can read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayReach {
    /// To before this offset. `crosses`: from the archive into the log, which must keep what it has for it.
    To { end: u64, crosses: bool },
    /// Nothing below this offset is there any more.
    Gone { to: u64 },
}

/// The archive as a replay reads it.
pub(super) struct ReplayArchive {
    archive: Option<Arc<LogArchive>>,
    /// What it has fetched and still needs.
    held: Vec<HeldSegment>,
}

impl ReplayArchive {
    pub(super) const fn new(archive: Option<Arc<LogArchive>>) -> Self {
        Self { archive, held: Vec::new() }
    }

    pub(super) const fn is_there(&self) -> bool {
        self.archive.is_some()
    }

    /// Whether it is known what can be read.
    pub(super) fn is_known(&self) -> bool {
        self.archive.as_ref().is_none_or(|archive| archive.is_known())
    }

    /// Removes what was fetched.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Records of a range, at most, that the log had to give up before they were archived.
    pub(super) fn lost(&self, partition: u16, range: &Range<u64>) -> u64 {
        self.archive.as_ref().map_or(0, |archive| archive.lost(partition, range))
    }

    /// Fetches what is needed to read from the start of `range` on, and removes what is not needed any more.
    pub(super) async fn reach(
        &mut self,
        (place, state): (&SyncPlace, &mut State),
        range: Range<u64>,
    ) -> Result<ReplayReach, AppError> {
        let Range { start: at, end } = range;
        let oldest = place.log.oldest();
        if at >= oldest {
            self.held.clear();
            return Ok(ReplayReach::To { end, crosses: false });
        }
        let Some(archive) = self.archive.clone() else { return Ok(ReplayReach::Gone { to: oldest.min(end) }) };
        let partition = place.refiner.partition();
        // A log range is refined as a whole.
        let known = state.log_range_at(at)?.map(|(range, _)| range);
        let Some(within) = known else {
            // What became of it is not known any more, so nobody can tell what is to be replayed.
            let to = state.log_ranges_from()?.unwrap_or(oldest);
            return Ok(ReplayReach::Gone { to: if to > at { to.min(end) } else { oldest.min(end) } });
        };
        // What the log has yet it keeps, and reads itself: a copy would not have what is erased there meanwhile.
        let needed = archive.covering(partition, &(within.start..within.end.min(oldest)));
        let Some(last) = needed.first().filter(|first| first.first <= within.start).and(needed.last()) else {
            return Ok(ReplayReach::Gone { to: within.end.min(end) });
        };
        let covered = last.end;
        let is_needed = |held: &HeldSegment| {
            held.partition() == partition && needed.iter().any(|segment| segment.first == held.range().start)
        };
        self.held.retain(is_needed);
        for segment in &needed {
            if self.held.iter().all(|held| held.range().start != segment.first) {
                self.held.push(archive.fetch(segment).await?);
            }
        }
        if within.end > covered {
            return Ok(ReplayReach::To { end: within.end.min(end), crosses: true });
        }
        // What is fetched is read to its last whole log range.
        let at_end = state.log_range_at(covered.saturating_sub(1))?.map(|(range, _)| range);
        let whole = at_end.map_or(within.end, |last| if last.end <= covered { last.end } else { last.start });
        Ok(ReplayReach::To { end: whole.max(within.end).min(end), crosses: false })
    }

    /// The smallest part of `range` that has all its records that were received at these times, as [`log_times::received_within`] finds it; segments
    /// of the archive are fetched for it, one after the other.
    pub(super) async fn received_within(
        &self,
        place: &SyncPlace,
        range: Range<u64>,
        times: &Range<i64>,
    ) -> Result<Option<Range<u64>>, AppError> {
        let log: &dyn Log = &*place.log;
        let (partition, oldest) = (place.refiner.partition(), log.oldest());
        let mut found = None;
        if let Some(archive) = &self.archive {
            for segment in archive.segments(partition, &(range.start..range.end.min(oldest))) {
                if segment.sealed_at_us < times.start.saturating_sub(SLACK_US) {
                    continue;
                }
                let part = segment.first.max(range.start)..segment.end.min(range.end);
                let _held = archive.fetch(&segment).await?;
                found = joined(found, log_times::received_within(log, part, times).await?);
            }
        }
        let of_log = range.start.max(oldest)..range.end;
        Ok(joined(found, log_times::received_within(log, of_log, times).await?))
    }
}

fn joined(one: Option<Range<u64>>, other: Option<Range<u64>>) -> Option<Range<u64>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.start.min(other.start)..one.end.max(other.end)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_are_one_with_what_lies_between() {
        assert_eq!(joined(Some(1..3), Some(7..9)), Some(1..9));
        assert_eq!(joined(None, Some(7..9)), Some(7..9));
        assert_eq!(joined(None, None), None);
    }
}
