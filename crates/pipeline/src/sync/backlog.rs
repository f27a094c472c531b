//! How far a sync is behind, and when it will have caught up: one line in the log, now and then.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(10);
/// Fewer records behind than this are what a batch in hand explains.
const RECORDS_MIN: u64 = 100_000;

/// Watches one sync.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    seen: Option<(Instant, u64)>,
    told: bool,
}

/// What to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BacklogLine {
    /// So many records behind; caught up after so many seconds, if it goes on like this.
    Behind {
        records: u64,
        seconds: Option<u64>,
    },
    CaughtUp,
}

impl Backlog {
    /// A batch was delivered, and this many records are still to come.
    pub(super) fn line(&mut self, records: u64, now: Instant) -> Option<BacklogLine> {
        if records < RECORDS_MIN {
            self.seen = None;
            return std::mem::take(&mut self.told).then_some(BacklogLine::CaughtUp);
        }
        let (at, before) = *self.seen.get_or_insert((now, records));
        let elapsed = now.duration_since(at);
        if elapsed < INTERVAL {
            return None;
        }
        self.seen = Some((now, records));
        self.told = true;
        let caught_up = u128::from(before.saturating_sub(records));
        let seconds = (elapsed.as_millis() * u128::from(records)).checked_div(caught_up * 1000);
        Some(BacklogLine::Behind { records, seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_told_now_and_then_and_its_end_once() {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        let mut at = |seconds, records| backlog.line(records, start + Duration::from_secs(seconds));
        assert_eq!(at(0, 50), None);
        assert_eq!(at(1, 1_000_000), None);
        assert_eq!(at(5, 900_000), None);
        assert_eq!(at(11, 800_000), Some(BacklogLine::Behind { records: 800_000, seconds: Some(40) }));
        assert_eq!(at(21, 900_000), Some(BacklogLine::Behind { records: 900_000, seconds: None }));
        assert_eq!(at(22, 99_999), Some(BacklogLine::CaughtUp));
        assert_eq!(at(23, 0), None);
    }
}
