//! What whoever listens is shown of a log range while it is judged.

use tidegate_event::Event;
use tidegate_state::Quarantined;

use crate::tap::{EventHead, EventTaps, TapOutcome, TapPicks, TapStage};

/// The events of a log range that are shown; none where nobody wants to see them.
pub(super) struct RangePicks(Option<TapPicks>);

/// An event before it is judged.
pub(super) struct UnjudgedEvent {
    at: usize,
    head: EventHead,
    /// Where somebody is to see it.
    event: Option<Event>,
}

impl RangePicks {
    /// Chooses among events; where there is none at a place, nobody is shown it.
    pub(super) fn of<'e>(taps: Option<&EventTaps>, events: impl Iterator<Item = Option<&'e Event>> + Clone) -> Self {
        Self(taps.and_then(|taps| taps.pick(&TapStage::Accepted, events)))
    }

    /// The event at a place came before.
    pub(super) fn repeats(&self, at: usize, event: &Event) {
        if let Some(picks) = &self.0 {
            picks.show(at, event, &TapOutcome::Duplicate, &Vec::<String>::new);
        }
    }

    /// The event at a place is about to be judged; `None` where nobody listens.
    pub(super) fn before(&self, at: usize, event: &Event) -> Option<UnjudgedEvent> {
        let picks = self.0.as_ref()?;
        Some(UnjudgedEvent { at, head: EventHead::of(event), event: picks.has(at).then(|| event.clone()) })
    }

    /// It was judged: as it goes on, or else `last` is its entry of the quarantine.
    pub(super) fn judged(&self, before: UnjudgedEvent, judged: Option<&Event>, last: Option<&Quarantined>) {
        let (Some(picks), UnjudgedEvent { at, head, event }) = (&self.0, before) else { return };
        let (outcome, event) = match (judged, last) {
            (Some(_), _) => (TapOutcome::Passed, event),
            // The entry has the event as it was before.
            (None, Some(entry)) => {
                (TapOutcome::Quarantined(entry.code.clone()), event.or_else(|| head.with_text(&entry.event)))
            }
            (None, None) => return,
        };
        if let Some(event) = event {
            picks.show(at, &event, &outcome, &|| judged.iter().map(|event| event.to_json()).collect::<Vec<String>>());
        }
    }
}
