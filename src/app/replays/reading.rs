//! How far a replay reads on: what of the log is kept for it, and what is fetched for it.

use tidegate_api_types::replay::ReplayPart;
use tidegate_state::State;

use super::ReplayWorker;
use crate::app::AppError;
use crate::app::replay_archive::ReplayReach;
use crate::app::running_syncs::SyncPlace;

impl ReplayWorker {
    /// Has the log of a partition keep what is at or above an offset.
    pub(super) fn hold(&mut self, partition: u16, offset: u64) {
        match self.held.get(&partition) {
            Some(held) => held.move_to(offset),
            None => drop(self.held.insert(partition, self.places.hold(partition, offset))),
        }
    }

    /// Has the log keep what comes next for a job; what lies in the archive is there without.
    pub(super) fn hold_next(&mut self, place: &SyncPlace, offset: u64) {
        let is_archived = self.archive.is_there() && offset < place.log.oldest();
        self.hold(place.refiner.partition(), if is_archived { u64::MAX } else { offset });
    }

    /// Nothing is kept any more.
    pub(super) fn let_go(&mut self) {
        self.held.clear();
        self.archive.clear();
    }

    /// Where the next step of a part ends, `end` at most; `None` when what comes next is gone, which is counted then.
    pub(super) async fn step_end(
        &mut self,
        (place, state): (&SyncPlace, &mut State),
        part: &mut ReplayPart,
        end: u64,
    ) -> Result<Option<u64>, AppError> {
        match self.archive.reach((place, state), part.at..end).await? {
            ReplayReach::Gone { to } => {
                part.missing += place.log.records(part.at, to);
                part.at = to;
                Ok(None)
            }
            ReplayReach::To { end, crosses } => {
                if crosses {
                    self.hold(part.partition, place.log.oldest());
                }
                Ok(Some(end))
            }
        }
    }
}
