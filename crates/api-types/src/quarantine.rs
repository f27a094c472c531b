//! Quarantined events: what there is, what would become of it, and its way back.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::workspace::FolderDocument;

/// Which entries of the quarantine; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntrySelection {
    /// The id of one entry.
    #[serde(default, deserialize_with = "entry_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Such as `schema-violation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `log`, `decode`, `contract`, `function` or `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What was stopped before any sync of this source had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What this sync alone has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<String>,
    /// RFC 3339; events that were received then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; events that were received before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Stands in the event or in the reason. Only among events that whoever asks may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Every entry: needed in a body where no condition is there.
    #[serde(default, skip_serializing_if = "is_false")]
    #[param(ignore)]
    pub all: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(is_it: &bool) -> bool {
    !*is_it
}

/// A number, also as the text that it is in a query.
fn entry_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WrittenId {
        Number(u64),
        Text(String),
    }
    let wrong = || D::Error::custom("the id of an entry is a number");
    match Option::<WrittenId>::deserialize(deserializer).map_err(|_| wrong())? {
        None => Ok(None),
        Some(WrittenId::Number(id)) => Ok(Some(id)),
        Some(WrittenId::Text(text)) => text.parse().map(Some).map_err(|_| wrong()),
    }
}

/// The same in a query, page by page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QuarantineQuery {
    #[serde(flatten)]
    #[param(ignore)]
    pub entries: EntrySelection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// At most so many, 1 to 1,000; 100 when left out. A page may have fewer, and none, and a `next` all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// Some entries, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineEntries {
    pub entries: Vec<ShownEntry>,
    /// Send it as `from` for what follows.
    pub next: Option<u64>,
}

/// A quarantined event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = QuarantineEntry)]
pub struct ShownEntry {
    /// Stays the same when the event is retried and fails again.
    pub id: u64,
    /// Where its record is in the log: `7`, or `2/7` in the third partition.
    pub position: String,
    /// 0 for the event itself; more for what functions made of it beside it.
    pub part: u32,
    /// `log`, `decode`, `contract`, `function` or `destination`.
    pub stage: String,
    /// The source, or the sync for what one sync has stopped.
    pub scope: String,
    pub code: String,
    pub received_at: String,
    /// When it was quarantined first.
    pub quarantined_at: String,
    /// How often it was retried and failed again.
    pub attempts: u32,
    /// It is on its way into the log.
    pub retrying: bool,
    /// The one sync that has not had it; none where no sync has.
    pub for_sync: Option<String>,
    /// Of the configuration that ran then; none where that is not known.
    pub revision: Option<u64>,
    /// Why; none where events are masked, for it may quote them.
    pub message: Option<String>,
    /// The event at that stage: an object, or the text of what is none. Where events are masked every value stands for itself by its type.
    #[schema(value_type = Option<Value>)]
    pub event: Option<Value>,
    /// For a destination its request and the answer; none where events are masked.
    #[schema(value_type = Option<Value>)]
    pub detail: Option<Value>,
    /// The event as it came. In lists and where nobody has it any more there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<EntryOriginal>,
    /// Who asked may not see events of this scope.
    pub masked: bool,
}

/// An event as it came, and what the server knew of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntryOriginal {
    pub source: String,
    pub received_at: String,
    pub ip: Option<String>,
    /// Made here, where the event had none.
    pub message_id: Option<String>,
    /// What stood beside it in its request.
    pub sent_at: Option<String>,
    #[schema(value_type = Option<Value>)]
    pub context: Option<Value>,
    #[schema(value_type = Option<Value>)]
    pub integrations: Option<Value>,
    #[schema(value_type = Value)]
    pub event: Value,
}

/// How many entries there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryCounts {
    pub total: u64,
    pub groups: Vec<EntryCount>,
    /// There are more than were counted; send it as `from` for those.
    pub next: Option<u64>,
    /// Entries that went because of a bound, ever.
    pub expired: u64,
    /// Entries that somebody purged, ever.
    pub purged: u64,
}

/// Entries that are alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryCount {
    pub scope: String,
    pub stage: String,
    pub code: String,
    /// The name of the event; none where it has none, or may not be seen.
    pub event_name: Option<String>,
    pub entries: u64,
}

/// Events that `tidegate send` could take elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntriesExported {
    /// As SDKs send them, with their ids and the times at which they happened. An event that has several entries is there once, with the first of
    /// those that are asked for.
    #[schema(value_type = Vec<BTreeMap<String, Value>>)]
    pub events: Vec<Value>,
    /// Of each event in turn: the sources and syncs of all its entries that are asked for.
    #[serde(default)]
    pub scopes: Vec<Vec<String>>,
    /// Entries that hold no event.
    pub left_out: u64,
    /// Send it as `from` for what follows.
    pub next: Option<u64>,
}

/// Sends entries into the log once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryEntries {
    pub entries: EntrySelection,
    /// Events a second at most, 1 to 100,000; 500 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate: Option<u32>,
}

/// Puts another event in the place of the one of an entry, and retries it.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditEntry {
    /// As an SDK would send it. Without a `messageId` it keeps the one that it has.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub event: Value,
}

