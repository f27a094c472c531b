//! What is watched, and when it is told.

use std::collections::BTreeMap;

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertSeverity {
    Info,
    Warning,
    Error,
    Critical,
}

impl AlertSeverity {
    /// The words of files, and of those who are told.
    pub const WORDS: [(&'static str, Self); 4] =
        [("info", Self::Info), ("warning", Self::Warning), ("error", Self::Error), ("critical", Self::Critical)];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// A part of the events of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareBound {
    /// More than so many of a hundred.
    pub percent: u64,
    /// Fewer events in the time say nothing.
    pub events_min: u64,
    /// The time, microseconds.
    pub window_us: i64,
}

/// What must hold. Where no object is named, each of its kind is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertCondition {
    /// In the last whole hour a source had less than `percent` of what is usual for the hour.
    VolumeDrop {
        source: Option<String>,
        percent: u64,
        events_min: u64,
    },
    /// In the last whole hour, or in this one so far, it had more than `percent` of it.
    VolumeSpike {
        source: Option<String>,
        percent: u64,
        events_min: u64,
    },
    /// A source that had events has none.
    SourceSilent {
        source: Option<String>,
        window_us: i64,
    },
    Violations {
        source: Option<String>,
        share: ShareBound,
    },
    /// So many events or more came into quarantine within the window.
    QuarantineGrowth {
        events: u64,
        window_us: i64,
    },
    FunctionFailing {
        function: Option<String>,
        share: ShareBound,
    },
    SyncFailing {
        sync: Option<String>,
    },
    /// The oldest event that waits for a sync was received longer ago than this.
    SyncLate {
        sync: Option<String>,
        age_us: i64,
    },
    DeliveryErrors {
        destination: Option<String>,
        share: ShareBound,
    },
    /// Less than so many of a hundred bytes of the disk are free.
    Disk {
        percent: u64,
    },
    /// A certificate ends within this time.
    Certificate {
        left_us: i64,
    },
    /// Events are not accounted for.
    Conservation,
}

impl AlertCondition {
    /// The words of files, in the order of the documentation.
    pub const WORDS: [&'static str; 12] = [
        "volume_drop",
        "volume_spike",
        "source_silent",
        "violations",
        "quarantine_growth",
        "function_failing",
        "sync_failing",
        "sync_late",
        "delivery_errors",
        "disk",
        "certificate",
        "conservation",
    ];

    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::VolumeDrop { .. } => "volume_drop",
            Self::VolumeSpike { .. } => "volume_spike",
            Self::SourceSilent { .. } => "source_silent",
            Self::Violations { .. } => "violations",
            Self::QuarantineGrowth { .. } => "quarantine_growth",
            Self::FunctionFailing { .. } => "function_failing",
            Self::SyncFailing { .. } => "sync_failing",
            Self::SyncLate { .. } => "sync_late",
            Self::DeliveryErrors { .. } => "delivery_errors",
            Self::Disk { .. } => "disk",
            Self::Certificate { .. } => "certificate",
            Self::Conservation => "conservation",
        }
    }

    /// How bad it is where nobody says.
    #[must_use]
    pub const fn severity(&self) -> AlertSeverity {
        match self {
            Self::SourceSilent { .. } | Self::SyncFailing { .. } | Self::Disk { .. } | Self::Conservation => {
                AlertSeverity::Critical
            }
            Self::Certificate { .. } => AlertSeverity::Info,
            _ => AlertSeverity::Warning,
        }
    }

    /// For how long it must hold where nobody says, microseconds.
    #[must_use]
    pub const fn for_us(&self) -> i64 {
        match self {
            Self::SyncFailing { .. } => 10 * MINUTE_US,
            _ => 0,
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRule {
    pub name: String,
    pub condition: AlertCondition,
    pub severity: AlertSeverity,
    /// For how long the condition must hold before it is told, microseconds.
    pub for_us: i64,
    /// For how long it must not hold before the recovery is told, microseconds.
    pub recover_us: i64,
    /// For how long changes are gathered for one message, microseconds.
    pub group_us: i64,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Nobody is told.
    pub is_muted: bool,
    /// Nobody is told before this time, microseconds since the epoch.
    pub muted_until_us: Option<i64>,
    /// It is watched because nobody has written any alert.
    pub is_default: bool,
}

impl AlertRule {
    /// How long a condition must not hold where nobody says, microseconds.
    pub const RECOVER_US: i64 = 5 * MINUTE_US;
    /// How long changes are gathered where nobody says, microseconds.
    pub const GROUP_US: i64 = 30_000_000;

    /// A rule with everything as it is where nobody says.
    #[must_use]
    pub fn new(name: impl Into<String>, condition: AlertCondition) -> Self {
        Self {
            name: name.into(),
            severity: condition.severity(),
            for_us: condition.for_us(),
            recover_us: Self::RECOVER_US,
            group_us: Self::GROUP_US,
            owner: None,
            runbook: None,
            labels: BTreeMap::new(),
            is_muted: false,
            muted_until_us: None,
            is_default: false,
            condition,
        }
    }

    /// Whether its file says that nobody is told now.
    #[must_use]
    pub fn is_muted_at(&self, now_us: i64) -> bool {
        self.is_muted || self.muted_until_us.is_some_and(|until_us| now_us < until_us)
    }
}

/// What is watched where a workspace has no alert. The status and the log show it.
#[must_use]
pub fn default_rules() -> Vec<AlertRule> {
    let rule = |name: &str, condition| AlertRule { is_default: true, ..AlertRule::new(name, condition) };
    vec![
        rule("default.conservation", AlertCondition::Conservation),
        rule("default.disk", AlertCondition::Disk { percent: DISK_PERCENT }),
        rule("default.sync-failing", AlertCondition::SyncFailing { sync: None }),
    ]
}

/// Of a disk, where nobody says.
const DISK_PERCENT: u64 = 10;

/// How long before its end a certificate is told of where nobody says, microseconds.
const CERTIFICATE_LEFT_US: i64 = 14 * DAY_US;

impl AlertCondition {
    /// A disk with less than is usual.
    #[must_use]
    pub fn disk(percent: Option<u64>) -> Self {
        Self::Disk { percent: percent.unwrap_or(DISK_PERCENT) }
    }

    /// A certificate that ends soon.
    #[must_use]
    pub fn certificate(left_us: Option<i64>) -> Self {
        Self::Certificate { left_us: left_us.unwrap_or(CERTIFICATE_LEFT_US) }
    }
}
