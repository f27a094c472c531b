//! One listener: what it wants, what was chosen for it, and what waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_event::Event;
use tokio::sync::Notify;

use super::filter::TapFilter;
use super::share::{StepShare, WINDOW};
use super::step::TapStep;

/// Steps that wait for one listener.
pub(super) const STEPS_MAX: usize = 1_000;
/// About their bytes.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// There is room for so many more errors, which those that pass do not take.
const ERRORS_MORE: usize = 250;
const ERROR_BYTES_MORE: usize = 1 << 20;

/// What waits for a listener.
pub(super) struct HeldSteps {
    pub(super) filter: TapFilter,
    held: Mutex<HeldQueue>,
    arrived: Notify,
}

struct HeldQueue {
    steps: VecDeque<TapStep>,
    bytes: usize,
    lost: u64,
    began: Instant,
    /// Of all that is wanted, before anybody knows what becomes of it.
    all: StepShare,
    errors: StepShare,
    /// Errors of this window that were chosen before they were known to be.
    errors_chosen: u64,
    /// Of the windows that are over.
    sample: TapSample,
}

/// How many steps there were, and how many of them were shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TapSample {
    /// Of those that go on.
    pub seen: u64,
    pub shown: u64,
    /// Of those that are quarantined or dropped.
    pub errors_seen: u64,
    pub errors_shown: u64,
    /// So long it took.
    pub took: Duration,
}

/// What has come for a listener.
#[derive(Debug, Default)]
pub struct TappedSteps {
    pub steps: Vec<TapStep>,
    /// Steps before these that there was no room for.
    pub lost: u64,
    /// What was left out because it was too much; none where all was shown.
    pub sample: Option<TapSample>,
}

impl HeldSteps {
    /// For a listener that is shown so many steps a second, and as many errors.
    pub(super) fn new(filter: TapFilter, rate_max: u64, now: Instant) -> Self {
        let held = HeldQueue {
            steps: VecDeque::new(),
            bytes: 0,
            lost: 0,
            began: now,
            all: StepShare::new(rate_max),
            errors: StepShare::new(rate_max),
            errors_chosen: 0,
            sample: TapSample::default(),
        };
        Self { filter, held: Mutex::new(held), arrived: Notify::new() }
    }

    /// Chooses among events of which nobody knows yet what becomes of them; `chosen` gets the place of each.
    pub(super) fn choose<'e>(
        &self,
        events: impl Iterator<Item = Option<&'e Event>>,
        now: Instant,
        mut chosen: impl FnMut(usize),
    ) {
        let mut held = self.held.lock();
        let is_told = held.is_to_be_told();
        held.turn(now);
        for (at, event) in events.enumerate() {
            if !event.is_some_and(|event| self.filter.fits(event)) || !held.all.takes() {
                continue;
            }
            // What there is no room for is lost, and is not even made.
            if held.is_full(false) {
                held.lost += 1;
            } else {
                chosen(at);
            }
        }
        let is_news = !is_told && held.is_to_be_told();
        drop(held);
        if is_news {
            self.arrived.notify_one();
        }
    }

    /// An event goes no further: whether that is shown.
    pub(super) fn takes_error(&self, event: &Event, now: Instant, was_chosen: bool) -> bool {
        if !self.filter.fits(event) {
            return false;
        }
        let mut held = self.held.lock();
        let is_told = held.is_to_be_told();
        held.turn(now);
        held.errors_chosen += u64::from(was_chosen);
        let mut is_shown = held.errors.takes();
        if is_shown && held.is_full(true) {
            held.lost += 1;
            is_shown = false;
        }
        let is_news = !is_told && held.is_to_be_told();
        drop(held);
        if is_news {
            self.arrived.notify_one();
        }
        is_shown
    }

    pub(super) fn push(&self, step: &TapStep, is_error: bool) {
        let mut held = self.held.lock();
        let bytes = step.bytes();
        // One that is larger than the room goes where there is nothing else.
        let has_room = held.bytes + bytes <= bytes_max(is_error) || held.steps.is_empty();
        if held.is_full(is_error) || !has_room {
            held.lost += 1;
        } else {
            held.bytes += bytes;
            held.steps.push_back(step.clone());
        }
        drop(held);
        self.arrived.notify_one();
    }

    /// Waits until something has come, and takes it.
    pub(super) async fn next(&self) -> TappedSteps {
        loop {
            let is_to_be_told = {
                let mut held = self.held.lock();
                held.turn(Instant::now());
                if let Some(found) = held.take() {
                    return found;
                }
                held.is_to_be_told()
            };
            if is_to_be_told {
                // Perhaps nothing more comes, and the window is over all the same.
                let _ = tokio::time::timeout(WINDOW, self.arrived.notified()).await;
            } else {
                self.arrived.notified().await;
            }
        }
    }
}

fn bytes_max(is_error: bool) -> usize {
    if is_error { BYTES_MAX + ERROR_BYTES_MORE } else { BYTES_MAX }
}

impl HeldQueue {
    fn steps_max(is_error: bool) -> usize {
        if is_error { STEPS_MAX + ERRORS_MORE } else { STEPS_MAX }
    }

    /// Whether there is no room for anything.
    fn is_full(&self, is_error: bool) -> bool {
        self.steps.len() >= Self::steps_max(is_error) || self.bytes >= bytes_max(is_error)
    }

    /// Whether the window, when it is over, may have something to be told of.
    fn is_to_be_told(&self) -> bool {
        self.all.leaves_out() || self.errors.leaves_out()
    }

    /// Ends the window when its time is over.
    fn turn(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.began);
        if took < WINDOW {
            return;
        }
        self.began = now;
        let (all, errors) = (self.all.turn(took), self.errors.turn(took));
        let (seen, shown) =
            (all.seen.saturating_sub(errors.seen), all.shown.saturating_sub(std::mem::take(&mut self.errors_chosen)));
        if seen > shown || errors.seen > errors.shown {
            self.sample.seen += seen;
            self.sample.shown += shown;
            self.sample.errors_seen += errors.seen;
            self.sample.errors_shown += errors.shown;
            self.sample.took += took;
        }
    }

    fn take(&mut self) -> Option<TappedSteps> {
        let is_sampled = self.sample != TapSample::default();
        if self.steps.is_empty() && self.lost == 0 && !is_sampled {
            return None;
        }
        self.bytes = 0;
        Some(TappedSteps {
            steps: std::mem::take(&mut self.steps).into(),
            lost: std::mem::take(&mut self.lost),
            sample: is_sampled.then(|| std::mem::take(&mut self.sample)),
        })
    }
}
