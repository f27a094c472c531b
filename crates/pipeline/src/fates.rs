//! What functions made of events, for the counts: which came, and which of them came to nothing.

use tidegate_event::Event;
use tidegate_state::{FateCounts, FateTally, Quarantined, fate_hour, fate_key_of_entry, fate_name, fate_name_of};

/// Under which hour and name an event is counted.
pub(crate) fn key_of(event: &Event) -> (i64, &str) {
    (fate_hour(event.received_at_us), fate_name(&event.body))
}

/// The same of an event that no mapping has changed: its kind is what its `type` says.
pub(crate) fn key_of_unmapped(event: &Event) -> (i64, &str) {
    (fate_hour(event.received_at_us), fate_name_of(event.kind, &event.body))
}

/// Under which hour and name an entry of the quarantine is counted.
pub(crate) fn key_of_entry(entry: &Quarantined) -> (i64, String) {
    fate_key_of_entry(entry.stage, &entry.event, entry.at_us)
}

/// Events before functions or mappings went over them.
#[derive(Debug, Default)]
pub(crate) struct FateInputs(Vec<FateInput>);

#[derive(Debug)]
pub(crate) struct FateInput {
    pub(crate) offset: u64,
    pub(crate) hour: i64,
    pub(crate) name: Box<str>,
}

impl FateInputs {
    pub(crate) fn add(&mut self, event: &Event) {
        let (hour, name) = key_of_unmapped(event);
        self.0.push(FateInput { offset: event.id.position.offset, hour, name: name.into() });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FateInput> {
        self.0.iter()
    }

    /// Those of which nothing came: of each record as many as there are fewer events at `offsets`, which says where what came of them is.
    pub(crate) fn gone(&self, offsets: impl Iterator<Item = u64>) -> impl Iterator<Item = &FateInput> {
        // Both are in the order of the log then.
        let mut left: Vec<u64> = offsets.collect();
        left.sort_unstable();
        let mut at = 0;
        self.0.iter().filter(move |input| {
            while left.get(at).is_some_and(|offset| *offset < input.offset) {
                at += 1;
            }
            let is_left = left.get(at) == Some(&input.offset);
            at += usize::from(is_left);
            !is_left
        })
    }
}

impl FateInput {
    pub(crate) fn key(&self) -> (i64, &str) {
        (self.hour, &self.name)
    }
}

/// One of these is made, and has this fate.
pub(crate) fn made(tally: &mut FateTally, key: (i64, &str), fate: impl Fn(&mut FateCounts) -> &mut i64) {
    tally.add(key, |counts| {
        counts.made += 1;
        *fate(counts) += 1;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_event::{EventId, EventKind, Position};

    use super::*;

    fn event(offset: u64, part: u32) -> Event {
        let body = r#"{"type":"track","event":"E"}"#.parse().unwrap();
        let id = EventId::new(Position::new(0, offset), part);
        Event { source: Arc::from("web"), id, kind: EventKind::Track, received_at_us: 0, body }
    }

    #[test]
    fn what_came_to_nothing_is_what_has_no_event_left() {
        let mut inputs = FateInputs::default();
        for (offset, part) in [(1, 0), (2, 0), (3, 1), (3, 2), (4, 0)] {
            inputs.add(&event(offset, part));
        }
        let gone: Vec<u64> = inputs.gone([1, 1, 3].into_iter()).map(|input| input.offset).collect();
        assert_eq!(gone, [2, 3, 4]);
    }
}
