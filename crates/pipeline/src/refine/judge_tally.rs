//! What became of the events of one source in a log range.

use std::collections::HashMap;

use tidegate_contract::BrokenRules;
use tidegate_event::time::{ReadAs, SENT_AT_READ_AS, TIMESTAMP_READ_AS};
use tidegate_event::{Event, ViolationRecord};
use tidegate_state::{FateTally, KeyedEvents, UNREADABLE_NAME, ViolatingEvent, ViolationTally, fate_hour};

use super::left_out::{ErasedEntry, RecordVerdict};
use crate::fates::key_of_unmapped;

/// What became of the events of one source.
#[derive(Default)]
pub(super) struct JudgeTally {
    pub(super) accepted: u64,
    /// Events of the quarantine that were tried once more.
    pub(super) retried: u64,
    pub(super) duplicates: u64,
    /// Events about somebody who is left out.
    pub(super) suppressed: u64,
    /// Events that were older than their source keeps events.
    pub(super) expired: u64,
    pub(super) quarantined: u64,
    pub(super) violations: u64,
    /// Events with a client's time that cannot be read: they bear the time of receipt, or one that was not corrected.
    pub(super) unreadable_times: u64,
    /// What is undeclared and allowed, by name.
    pub(super) undeclared: HashMap<String, u64>,
    /// By hour and name.
    pub(super) fates: FateTally,
    /// What events break of their contract.
    pub(super) broken: ViolationTally,
    /// Events that go on, in the parts of the log range.
    pub(super) judged: u64,
}

/// Names counted in one log range; what comes beyond is counted together.
const UNDECLARED_MAX: usize = 1_000;

/// Whether a client's time of the event could not be read.
pub(super) fn time_is_unreadable(event: &Event) -> bool {
    let Some(context) = event.body.get("context") else { return false };
    let mut words = [TIMESTAMP_READ_AS, SENT_AT_READ_AS].into_iter().filter_map(|field| context.get(field)?.as_str());
    words.any(|word| Some(word) == ReadAs::Unreadable.as_str())
}

impl JudgeTally {
    /// Counts a record by its verdict.
    pub(super) fn came(&mut self, event: Option<&Event>, received_at_us: i64, verdict: RecordVerdict) {
        let key = event.map_or((fate_hour(received_at_us), UNREADABLE_NAME), key_of_unmapped);
        self.fates.add(key, |counts| {
            counts.came += 1;
            *match verdict {
                RecordVerdict::GoesOn => &mut counts.went_on,
                RecordVerdict::Duplicate => &mut counts.duplicates,
                RecordVerdict::Suppressed => &mut counts.suppressed,
                RecordVerdict::Expired => &mut counts.expired,
            } += 1;
        });
    }

    /// Counts a record that was erased before it was refined.
    pub(super) fn erased(&mut self, entry: &ErasedEntry) {
        self.accepted += 1;
        let verdict = if entry.is_expired {
            self.expired += 1;
            RecordVerdict::Expired
        } else {
            self.suppressed += 1;
            RecordVerdict::Suppressed
        };
        self.came(None, entry.received_at_us, verdict);
    }

    /// Counts what an event breaks of its contract.
    pub(super) fn breaks(&mut self, violation: &ViolationRecord, broken: &BrokenRules) {
        let event = ViolatingEvent {
            received_at_us: violation.received_at_us,
            kind: violation.event_type.as_str(),
            name: violation.event_name.as_deref().unwrap_or_default(),
            is_declared: broken.is_declared,
            release: &broken.release,
        };
        self.broken.add(&event, broken.rules.iter().map(|rule| (rule.place.as_str(), rule.keyword.as_str())));
    }

    /// So many events go on in a log range. Answers how many under each key, where that is counted and holds for each of them.
    pub(super) fn goes_on(&mut self, events: usize, is_counted: bool) -> Option<Vec<KeyedEvents>> {
        self.judged = events as u64;
        self.fates.went_on_by_key(events).filter(|_| is_counted)
    }

    pub(super) fn undeclared(&mut self, names: Vec<String>) {
        for name in names {
            let has_room = self.undeclared.len() < UNDECLARED_MAX || self.undeclared.contains_key(&name);
            *self.undeclared.entry(if has_room { name } else { "others".to_owned() }).or_default() += 1;
        }
    }
}
