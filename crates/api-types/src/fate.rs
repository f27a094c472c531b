use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What has become of an event for one sync, or before any sync had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventFate {
    /// It waits: in the log, or for another try.
    Pending,
    /// The destination has it.
    Delivered,
    /// A filter, a choice of integrations or consent left it out.
    Filtered,
    /// A function dropped it.
    Dropped,
    /// An event with its id came before.
    Duplicate,
    /// It is in quarantine.
    Quarantined,
    /// Its user is suppressed.
    Suppressed,
    /// It was in quarantine, and was removed: by age, by a bound, or by somebody; or it is older than its source keeps events.
    Expired,
}

impl EventFate {
    /// All of them, in the order of the columns of a report.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Delivered,
        Self::Filtered,
        Self::Dropped,
        Self::Duplicate,
        Self::Quarantined,
        Self::Suppressed,
        Self::Expired,
    ];

    /// Its name in reports and columns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Dropped => "dropped",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Suppressed => "suppressed",
            Self::Expired => "expired",
        }
    }
}
