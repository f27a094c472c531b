//! What became of the events that one version of a destination had, and whether most of them fail.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::outcome::DeliveryOutcome;

/// So many refused events say something.
const REFUSED_ENOUGH: u64 = 5;

/// Events that count: what is older weighs half.
const EVENTS_MAX: u64 = 1_000;

/// It is not said again before this.
const SAID_PAUSE: Duration = Duration::from_secs(60);

/// Counts of settled events. What waits for another try is none yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeliveryCounts {
    pub(super) events: u64,
    pub(super) rejected: u64,
    /// Of the last rejection, in words.
    pub(super) reason: Option<String>,
}

impl DeliveryCounts {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.rejected += other.rejected;
        if other.reason.is_some() {
            self.reason.clone_from(&other.reason);
        }
    }
}

#[derive(Debug, Default)]
struct KeptTally {
    lately: DeliveryCounts,
    /// Not written down yet.
    unwritten: DeliveryCounts,
    said_at: Option<Instant>,
}

/// The counts of one version.
#[derive(Debug, Default)]
pub(super) struct RuntimeTally(Mutex<KeptTally>);

impl RuntimeTally {
    /// Counts what came of some events; answers what is to be said if most of them fail and it was not said lately.
    pub(super) fn note<'f>(
        &self,
        outcomes: impl Iterator<Item = &'f DeliveryOutcome>,
        now: Instant,
    ) -> Option<DeliveryCounts> {
        let mut counts = DeliveryCounts::default();
        for outcome in outcomes {
            match outcome {
                DeliveryOutcome::Delivered | DeliveryOutcome::Skipped => counts.events += 1,
                DeliveryOutcome::Rejected { code, reason, .. } => {
                    counts.events += 1;
                    counts.rejected += 1;
                    counts.reason = Some(format!("{code}: {reason}"));
                }
                DeliveryOutcome::Again { .. } | DeliveryOutcome::Behind => {}
            }
        }
        if counts.events == 0 {
            return None;
        }
        let mut kept = self.0.lock();
        kept.unwritten.add(&counts);
        kept.lately.add(&counts);
        let lately = kept.lately.clone();
        if lately.events > EVENTS_MAX {
            kept.lately.events /= 2;
            kept.lately.rejected /= 2;
        }
        let is_most = lately.rejected >= REFUSED_ENOUGH && lately.rejected * 2 > lately.events && counts.rejected > 0;
        let is_news = kept.said_at.is_none_or(|at| now.saturating_duration_since(at) >= SAID_PAUSE);
        if !(is_most && is_news) {
            return None;
        }
        kept.said_at = Some(now);
        Some(lately)
    }

    /// What is not written down yet; the caller writes it.
    pub(super) fn take(&self) -> Option<DeliveryCounts> {
        let mut kept = self.0.lock();
        (kept.unwritten.events > 0).then(|| std::mem::take(&mut kept.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_most_fail_and_not_again_for_a_while() {
        let rejected = || DeliveryOutcome::Rejected { code: "c".into(), reason: "r".into(), detail: None };
        let (tally, start) = (RuntimeTally::default(), Instant::now());
        let note = |good: usize, bad: usize, seconds| {
            let outcomes: Vec<_> =
                (0..good).map(|_| DeliveryOutcome::Delivered).chain((0..bad).map(|_| rejected())).collect();
            tally.note(outcomes.iter(), start + Duration::from_secs(seconds))
        };
        assert_eq!(note(0, 4, 0), None, "a few say nothing");
        let said = note(0, 1, 1).unwrap();
        assert_eq!((said.events, said.rejected, said.reason.as_deref()), (5, 5, Some("c: r")));
        assert_eq!(note(0, 5, 2), None, "it was said");
        assert!(note(0, 1, 62).is_some());
        assert_eq!(note(0, 0, 200), None);
        assert_eq!(tally.take().unwrap().events, 11);
        assert_eq!(tally.take(), None);
        for turn in 0..20 {
            note(1_000, 0, 200 + turn);
        }
        assert_eq!(note(0, 400, 300), None, "what was long ago weighs less");
        assert!(note(0, 900, 301).is_some());
    }
}
