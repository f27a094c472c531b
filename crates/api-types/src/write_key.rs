use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The write keys of all sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WriteKeys)]
pub struct ShownWriteKeys {
    /// By source and name.
    pub write_keys: Vec<ShownWriteKey>,
}

/// Where a write key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteKeyFrom {
    /// The file of its source, which alone changes it.
    File,
    Api,
}

/// A write key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WriteKey)]
pub struct ShownWriteKey {
    pub source: String,
    /// Unique in its source.
    pub name: String,
    pub from: WriteKeyFrom,
    /// When it was made. A key in a file bears no date: when it was first used, and none while it never was.
    pub created: Option<String>,
    /// From when on it opens nothing.
    pub ends: Option<String>,
    /// Its end has come.
    pub ended: bool,
    /// Events that were accepted under it. A crash of the server may cost the count of its last seconds.
    pub events: u64,
    /// When somebody first sent under it, whatever the answer was.
    pub first_used: Option<String>,
    /// When somebody last sent under it, whatever the answer was.
    pub last_used: Option<String>,
}

/// The write keys of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceWriteKeys {
    /// By name.
    pub write_keys: Vec<SourceWriteKey>,
}

/// A write key of a source: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceWriteKey {
    pub source: String,
    pub name: String,
    pub from: WriteKeyFrom,
    /// Of a key in a file, that file.
    pub file: Option<String>,
    /// Of a key that was made over the API.
    pub id: Option<String>,
    /// The last four characters of a key that was made over the API.
    pub last4: Option<String>,
    /// When it was made. A key in a file bears no date: when it was first used, and none while it never was.
    pub created: Option<String>,
    /// From when on it opens nothing, as it was made.
    pub ends_at: Option<String>,
    /// Of a key that another one has replaced: until when clients may still use it.
    pub grace_until: Option<String>,
    /// The name of the key that has replaced it.
    pub replaced_by: Option<String>,
    /// Its end has come, for whichever reason.
    pub ended: bool,
    /// Events that were accepted under it. A crash of the server may cost the count of its last seconds.
    pub events: u64,
    /// When somebody first sent under it, whatever the answer was.
    pub first_used: Option<String>,
    /// When somebody last sent under it, whatever the answer was.
    pub last_used: Option<String>,
}

/// A write key that is to be made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWriteKey {
    /// Up to 63 letters, digits, `-` and `_`; unique in its source.
    pub name: String,
    /// From when on it opens nothing, a time with its offset from UTC. It never ends when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// A key that clients have already, of 16 to 256 bytes. The server makes one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub value: Option<String>,
}

impl fmt::Debug for CreateWriteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateWriteKey")
            .field("name", &self.name)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

/// A write key that is to take the place of another one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWriteKey {
    /// How long clients may use the old one, at most 400 days: 7 days when left out, 0 ends it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 34560000)]
    pub grace_seconds: Option<u64>,
    /// The name of the new one; that of the old one with a number behind it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From when on the new one opens nothing, a time with its offset from UTC. It never ends when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// A new key that clients have already, of 16 to 256 bytes. The server makes one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub value: Option<String>,
}

impl fmt::Debug for RotateWriteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RotateWriteKey");
        shown.field("grace_seconds", &self.grace_seconds).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A write key that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedWriteKey {
    pub id: String,
    pub source: String,
    pub name: String,
    /// Shown this once.
    pub key: String,
    pub ends_at: Option<String>,
    /// The name of the key that it replaces.
    pub replaces: Option<String>,
    /// Until when that one may still be used.
    pub grace_until: Option<String>,
    /// The door goes by it.
    pub in_force: bool,
    /// Why the door does not yet. It will, as soon as it can.
    pub note: Option<String>,
}

impl fmt::Debug for CreatedWriteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedWriteKey").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A write key that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedWriteKey {
    pub id: String,
    pub source: String,
    pub name: String,
    /// The revision of the catalog that this made.
    pub revision: u64,
    /// The door goes by it: the key opens nothing any more.
    pub in_force: bool,
    /// Why the door does not yet. It will, as soon as it can.
    pub note: Option<String>,
}
