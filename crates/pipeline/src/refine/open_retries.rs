//! Retried events on their way: which of them nothing goes on of, and why.
//!
//! A retried event has left the quarantine when functions and filters see it. What they leave of it goes to the syncs that have not had it, or is in
//! quarantine again; the rest is told here, so that it is counted and does not vanish.

use std::collections::BTreeMap;

use tidegate_event::{EventId, RetriedParts};
use tidegate_state::{EndedRetry, RetryEnding};

/// Retried events of one source or sync of which nothing goes on yet.
#[derive(Debug, Default)]
pub struct OpenRetries {
    /// By the offset of the record.
    open: BTreeMap<u64, OpenRetry>,
}

#[derive(Debug)]
struct OpenRetry {
    parts: RetriedParts,
    /// Functions of one sync may make the part yet.
    is_for_sync: bool,
    ending: RetryEnding,
}

impl OpenRetries {
    /// Adds one, which ends so if nothing more is said of it; `is_for_sync` while the functions of one sync are to come.
    pub(super) fn open(&mut self, offset: u64, parts: RetriedParts, (is_for_sync, ending): (bool, RetryEnding)) {
        self.open.insert(offset, OpenRetry { parts, is_for_sync, ending });
    }

    /// Functions have left this part of an event.
    pub fn goes_on(&mut self, id: EventId) {
        self.note(id, false);
    }

    /// This part of an event goes into quarantine.
    pub fn is_stopped(&mut self, id: EventId) {
        self.note(id, true);
    }

    fn note(&mut self, id: EventId, is_stopped: bool) {
        let offset = id.position.offset;
        let Some(retry) = self.open.get_mut(&offset) else { return };
        let is_origin = (is_stopped || retry.is_for_sync) && retry.parts.comes_of(id.part);
        if retry.parts.takes(id.part) || is_origin {
            self.open.remove(&offset);
        } else {
            retry.ending = RetryEnding::NotMade;
        }
    }

    /// Those of which nothing goes on, by offset.
    #[must_use]
    pub fn ended(self) -> Vec<EndedRetry> {
        self.open.into_iter().map(|(offset, retry)| EndedRetry { offset, by: retry.ending }).collect()
    }
}

/// How many of them functions have made something of, and not the part that was quarantined. Nothing else counts those.
#[must_use]
pub fn not_made(ended: &[EndedRetry]) -> u64 {
    ended.iter().filter(|ended| ended.by == RetryEnding::NotMade).count() as u64
}

/// Says that functions make nothing any more of parts that were retried.
pub fn tell_not_made(scope: &str, ended: &[EndedRetry]) {
    let events = not_made(ended);
    if events > 0 {
        tracing::warn!(
            scope,
            events,
            "functions do not make the parts any more that were retried; these have left the quarantine, go nowhere, and are counted \
             as filtered (`tidegate quarantine jobs` says of which job they are)"
        );
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::Position;

    use super::*;

    fn id(offset: u64, part: u32) -> EventId {
        EventId::new(Position::new(0, offset), part)
    }

    #[test]
    fn what_nothing_goes_on_of_says_why() {
        let mut open = OpenRetries::default();
        for (offset, part) in [(1, 0), (2, 0), (3, 2), (4, 2), (5, 2)] {
            open.open(offset, RetriedParts::of("function", part), (false, RetryEnding::Dropped));
        }
        open.goes_on(id(2, 7));
        open.goes_on(id(3, 0));
        open.goes_on(id(3, 1));
        open.is_stopped(id(4, 0));
        open.goes_on(id(5, 2));
        open.goes_on(id(9, 0));
        let ended = open.ended();
        let told: Vec<_> = ended.iter().map(|ended| (ended.offset, ended.by)).collect();
        assert_eq!(told, [(1, RetryEnding::Dropped), (3, RetryEnding::NotMade)]);
        assert_eq!(not_made(&ended), 1);
    }

    #[test]
    fn what_functions_of_a_sync_may_make_of_a_part_is_open_for_them() {
        let mut open = OpenRetries::default();
        open.open(1, RetriedParts::of("destination", 1_025), (true, RetryEnding::Dropped));
        open.open(2, RetriedParts::of("destination", 1_025), (true, RetryEnding::Dropped));
        open.goes_on(id(1, 1));
        open.goes_on(id(2, 2));
        assert_eq!(open.ended(), [EndedRetry { offset: 2, by: RetryEnding::NotMade }]);
    }
}
