//! An entry, and what it is made of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CatalogError;
use crate::keys::{CatalogKeys, KeyedHash};
use crate::object::{ObjectId, ObjectKind};
use crate::store::{StoreCell, StoredRow};

/// Who asks, and from where. All of it is none for what the program does of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actor {
    /// The user.
    pub principal: Option<ObjectId>,
    /// The token that was shown.
    pub token: Option<ObjectId>,
    pub address: Option<String>,
    /// The user agent.
    pub agent: Option<String>,
    /// Id of the request.
    pub request: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    Done,
    Denied,
    Failed,
}

const RESULTS: [(AuditResult, &str); 3] =
    [(AuditResult::Done, "done"), (AuditResult::Denied, "denied"), (AuditResult::Failed, "failed")];

impl AuditResult {
    #[must_use]
    pub const fn name(self) -> &'static str {
        RESULTS[self as usize].1
    }
}

/// What happened, for an entry to be made of.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    pub workspace: String,
    /// A verb in the past: `created`, `signed_in`, `revealed`.
    pub action: String,
    pub kind: Option<ObjectKind>,
    pub object: Option<ObjectId>,
    pub name: Option<String>,
    pub result: AuditResult,
    /// The revision of the catalog that it made.
    pub revision: Option<u64>,
    /// What else there is to say; of a change the fields, before and after, secrets masked.
    pub detail: Value,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub seq: u64,
    /// Microseconds since the Unix epoch, UTC.
    pub at_us: i64,
    pub workspace: String,
    pub principal: Option<String>,
    pub token: Option<String>,
    pub action: String,
    pub kind: Option<String>,
    pub object: Option<String>,
    pub name: Option<String>,
    pub result: String,
    pub revision: Option<u64>,
    pub request: Option<String>,
    pub agent: Option<String>,
    pub detail: Value,
    /// None as well when it was erased.
    pub address: Option<String>,
    #[serde(skip)]
    pub(crate) detail_text: String,
    #[serde(skip)]
    pub(crate) address_hash: Option<Vec<u8>>,
    #[serde(skip)]
    pub(crate) hash: Vec<u8>,
}

/// The columns that [`AuditEntry::read`] reads and [`AuditEntry::cells`] writes, in order.
pub(crate) const AUDIT_COLUMNS: &str = "seq, at_us, workspace, principal, token, action, kind, object, name, result, revision, \
     request, agent, detail, address, address_hash, hash";

impl AuditEntry {
    pub(crate) fn read(row: &StoredRow) -> Result<Self, CatalogError> {
        let detail_text = row.text(13)?;
        Ok(Self {
            seq: row.unsigned(0)?,
            at_us: row.integer(1)?,
            workspace: row.text(2)?,
            principal: row.text_or_null(3)?,
            token: row.text_or_null(4)?,
            action: row.text(5)?,
            kind: row.text_or_null(6)?,
            object: row.text_or_null(7)?,
            name: row.text_or_null(8)?,
            result: row.text(9)?,
            revision: row.integer_or_null(10)?.and_then(|revision| u64::try_from(revision).ok()),
            request: row.text_or_null(11)?,
            agent: row.text_or_null(12)?,
            detail: serde_json::from_str(&detail_text).unwrap_or(Value::Null),
            address: row.text_or_null(14)?,
            detail_text,
            address_hash: row.bytes_or_null(15)?,
            hash: row.bytes(16)?,
        })
    }

    pub(crate) fn cells(self) -> Vec<StoreCell> {
        vec![
            self.seq.into(),
            self.at_us.into(),
            self.workspace.into(),
            self.principal.into(),
            self.token.into(),
            self.action.into(),
            self.kind.into(),
            self.object.into(),
            self.name.into(),
            self.result.into(),
            self.revision.into(),
            self.request.into(),
            self.agent.into(),
            self.detail_text.into(),
            self.address.into(),
            self.address_hash.into(),
            self.hash.into(),
        ]
    }

    /// The hash of this entry behind `before`. Everything counts but the address, of which the keyed hash does.
    pub(crate) fn hash_behind(&self, before: &[u8], keys: &CatalogKeys) -> KeyedHash {
        let (seq, at_us) = (self.seq.to_be_bytes(), self.at_us.to_be_bytes());
        let revision = self.revision.map(|revision| revision.to_be_bytes());
        let texts = [&self.principal, &self.token, &self.kind, &self.object, &self.name, &self.request, &self.agent];
        let mut parts: Vec<&[u8]> =
            vec![before, &seq, &at_us, self.workspace.as_bytes(), self.action.as_bytes(), self.result.as_bytes()];
        let optional = texts.into_iter().map(|text| text.as_deref().map(str::as_bytes));
        let revision = revision.as_ref().map(|bytes| &bytes[..]);
        for part in optional.chain([revision, self.address_hash.as_deref()]) {
            // What is not there differs from what is empty.
            parts.extend(part.map_or([&b"-"[..], &b""[..]], |bytes| [&b"+"[..], bytes]));
        }
        parts.push(self.detail_text.as_bytes());
        keys.audit(&parts)
    }

    /// One line of JSON, without its end.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
