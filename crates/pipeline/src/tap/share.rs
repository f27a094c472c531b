//! How many of the steps that come one listener is shown.
//!
//! Steps come in bursts: a log range is refined at once. How many came in the last second says how many are too many, and so one in so many is shown of this
//! second: a sample of all of it, and not its beginning.

use std::time::Duration;

/// So long is counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What came of one kind of steps in a window, and what of it was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WindowCounts {
    pub seen: u64,
    pub shown: u64,
}

/// Shows so many steps of a window at most.
#[derive(Debug)]
pub(super) struct StepShare {
    shown_max: u64,
    counts: WindowCounts,
    /// One in so many is shown.
    every: u64,
}

impl StepShare {
    pub(super) fn new(shown_max: u64) -> Self {
        Self { shown_max: shown_max.max(1), counts: WindowCounts::default(), every: 1 }
    }

    /// One more has come. Whether it is shown.
    pub(super) fn takes(&mut self) -> bool {
        let is_turn = self.counts.seen.is_multiple_of(self.every);
        self.counts.seen += 1;
        let is_shown = is_turn && self.counts.shown < self.shown_max;
        if is_shown {
            self.counts.shown += 1;
        }
        is_shown
    }

    /// Whether something of this window is not shown.
    pub(super) fn leaves_out(&self) -> bool {
        self.counts.seen > self.counts.shown
    }

    /// The window, which took so long, is over: what came in it.
    pub(super) fn turn(&mut self, took: Duration) -> WindowCounts {
        let counts = std::mem::take(&mut self.counts);
        // What came long ago says nothing of what comes next.
        let is_recent = took < WINDOW * 2;
        self.every = if is_recent { counts.seen.div_ceil(self.shown_max).max(1) } else { 1 };
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(share: &mut StepShare, events: u64) -> Vec<u64> {
        (0..events).filter(|_| share.takes()).collect()
    }

    #[test]
    fn what_is_too_much_is_sampled_over_the_whole_window() {
        let mut share = StepShare::new(50);
        assert_eq!(shown(&mut share, 50).len(), 50);
        assert!(!share.leaves_out());
        // Nothing was known of this second: its first are shown.
        let first = shown(&mut share, 20_000 - 50);
        assert!(first.is_empty() && share.leaves_out());
        assert_eq!(share.turn(WINDOW), WindowCounts { seen: 20_000, shown: 50 });
        let sampled = shown(&mut share, 20_000);
        let wanted: Vec<u64> = (0..50).map(|n| n * 400).collect();
        assert_eq!(sampled, wanted);
        // More than a second ago came: still no more than may.
        assert!(shown(&mut share, 100_000).is_empty());
        share.turn(WINDOW);
        assert_eq!(shown(&mut share, 2_400), [0]);
        // After a silence everything is shown again.
        share.turn(WINDOW * 3);
        assert_eq!(shown(&mut share, 10).len(), 10);
        assert!(!share.leaves_out());
    }
}
