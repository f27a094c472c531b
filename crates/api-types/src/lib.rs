//! Requests and answers of the admin API: shared by the server, the command line and generated clients.
//!
//! Every type is what goes over the wire and nothing else; `/api/openapi.json` is made from them. A field that is
//! `null` or missing means "there is none". Times are RFC 3339 in UTC, a version is named by its sha-256 in 64
//! hexadecimal digits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much comes, what becomes of it, and how far everything is.
pub mod activity;
/// Alerts: how they are, and who was told.
pub mod alert;
/// Builds of uploads.
pub mod build;
/// Whether what was accepted is the sum of its fates.
pub mod conservation;
/// Contracts in the shapes of another product's API.
pub mod contract;
/// The control plane: plans, drafts, tokens, the audit log.
pub mod control;
/// Destinations: what there is and what it did.
pub mod destination;
/// Which destinations there can be.
pub mod destination_kind;
/// What has become of events.
pub mod fate;
/// Functions: what there is and what it did.
pub mod function;
/// Lines that guests logged.
pub mod logs;
/// Objects of the catalog, and changes of them.
pub mod object;
/// Where everything is: paths with `{name}` or `{id}` for what a request names.
pub mod path;
/// Who is left out or forgotten.
pub mod privacy;
/// Promotions: what one workspace has, for another one.
pub mod promotion;
/// Quarantined events.
pub mod quarantine;
/// Tables of a sync, made anew beside the old ones.
pub mod rebuild;
/// Tables of embedded warehouses, read by SQL.
pub mod query;
/// Changes of what runs.
pub mod reload;
/// Parts of the log that go to one sync once more.
pub mod replay;
/// Functions that are written as a text, and trying functions out.
pub mod script;
/// Signing in and out.
pub mod sign_in;
/// Sources that read streams of other systems.
pub mod stream;
/// What has become of single events.
pub mod trace;
/// What arrives, held against the contracts.
pub mod traffic;
/// Trying objects out.
pub mod tried;
/// Versions and where they are in use.
pub mod version;
/// How often contracts were broken over time.
pub mod violations;
/// Objects of a workspace, and what changes of them.
pub mod workspace;
/// Write keys of sources: which there are and what they are used for.
pub mod write_key;

/// A refusal, as RFC 9457 has it (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// Names the kind of problem: `urn:tidegate:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, in a sentence.
    pub detail: String,
    /// The kind of problem for programs, e.g. `no-such-version`.
    pub code: String,
    /// What to do about it.
    pub fix: String,
    /// Of a workspace that has problems, each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<reload::WorkspaceProblem>,
    /// The field of the request that it is about: `spec.rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl ProblemDetails {
    /// The media type of a body that holds one.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// The `type` of problems with this code.
    #[must_use]
    pub fn kind_of(code: &str) -> String {
        format!("urn:tidegate:problem:{code}")
    }
}
