//! Which event is to blame: a batch that faulted is halved until the poison events stand alone.
//!
//! A search of [`Bisect`], with the outcome of each event beside it. A failed attempt may cost the whole budget of a loop, so
//! that what must hold the poison is halved without one.

use std::ops::Range;

use tidegate_bisect::Bisect;

use super::{FunctionError, Outcome};

/// The state of one search.
pub(super) struct Isolation {
    bisect: Bisect<Range<usize>>,
    outcomes: Vec<Option<Outcome>>,
    /// The error seen last, for events that are given up.
    last_error: Option<FunctionError>,
}

impl Isolation {
    pub(super) fn new(events: usize) -> Self {
        Self { bisect: Bisect::of(0..events).deducing(), outcomes: vec![None; events], last_error: None }
    }

    /// The range to try next; `None` when every event has its outcome. Each range must be answered by one of
    /// `answered`, `failed_alone`, `everybody` or `give_up` before the next is asked for.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        self.bisect.next_part()
    }

    /// `range` has these outcomes, one for each event.
    pub(super) fn answered(&mut self, range: Range<usize>, outcomes: Vec<Outcome>) {
        self.bisect.passed();
        for (slot, outcome) in self.outcomes[range].iter_mut().zip(outcomes) {
            *slot = Some(outcome);
        }
    }

    /// `range` faulted and one of its events may be to blame.
    pub(super) fn failed_alone(&mut self, range: Range<usize>, error: FunctionError) {
        if let Some(poison) = self.bisect.failed(range) {
            self.outcomes[poison].fill(Some(error.clone().into()));
        }
        self.last_error = Some(error);
    }

    /// `range` faulted, none of its events is to blame and no other range will fare better.
    pub(super) fn everybody(&mut self, range: Range<usize>, error: FunctionError) {
        self.settle_open(range, error);
    }

    /// No attempt is left for `range` and everything after it.
    pub(super) fn give_up(&mut self, range: Range<usize>, why: &str) {
        let last = self.last_error.take();
        let code = last.as_ref().map_or(super::FunctionErrorCode::Trap, |error| error.code);
        let message = last.map(|error| error.message).unwrap_or_default();
        let message = format!("this event or a neighbour: {message} ({why})");
        self.settle_open(range, FunctionError { code, message });
    }

    /// One outcome for each event.
    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        let lost =
            || FunctionError { code: super::FunctionErrorCode::Trap, message: "no attempt was made".to_owned() }.into();
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
    }

    /// Gives `error` to every event that has no outcome yet.
    fn settle_open(&mut self, range: Range<usize>, error: FunctionError) {
        let outcome = Outcome::from(error);
        for part in std::iter::once(range).chain(self.bisect.give_up()) {
            self.outcomes[part].fill(Some(outcome.clone()));
        }
    }
}

impl From<FunctionError> for Outcome {
    fn from(error: FunctionError) -> Self {
        Self::Error { code: error.code, message: error.message }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::function::FunctionErrorCode;

    fn error() -> FunctionError {
        FunctionError { code: FunctionErrorCode::CpuBudget, message: "looped".to_owned() }
    }

    /// Runs a search against a function that errors on every range with a poison event; returns the attempts.
    fn search(events: usize, poison: &BTreeSet<usize>) -> (Vec<Outcome>, usize) {
        let (mut isolation, mut attempts) = (Isolation::new(events), 0);
        while let Some(range) = isolation.next() {
            attempts += 1;
            if poison.range(range.clone()).next().is_some() {
                isolation.failed_alone(range, error());
            } else {
                let outcomes = range.clone().map(|i| Outcome::Drop(i.to_string())).collect();
                isolation.answered(range, outcomes);
            }
        }
        (isolation.into_outcomes(), attempts)
    }

    proptest! {
        #[test]
        fn every_poison_event_is_found_and_every_neighbour_is_spared(
            events in 0_usize..600,
            poison in prop::collection::btree_set(0_usize..600, 0..12),
        ) {
            let poison: BTreeSet<_> = poison.into_iter().filter(|i| *i < events).collect();
            let (outcomes, attempts) = search(events, &poison);
            prop_assert_eq!(outcomes.len(), events);
            for (i, outcome) in outcomes.iter().enumerate() {
                let expected = if poison.contains(&i) { error().into() } else { Outcome::Drop(i.to_string()) };
                prop_assert_eq!(outcome, &expected);
            }
            let halvings = events.max(1).next_power_of_two().ilog2() as usize;
            let bound = if poison.is_empty() { 1 } else { 2 * poison.len() * (halvings + 1) };
            prop_assert!(attempts <= bound, "{attempts} attempts, bound {bound}");
        }
    }

    #[test]
    fn one_poison_event_costs_one_failed_attempt_for_each_halving_at_most() {
        let (_, attempts) = search(512, &BTreeSet::from([511]));
        // 9 clean left halves, the whole batch, and the event itself: no right half is tried on the way.
        assert_eq!(attempts, 11);
    }

    #[test]
    fn an_error_of_the_sum_ends_too() {
        // Errors on more than 10 events at once, whichever they are: nobody is to blame in the end.
        let (mut isolation, mut attempts) = (Isolation::new(500), 0);
        while let Some(range) = isolation.next() {
            attempts += 1;
            if range.len() > 10 {
                isolation.failed_alone(range, error());
            } else {
                isolation.answered(range.clone(), range.map(|_| Outcome::Keep).collect());
            }
        }
        assert!(isolation.into_outcomes().iter().all(|outcome| *outcome == Outcome::Keep));
        assert!(attempts < 500, "{attempts}");
    }

    #[test]
    fn giving_up_settles_the_rest_and_keeps_what_is_known() {
        let mut isolation = Isolation::new(4);
        let all = isolation.next().unwrap();
        isolation.failed_alone(all, error());
        let left = isolation.next().unwrap();
        isolation.answered(left, vec![Outcome::Keep, Outcome::Keep]);
        let third = isolation.next().unwrap();
        assert_eq!(third, 2..3, "a suspect is halved unseen");
        isolation.give_up(third, "no time");
        assert_eq!(isolation.next(), None);
        let outcomes = isolation.into_outcomes();
        assert_eq!(outcomes[..2], [Outcome::Keep, Outcome::Keep]);
        let given_up = "this event or a neighbour: looped (no time)".to_owned();
        let given_up = Outcome::Error { code: FunctionErrorCode::CpuBudget, message: given_up };
        assert_eq!(outcomes[2..], [given_up.clone(), given_up]);
    }
}
