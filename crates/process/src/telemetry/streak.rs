//! A run of failures as two lines in the log: one when it begins, one when it ends.

use std::time::{Duration, Instant};

/// A reason that changes while the failures go on is worth a line of its own, but not more often than this.
const CHANGE_INTERVAL: Duration = Duration::from_secs(60);

/// Failures in a row of one thing, without a success between them.
#[derive(Debug, Default)]
pub struct Streak {
    began: Option<Instant>,
    attempts: u64,
    reason: String,
    told_at: Option<Instant>,
}

/// A run of failures that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healed {
    pub seconds: u64,
    pub attempts: u64,
}

impl Streak {
    /// Counts a failure; true when people should hear of it: it is the first, or the reason is another one.
    pub fn fails(&mut self, reason: &str, now: Instant) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        self.began.get_or_insert(now);
        let is_long_ago = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= CHANGE_INTERVAL);
        let tell = self.attempts == 1 || (self.reason != reason && is_long_ago);
        if tell {
            self.told_at = Some(now);
            reason.clone_into(&mut self.reason);
        }
        tell
    }

    /// A success; answers what it ended, if anything.
    pub fn heals(&mut self, now: Instant) -> Option<Healed> {
        let began = self.began?;
        let seconds = now.saturating_duration_since(began).as_secs();
        let attempts = self.attempts;
        *self = Self::default();
        Some(Healed { seconds, attempts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_failures_is_told_once_and_its_end_once() {
        let (mut streak, start) = (Streak::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(streak.heals(start), None);
        assert!(streak.fails("away", at(0)));
        assert!(!streak.fails("away", at(1)));
        assert!(!streak.fails("wrong password", at(2)), "a reason that flickers is not told each time");
        assert!(streak.fails("wrong password", at(61)));
        assert_eq!(streak.heals(at(70)), Some(Healed { seconds: 70, attempts: 4 }));
        assert_eq!(streak.heals(at(71)), None);
        assert!(streak.fails("away", at(72)));
    }
}