impl fmt::Debug for EditEntry {
    /// Events are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EditEntry").finish_non_exhaustive()
    }
}

/// How a job is that retries entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RetryJob)]
pub struct ShownRetryJob {
    pub id: u64,
    /// `running`, `done` or `cancelled`. What was sent before the end may be on its way yet.
    pub state: String,
    pub asked_at: String,
    pub asked_by: String,
    /// The name of that user or token.
    pub asked_by_name: Option<String>,
    pub ended_at: Option<String>,
    /// Entries that were like that when it was asked for.
    pub matched: u64,
    /// Entries that were sent into the log.
    pub sent: u64,
    /// Entries that cannot be retried, by the reason: `no-event`, `no-original`, `no-source`, `no-sync`, `not-settled`, `damaged`.
    pub skipped: BTreeMap<String, u64>,
    /// Of those sent, entries that have left the quarantine: their events went through the log.
    pub refined: u64,
    /// Of those refined, entries that are in quarantine again.
    pub quarantined: u64,
    /// Of those refined, entries of which nothing goes on, by the reason: `dropped` by functions, `filtered` by the sync that they are for,
    /// `not-made` (functions do not make the part any more that was stopped), `duplicate` (accepted under their id by another way).
    pub filtered: BTreeMap<String, u64>,
    /// Events a second.
    pub rate: u32,
}

/// Jobs, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetryJobs {
    pub jobs: Vec<ShownRetryJob>,
}

/// Removes entries for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeEntries {
    pub entries: EntrySelection,
    /// Count what would go, and remove nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntriesPurged {
    pub dry_run: bool,
    pub matched: u64,
    pub purged: u64,
}

/// Tries what would become of entries now, or with an object as it would be. Nothing is delivered, and nothing is changed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryEntries {
    pub entries: EntrySelection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ProposedObject>,
    /// With what a folder says, in the place of a single object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<ProposedFolder>,
    /// `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// At most so many, 1 to 200; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
}

impl fmt::Debug for TryEntries {
    /// A spec may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryEntries").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// An object as it would be.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposedObject {
    /// `event`, `domain`, `function`, `source` or `sync`.
    pub kind: String,
    pub name: String,
    #[schema(value_type = BTreeMap<String, Value>)]
    pub spec: Value,
}

/// Contracts, functions, lookups, sources and syncs as a folder has them. What it does not name stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposedFolder {
    /// Without literal secrets.
    pub documents: Vec<FolderDocument>,
    /// The files that documents name, by their paths: the SHA-256 of each, in hexadecimal digits. They were sent before.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// What would become of entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntriesTried {
    pub entries: Vec<TriedEntry>,
    /// By outcome, how many of these.
    pub summary: BTreeMap<String, u64>,
    /// Send it as `from` for what follows.
    pub next: Option<u64>,
    /// Who asked may not see the events of some: those show no values.
    pub masked: bool,
}

/// What would become of one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriedEntry {
    pub id: u64,
    pub scope: String,
    /// Its code now.
    pub was: String,
    pub message_id: Option<String>,
    pub outcome: TriedEntryOutcome,
    /// Of one that would be quarantined again, or that cannot be retried.
    pub code: Option<String>,
    /// None where events are masked.
    pub reason: Option<String>,
    /// As it would go on: to the syncs of its source, or to the destination of the one sync. A function may make several of one.
    #[schema(value_type = Vec<BTreeMap<String, Value>>)]
    pub delivered: Vec<Value>,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriedEntryOutcome {
    Accepted,
    Quarantined,
    /// A function, or the filter of its sync, leaves it out.
    Dropped,
    NotRetried,
}

impl TriedEntryOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Quarantined => "quarantined",
            Self::Dropped => "dropped",
            Self::NotRetried => "not_retried",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_and_a_body_say_in_the_same_words_which_entries() {
        let entries = EntrySelection { id: Some(7), code: Some("c".to_owned()), ..EntrySelection::default() };
        let query = QuarantineQuery { entries: entries.clone(), limit: Some(9), ..QuarantineQuery::default() };
        let written = serde_json::to_value(&query).unwrap();
        assert_eq!(written, json!({"id": 7, "code": "c", "limit": 9}));
        assert_eq!(serde_json::from_value::<QuarantineQuery>(written).unwrap(), query);
        // In a query numbers are texts.
        let read: QuarantineQuery = serde_json::from_value(json!({"id": "7", "code": "c", "limit": 9})).unwrap();
        assert_eq!(read, query);
        let wrong = |value: Value| serde_json::from_value::<QuarantineQuery>(value).unwrap_err().to_string();
        assert!(wrong(json!({"id": "x"})).contains("is a number"));
        assert!(wrong(json!({"cod": "x"})).contains("unknown field `cod`"));
        let body = json!({"id": 7, "code": "c"});
        assert_eq!(serde_json::from_value::<EntrySelection>(body).unwrap(), entries);
        let unknown = serde_json::from_value::<EntrySelection>(json!({"limit": 1})).unwrap_err();
        assert!(unknown.to_string().contains("unknown field"), "{unknown}");
    }
}
