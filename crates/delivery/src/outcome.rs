//! What one try makes of an event.

use std::time::Duration;

/// The end of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    Delivered,
    /// The plugin did not want it, on purpose.
    Skipped,
    /// It can never be delivered.
    Rejected {
        code: String,
        reason: String,
        detail: Option<String>,
    },
    /// Worth another try, not before `after`. `tries` is how many have failed by now.
    Again {
        tries: u32,
        after: Option<Duration>,
        error: String,
        detail: Option<String>,
    },
    /// An earlier event of its user has to go first.
    Behind,
}

impl DeliveryOutcome {
    /// The outcome of an event that several requests carry: all of them must succeed, and the worst one counts.
    pub(super) fn and(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Skipped => 0,
            Self::Delivered => 1,
            Self::Behind => 2,
            Self::Again { .. } => 3,
            Self::Rejected { .. } => 4,
        }
    }
}
