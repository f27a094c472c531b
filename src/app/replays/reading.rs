//! How far a replay reads on: what of the log is kept for it, what is fetched for it, and that it gives way to what arrives.

use std::time::Duration;

use tidegate_api_types::replay::ReplayPart;
use tidegate_state::{State, StateError};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{HeldPart, ReplayWorker};
use crate::app::AppError;
use crate::app::replay_archive::ReplayReach;
use crate::app::running_syncs::SyncPlace;

/// Records that may wait to be refined while a replay reads on; it waits for so many looks at most.
const LIVE_WAITING_MAX: u64 = 2_048;
const LIVE_LOOKS_MAX: u32 = 20;
const LIVE_PAUSE: Duration = Duration::from_millis(50);

impl ReplayWorker {
    /// Has the log of a partition keep what is at or above an offset.
    pub(super) fn hold(&mut self, partition: u16, offset: u64) {
        if let Some(part) = self.held.get(&partition) {
            part.at.send_replace(offset);
            return;
        }
        let (at, cursor) = watch::channel(offset);
        let held = self.places.hold(partition, cursor);
        self.held.insert(partition, HeldPart { at, _held: held });
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

    /// Lets what arrives come first, for a while.
    pub(super) async fn give_way(&mut self) -> Result<(), AppError> {
        for _ in 0..LIVE_LOOKS_MAX {
            if self.unrefined()? <= LIVE_WAITING_MAX {
                break;
            }
            sleep(LIVE_PAUSE).await;
        }
        Ok(())
    }

    /// Records of the log that wait to be refined.
    fn unrefined(&self) -> Result<u64, StateError> {
        let mut records = 0;
        for place in self.places.places.iter() {
            let committed = place.log.committed();
            let refined_to = self.state.refined_to_of(place.refiner.partition())?.unwrap_or(committed);
            records += place.log.records(refined_to.min(committed), committed);
        }
        Ok(records)
    }
}
