//! Listening to events while they pass.
//!
//! Nouns: a **listener** (somebody who wants to see some of the events), a **step** (what one part of the way made of one event), a **pick** (of the events of
//! a batch, those that are shown).
//!
//! Guarantees: while nobody listens a batch costs one relaxed load. A listener is shown so many steps a second, a sample of what there are, and is told
//! of how many; errors have a share of their own, which what passes does not take. What is shown is kept in a buffer of bounded steps and bytes;
//! who reads too slowly loses the newest, and is told how many. Nobody waits for a listener. Listeners are few.

mod filter;
mod held;
mod picks;
mod share;
mod step;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_event::Event;

pub use filter::{TapFilter, is_of_user};
use held::HeldSteps;
pub use held::{TapSample, TappedSteps};
pub use picks::{ChosenListeners, TapPicks};
pub(crate) use step::EventHead;
pub use step::{TapOutcome, TapStage, TapStep};

/// Listeners at once, of one environment.
pub const LISTENERS_MAX: usize = 16;

/// Where events are offered to listeners; clones share it.
#[derive(Clone, Default)]
pub struct EventTaps(Arc<TapBoard>);

#[derive(Default)]
struct TapBoard {
    count: AtomicUsize,
    listeners: Mutex<Vec<Arc<HeldSteps>>>,
}

impl fmt::Debug for EventTaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventTaps").field("listeners", &self.0.count.load(Ordering::Relaxed)).finish()
    }
}

/// Somebody who listens, until it is dropped.
pub struct TapListener {
    taps: EventTaps,
    held: Arc<HeldSteps>,
}

impl EventTaps {
    /// Whether anybody listens; one relaxed load.
    #[must_use]
    pub fn is_listened(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// The same taps, if anybody listens.
    #[must_use]
    pub fn listened(&self) -> Option<Self> {
        self.is_listened().then(|| self.clone())
    }

    /// Listens from now on, and is shown so many steps a second at most, and as many errors; `None` when as many do as may.
    #[must_use]
    pub fn listen(&self, filter: TapFilter, rate_max: u64) -> Option<TapListener> {
        let mut listeners = self.0.listeners.lock();
        if listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let held = Arc::new(HeldSteps::new(filter, rate_max, Instant::now()));
        listeners.push(Arc::clone(&held));
        self.0.count.store(listeners.len(), Ordering::Relaxed);
        Some(TapListener { taps: self.clone(), held })
    }

    /// Chooses which events of a batch are shown of those that are at a part of the way; where there is none at a place, nobody is shown it. `None` where nobody wants to see that part.
    pub fn pick<'e>(
        &self,
        stage: &TapStage,
        events: impl Iterator<Item = Option<&'e Event>> + Clone,
    ) -> Option<TapPicks> {
        let listeners: Vec<Arc<HeldSteps>> =
            self.0.listeners.lock().iter().filter(|listener| listener.filter.wants(stage)).cloned().collect();
        if listeners.is_empty() {
            return None;
        }
        Some(TapPicks::of(stage, listeners, events))
    }
}

impl TapListener {
    /// Waits until something has come, and takes it.
    pub async fn next(&self) -> TappedSteps {
        self.held.next().await
    }
}

