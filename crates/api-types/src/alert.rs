//! Alerts: how they are, and who was told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// All alerts of a workspace that whoever asks may view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownAlerts {
    pub alerts: Vec<ShownAlert>,
}

/// One alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShownAlert {
    pub name: String,
    /// `sync_failing` and so on.
    pub condition: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// `ok`, `pending`, `firing`, or `muted` where it fires and nobody is told.
    pub state: String,
    pub owner: Option<String>,
    pub runbook: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// It is watched because nobody has written any alert, and nobody is told of it.
    pub is_default: bool,
    /// Nobody is told.
    pub is_muted: bool,
    /// Until when; none for until somebody says otherwise.
    pub muted_until: Option<String>,
    /// Who has muted it; none where its file says so.
    pub muted_by: Option<String>,
    /// The name of that user.
    pub muted_by_name: Option<String>,
    pub channels: Vec<ShownAlertChannel>,
    /// What it is about, as far as it is not `ok`.
    pub objects: Vec<ShownAlertObject>,
    /// How many objects it is about.
    pub objects_watched: u64,
    /// What to do when it fires.
    pub what_to_do: String,
}

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShownAlertChannel {
    pub name: String,
    /// `slack`, `email`, `pagerduty`, `webhook` or `alertmanager`.
    pub kind: String,
    /// Messages that wait to be sent, or to be sent again.
    pub waiting: u64,
    /// Why the last of them was not delivered.
    pub error: Option<String>,
}

/// One object that an alert is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShownAlertObject {
    /// `sync crm`, `source web`, `the disk`.
    pub object: String,
    /// `pending`, `firing` or `recovering`.
    pub state: String,
    /// When the condition began to hold.
    pub since: String,
    /// Whether its firing was told.
    pub is_told: bool,
    /// The number that says so, in words.
    pub text: String,
}

/// For how long nobody is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MuteAlert {
    /// Such as `30 min`, `2 h` or `7 d`; until somebody says otherwise when it is left out.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertTested {
    pub alert: String,
    pub channels: Vec<TestedChannel>,
}

/// Whether a test message has arrived at a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestedChannel {
    pub channel: String,
    pub kind: String,
    /// Why it has not; none where it has.
    pub error: Option<String>,
    pub took_ms: u64,
}

/// Which part of what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertHistoryQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Only of this alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// Only what happened before this entry: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Entries of a page, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// What happened to alerts, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertHistory {
    pub entries: Vec<ShownAlertEvent>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<u64>,
}

/// Something that happened to an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ShownAlertEvent {
    pub at: String,
    pub alert: String,
    /// What it is about; empty for the alert itself.
    pub object: String,
    /// `firing`, `recovered`, `told`, `undelivered`, `muted`, `unmuted` or `tested`.
    pub what: String,
    pub text: String,
    /// Who has muted, unmuted or tested it.
    pub by: Option<String>,
    /// The name of that user or token; the text has it in the place of the id.
    pub by_name: Option<String>,
}
