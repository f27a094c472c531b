//! What is counted at one moment.

use std::collections::BTreeMap;

/// A source. Counts are over all starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceSeen {
    pub accepted: u64,
    pub violations: u64,
    /// Takes nothing in for now.
    pub is_paused: bool,
    /// What came in some hours, counted from the epoch; an hour that was looked for and is not there had nothing.
    pub hours: BTreeMap<i64, u64>,
    /// The first hour with any event.
    pub first_hour: Option<i64>,
}

/// A sync. Counts are over all starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncSeen {
    pub destination: String,
    pub delivered: u64,
    /// Put into quarantine for it.
    pub quarantined: u64,
    /// Why it does not deliver.
    pub failure: Option<String>,
    /// Delivers nothing for now, because somebody wants it so.
    pub is_paused: bool,
    /// When the oldest event was received that waits for it: microseconds since the epoch.
    pub oldest_waiting_us: Option<i64>,
}

/// A function, all its versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionSeen {
    pub events: u64,
    pub failed: u64,
    /// Why it takes no events.
    pub stopped: Option<String>,
}

/// The disk of the data directory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskSeen {
    pub free: u64,
    pub total: u64,
}

/// All of it. What nobody asks for may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertSnapshot {
    /// Microseconds since the epoch.
    pub at_us: i64,
    pub sources: BTreeMap<String, SourceSeen>,
    pub syncs: BTreeMap<String, SyncSeen>,
    pub functions: BTreeMap<String, FunctionSeen>,
    /// Events that ever came into quarantine.
    pub quarantined: u64,
    pub disk: Option<DiskSeen>,
    /// When each certificate ends, microseconds since the epoch, by its file; none where the file cannot be read, or has none in it.
    pub certificates: BTreeMap<String, Option<i64>>,
    /// Whether events are not accounted for; none before somebody has looked.
    pub has_breach: Option<bool>,
}

/// Microseconds.
const HOUR_US: i64 = 3_600_000_000;
/// Hours of a week.
const WEEK: i64 = 168;
/// Earlier weeks that say what is usual.
const WEEKS: i64 = 4;
/// An hour counts as whole so long after its end: what came in it has been counted by then.
const SETTLED_US: i64 = 300_000_000;

impl AlertSnapshot {
    /// The last whole hour at a time, counted from the epoch.
    #[must_use]
    pub const fn whole_hour(at_us: i64) -> i64 {
        at_us.saturating_sub(SETTLED_US).div_euclid(HOUR_US) - 1
    }

    /// The hour of a time, counted from the epoch.
    #[must_use]
    pub const fn hour(at_us: i64) -> i64 {
        at_us.div_euclid(HOUR_US)
    }

    /// The same hours of earlier weeks, the latest first.
    pub fn same_hours(hour: i64) -> impl Iterator<Item = i64> {
        (1..=WEEKS).map(move |weeks| hour - weeks * WEEK)
    }

    /// The earliest hour that a condition can need at a time.
    pub(crate) const fn oldest_hour(at_us: i64) -> i64 {
        Self::whole_hour(at_us) - WEEKS * WEEK
    }

    /// The hours that conditions on volume and silence need at a time.
    #[must_use]
    pub fn hours_needed(at_us: i64) -> Vec<i64> {
        let (whole, now) = (Self::whole_hour(at_us), Self::hour(at_us));
        let mut hours = vec![whole, now];
        hours.extend(Self::same_hours(whole).chain(Self::same_hours(now)));
        hours.sort_unstable();
        hours.dedup();
        hours
    }
}
