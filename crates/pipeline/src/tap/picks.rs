//! Which events of a batch are shown to whom: chosen before anything is copied, so that a flood costs what is shown of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidegate_event::Event;

use super::held::HeldSteps;
use super::step::{TapOutcome, TapStage, TapStep};

/// Which events of a batch are shown to whom, at one part of the way.
pub struct TapPicks {
    stage: TapStage,
    listeners: Vec<Arc<HeldSteps>>,
    /// By the places of the events.
    chosen: BTreeMap<usize, ChosenListeners>,
    now: Instant,
}

/// To whom an event is shown, of those who listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChosenListeners(u32);

impl ChosenListeners {
    /// Whether there is one.
    #[must_use]
    pub const fn is_anybody(self) -> bool {
        self.0 != 0
    }

    fn has(self, listener: usize) -> bool {
        self.0 & (1 << listener) != 0
    }

    fn add(&mut self, listener: usize) {
        self.0 |= 1 << listener;
    }
}

impl TapPicks {
    /// Chooses among events; where there is none at a place, nobody is shown it. `listeners` want to see this part of the way, and are no more than 32.
    pub(super) fn of<'e>(
        stage: &TapStage,
        listeners: Vec<Arc<HeldSteps>>,
        events: impl Iterator<Item = Option<&'e Event>> + Clone,
    ) -> Self {
        let (mut chosen, now) = (BTreeMap::<usize, ChosenListeners>::new(), Instant::now());
        for (number, listener) in listeners.iter().enumerate() {
            listener.choose(events.clone(), now, |at| chosen.entry(at).or_default().add(number));
        }
        Self { stage: stage.clone(), listeners, chosen, now }
    }

    /// Whether the event at a place is shown, unless it goes no further.
    #[must_use]
    pub fn has(&self, at: usize) -> bool {
        self.chosen.contains_key(&at)
    }

    /// The places of the events that are shown.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.chosen.keys().copied()
    }

    /// To whom the event at a place is shown, unless it goes no further.
    #[must_use]
    pub fn chosen(&self, at: usize) -> ChosenListeners {
        self.chosen.get(&at).copied().unwrap_or_default()
    }

    /// To whom the event at a place is shown, which goes no further: those have a share of their own.
    #[must_use]
    pub fn chosen_error(&self, at: usize, event: &Event) -> ChosenListeners {
        let (before, mut chosen) = (self.chosen(at), ChosenListeners::default());
        for (number, listener) in self.listeners.iter().enumerate() {
            if listener.takes_error(event, self.now, before.has(number)) {
                chosen.add(number);
            }
        }
        chosen
    }

    /// Shows what became of the event at a place to whom that is to be shown; `after` is what goes on, and is only asked for where somebody sees it.
    pub fn show(&self, at: usize, before: &Event, outcome: &TapOutcome, after: &dyn Fn() -> Vec<String>) {
        let chosen = if outcome.is_error() { self.chosen_error(at, before) } else { self.chosen(at) };
        self.give(chosen, before, outcome, after);
    }

    /// Gives what became of an event to these.
    pub fn give(&self, chosen: ChosenListeners, before: &Event, outcome: &TapOutcome, after: &dyn Fn() -> Vec<String>) {
        if !chosen.is_anybody() {
            return;
        }
        let step = TapStep {
            id: before.id,
            source: Arc::clone(&before.source),
            received_at_us: before.received_at_us,
            stage: self.stage.clone(),
            outcome: outcome.clone(),
            before: before.to_json(),
            after: after(),
        };
        for (_, listener) in self.listeners.iter().enumerate().filter(|(number, _)| chosen.has(*number)) {
            listener.push(&step, outcome.is_error());
        }
    }
}
