//! Somebody who is left out, or forgotten. Requests name them in clear, in bodies alone; answers name them by hashes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Somebody, by one id.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Subject)]
pub struct NamedSubject {
    /// `user` for a `userId`, `anonymous` for an `anonymousId`, `group` for a `groupId`, `trait` for who has a trait.
    pub kind: String,
    /// Of a trait, such as `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id. Of a trait its value, in any spelling, or `sha256:` and the hexadecimal digest of it in small letters, without white space
    /// around it.
    pub value: String,
}

impl fmt::Debug for NamedSubject {
    /// Ids are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedSubject").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Leaves subjects out from now on, or lets them pass again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressSubjects {
    pub subjects: Vec<NamedSubject>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectsSuppressed {
    pub dry_run: bool,
    pub subjects: Vec<HashedName>,
    /// Subjects that were not on the list before, or are not on it any more.
    pub changed: u64,
    /// Events that were pending for destination plugins and go nowhere now.
    pub pending: u64,
}

/// A subject by its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = HashedSubject)]
pub struct HashedName {
    pub kind: String,
    /// Of a trait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first 16 digits of its keyed hash.
    pub hash: String,
}

/// Who is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressedNames {
    pub subjects: Vec<ShownSuppressed>,
}

/// Somebody who is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SuppressedSubject)]
pub struct ShownSuppressed {
    pub subject: HashedName,
    pub since: String,
    /// A user of the catalog, or the admin token.
    pub asked_by: String,
    /// The name of that user or token.
    pub asked_by_name: Option<String>,
}

/// Says what people consent to, from now on. Without a category it asks what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SayConsents {
    /// Users and visitors without a name.
    pub subjects: Vec<NamedSubject>,
    /// By category, as syncs name them: `true` for granted, `false` for denied, `null` to take back what is known.
    #[serde(default)]
    pub categories: BTreeMap<String, Option<bool>>,
}

/// What is known of people now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentsSaid {
    /// What is another than before.
    pub changed: u64,
    /// Events that were pending for destination plugins and are filtered now.
    pub withheld: u64,
    pub known: Vec<ShownConsent>,
}

/// What is known of somebody and a category.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = KnownConsent)]
pub struct ShownConsent {
    pub subject: HashedName,
    pub category: String,
    pub granted: bool,
    pub since: String,
    /// `operator` or `event`.
    pub by: String,
}

/// Removes what there is about subjects, in the background.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetSubjects {
    pub subjects: Vec<NamedSubject>,
    /// Count what would be removed, and remove nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Do not leave them out from now on: what they send later is an event like any other.
    #[serde(default)]
    pub keep_accepting: bool,
}

/// How a job is that forgets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ForgetJob)]
pub struct ShownForgetJob {
    pub id: u64,
    /// `running` or `done`.
    pub state: String,
    pub dry_run: bool,
    pub asked_at: String,
    pub asked_by: String,
    /// The name of that user or token.
    pub asked_by_name: Option<String>,
    pub ended_at: Option<String>,
    pub subjects: Vec<HashedName>,
    pub report: ForgetReport,
}

/// Jobs that forget, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownForgetJobs {
    pub jobs: Vec<ShownForgetJob>,
}

/// What a job did, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ForgetReport {
    /// `log`, `tools`, `state`, `file` or `done`.
    pub step: String,
    /// The partition of the log that it is in.
    pub partition: u16,
    /// Everything below this offset of the partition is done.
    pub next: u64,
    /// It ends there in this partition; none where it has not begun.
    pub to: Option<u64>,
    pub places: Vec<ForgottenPlace>,
    /// The tools behind destination plugins.
    pub tools: Vec<ForgottenInTool>,
    /// Segments of the log that were written anew; the newest 1,000.
    pub segments: Vec<ErasedSegment>,
}

/// What was found in one place, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgottenPlace {
    pub place: String,
    pub looked_at: u64,
    pub found: u64,
    pub removed: u64,
    /// Something is left there, or may be; why, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// What the tool behind a destination plugin was asked to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ForgottenInTool {
    pub destination: String,
    /// `waits`, `asked`, `not-possible` or `failed`; in a dry run `would-ask` or `not-possible`.
    pub state: String,
    /// Subjects that the tool has taken for deletion; in a dry run those that it would be asked about.
    pub asked: u64,
    /// Subjects that the tool knows by no such id, or that its settings do not ask for.
    pub left_out: u64,
    /// Subjects that it could not be asked about, or refused.
    pub failed: u64,
    /// Why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Tries in a row by which nothing came any further.
    pub tries: u32,
    /// The subjects that wait, by their places in the order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<u32>,
}

/// A segment of the log that was written anew, as proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasedSegment {
    pub partition: u16,
    /// Its first offset, which is its name.
    pub segment: u64,
    /// Records that were erased.
    pub records: u64,
    /// The SHA-256 of the file before and after.
    pub sha256_before: String,
    pub sha256_after: String,
}

/// Looks for subjects in every file of the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyForgotten {
    pub subjects: Vec<NamedSubject>,
}

/// Where subjects still stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgottenVerified {
    pub files: u64,
    pub bytes: u64,
    pub found: Vec<FoundMarker>,
    /// What could not be looked for or into.
    pub left_out: Vec<String>,
}

/// A file in which a subject stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundMarker {
    /// Below the data directory.
    pub file: String,
    pub count: u64,
}