impl Drop for TapListener {
    fn drop(&mut self) {
        let mut listeners = self.taps.0.listeners.lock();
        listeners.retain(|listener| !Arc::ptr_eq(listener, &self.held));
        self.taps.0.count.store(listeners.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, EventKind, Position};

    use super::held::{BYTES_MAX, STEPS_MAX};
    use super::*;

    /// More than any test offers.
    const ALL: u64 = 1_000_000;

    fn event(offset: u64, json: &str) -> Event {
        Event {
            source: "web".into(),
            id: EventId::new(Position::new(0, offset), 0),
            kind: EventKind::Track,
            received_at_us: 1,
            body: json.parse().unwrap(),
        }
    }

    /// Offers events that were accepted, each with what became of it.
    fn offer(taps: &EventTaps, events: &[Event], outcome: impl Fn(usize) -> TapOutcome) {
        let Some(picks) = taps.pick(&TapStage::Accepted, events.iter().map(Some)) else { return };
        for (at, event) in events.iter().enumerate() {
            picks.show(at, event, &outcome(at), &Vec::<String>::new);
        }
    }

    fn passed(taps: &EventTaps, offset: u64, json: &str) {
        offer(taps, &[event(offset, json)], |_| TapOutcome::Passed);
    }

    #[tokio::test]
    async fn whoever_reads_too_slowly_loses_the_newest_and_is_told_how_many() {
        let taps = EventTaps::default();
        assert!(!taps.is_listened());
        let listen = || taps.listen(TapFilter::default(), ALL).unwrap();
        let (slow, other) = (listen(), listen());
        assert!(taps.is_listened());
        for offset in 0..STEPS_MAX as u64 + 7 {
            passed(&taps, offset, r#"{"event":"E"}"#);
            let got = other.next().await;
            assert_eq!((got.steps.len(), got.lost), (1, 0));
        }
        drop(other);
        let one = [event(0, r#"{"event":"E"}"#)];
        let picks = taps.pick(&TapStage::Accepted, one.iter().map(Some)).unwrap();
        assert!(!picks.has(0) && picks.places().next().is_none(), "what there is no room for is not made");
        let got = slow.next().await;
        assert_eq!((got.steps.len(), got.lost), (STEPS_MAX, 8));
        assert_eq!(got.steps[0].id.position.offset, 0);
        let large = format!(r#"{{"event":"{}"}}"#, "x".repeat(BYTES_MAX));
        passed(&taps, 1, &large);
        passed(&taps, 2, &large);
        let got = slow.next().await;
        assert_eq!((got.steps.len(), got.lost), (1, 1));
        drop(slow);
        assert!(!taps.is_listened());
    }

    #[tokio::test]
    async fn a_flood_is_sampled_and_its_errors_are_shown_beside_it() {
        let taps = EventTaps::default();
        let listener = taps.listen(TapFilter::default(), 50).unwrap();
        let events: Vec<Event> = (0..5_000).map(|offset| event(offset, r#"{"event":"E"}"#)).collect();
        let code = || TapOutcome::Quarantined("bad".to_owned());
        offer(&taps, &events, |at| if at % 1_000 == 999 { code() } else { TapOutcome::Passed });
        let got = listener.next().await;
        let errors = got.steps.iter().filter(|step| step.outcome == code()).count();
        assert_eq!((got.steps.len(), errors, got.lost), (55, 5, 0));
        // It is told when the second is over, though nothing more comes.
        let sample = match got.sample {
            Some(sample) => sample,
            None => listener.next().await.sample.unwrap(),
        };
        assert_eq!((sample.seen, sample.shown, sample.errors_seen, sample.errors_shown), (4_995, 50, 5, 5));
        assert!(sample.took >= std::time::Duration::from_secs(1), "{sample:?}");
    }

    #[tokio::test]
    async fn errors_find_room_where_those_that_pass_have_none() {
        let taps = EventTaps::default();
        let listener = taps.listen(TapFilter::default(), ALL).unwrap();
        let events: Vec<Event> = (0..2_000).map(|offset| event(offset, r#"{"event":"E"}"#)).collect();
        offer(&taps, &events, |_| TapOutcome::Passed);
        offer(&taps, &events[..3], |_| TapOutcome::Dropped(String::new()));
        let got = listener.next().await;
        assert_eq!(got.steps.len(), STEPS_MAX + 3);
        assert!(got.lost >= 1_000, "{}", got.lost);
    }

    #[test]
    fn listeners_are_few_and_leave_room_when_they_go() {
        let taps = EventTaps::default();
        let mut all: Vec<TapListener> =
            (0..LISTENERS_MAX).map(|_| taps.listen(TapFilter::default(), ALL).unwrap()).collect();
        assert!(taps.listen(TapFilter::default(), ALL).is_none());
        all.pop();
        assert!(taps.listen(TapFilter::default(), ALL).is_some());
    }

    #[test]
    fn nothing_is_chosen_for_a_part_of_the_way_that_nobody_wants() {
        let taps = EventTaps::default();
        let _listener = taps.listen(TapFilter::default(), ALL).unwrap();
        let (one, function) = ([event(1, "{}")], TapStage::Function { name: "f".to_owned(), sync: None });
        assert!(taps.pick(&function, one.iter().map(Some)).is_none());
        let picks = taps.pick(&TapStage::Accepted, [None, one.first()].into_iter()).unwrap();
        assert_eq!(picks.places().collect::<Vec<usize>>(), [1]);
    }
}
