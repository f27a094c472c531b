//! Data contracts: judge an event, name its violations.
//!
//! Beside it, for whoever writes contracts: what a traffic looks like (an **inference**) and the domain that takes it (a
//! **proposal**), what a change of contracts blocks or lets through (a **contrast**), what moves away from them (**field drift**),
//! and plans of other products as domains (an **imported plan**).
//!
//! Nouns: a **domain** (rules and components written together), an **event rule** (one declared event: its kind, name,
//! version and schema), a **contract** (every domain that applies to one source, compiled), a **verdict** (what the
//! contract says of one event), a **violation** (what was found, kept whatever the policy was), a **problem** (what
//! is wrong with a domain).
//!
//! Guarantees:
//! * Undeclared events, undeclared fields and schema violations are three separate findings. No finding counts as
//!   another one: the schema is asked about the event without its undeclared fields.
//! * A clean event is neither changed nor copied. A blocked event is not changed either: fields are omitted only
//!   from an event that goes on.
//! * Judging is bounded: linear-time patterns, no network, no cyclic references in place, capped reports.
//!
//! This room knows no files, no YAML, no clock and no log; `config` reads, `refine` calls.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_event::EventKind;

mod bounds;
mod broken;
mod client_release;
mod compile;
mod contrast;
mod document;
mod drift;
mod fields;
mod findings;
mod formats;
mod import;
mod instance;
mod judge;
mod layout;
pub mod lint;
mod observed;
mod personal;
mod propose;
mod report;
mod schema;
#[cfg(test)]
mod tests;
mod types;
mod work;
mod written;

pub use broken::{BrokenRule, BrokenRules};
pub use client_release::client_release;
pub use compile::Contract;
pub use contrast::{ContrastCount, ContrastKey, ContrastOutcome, ContrastReport, differences};
pub use drift::{DriftLine, DriftWatch};
pub use findings::{EventFinding, Examined};
pub use import::{ImportLoss, ImportedEvent, ImportedPlan, PlanFile, PlanKind, import_plan};
pub use observed::{EventIdentity, InferLimits, Inference};
pub use propose::{InferSettings, Proposal, ProposedEvent};
pub use types::{FieldType, JsonType};

/// Rules and components written together. Plain data: [`Contract::compile`] is what checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub name: String,
    /// What becomes of an event that no rule declares.
    pub on_undeclared_schema: OnUndeclaredSchema,
    /// What is undeclared and allowed is a violation of its own, and not only counted.
    pub undeclared_rows: bool,
    pub events: Vec<EventRule>,
    /// Reusable schemas by slug; a rule refers to one as `#/definitions/components/<slug>`.
    pub components: BTreeMap<String, Value>,
}

/// One declared event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRule {
    pub kind: EventKind,
    /// A track must have one. A page or screen rule without a name stands for every name. Other kinds have no
    /// name to match, so theirs is a label.
    pub name: Option<String>,
    pub version: String,
    pub on_schema_violation: OnSchemaViolation,
    pub on_undeclared_fields: OnUndeclaredFields,
    /// The fields of `context` that SDKs fill in by themselves count as declared.
    pub include_built_in_context: bool,
    /// JSON Schema draft-7 of the whole payload.
    pub schema: Value,
    /// The file it came from, for messages.
    pub origin: String,
}

/// The version of an event that names none, and of a rule that names none.
pub const VERSION_DEFAULT: &str = "default";

/// Policy for an event that no rule declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUndeclaredSchema {
    #[default]
    AllowEvent,
    BlockEvent,
}

/// Policy for a field that the rule does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUndeclaredFields {
    AllowEvent,
    BlockEvent,
    #[default]
    OmitFields,
}

/// Policy for an event that does not satisfy its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnSchemaViolation {
    AllowEvent,
    #[default]
    BlockEvent,
}

impl OnUndeclaredSchema {
    pub const WORDS: &'static str = "ALLOW_EVENT or BLOCK_EVENT";

    /// The policy named by `word`, exactly as written in a domain file.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ALLOW_EVENT" => Some(Self::AllowEvent),
            "BLOCK_EVENT" => Some(Self::BlockEvent),
            _ => None,
        }
    }
}

impl OnUndeclaredFields {
    pub const WORDS: &'static str = "ALLOW_EVENT, BLOCK_EVENT or OMIT_FIELDS";

    /// The policy named by `word`, exactly as written in an event file.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ALLOW_EVENT" => Some(Self::AllowEvent),
            "BLOCK_EVENT" => Some(Self::BlockEvent),
            "OMIT_FIELDS" => Some(Self::OmitFields),
            _ => None,
        }
    }
}

impl OnSchemaViolation {
    pub const WORDS: &'static str = "ALLOW_EVENT or BLOCK_EVENT";

    /// The policy named by `word`, exactly as written in an event file.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ALLOW_EVENT" => Some(Self::AllowEvent),
            "BLOCK_EVENT" => Some(Self::BlockEvent),
            _ => None,
        }
    }
}

/// How large a contract may be. The defaults are far above any that people write by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContractLimits {
    /// Rules of one contract.
    pub rules_max: usize,
    /// JSON text of one schema together with the components it reaches.
    pub schema_bytes_max: usize,
    /// Nesting of one schema or component as JSON.
    pub schema_depth_max: usize,
    /// Nesting of a schema with everything that it refers to, one inside the other. A small stack (2 MiB) still
    /// holds eight times the default.
    pub reference_depth_max: usize,
    /// Levels of an event, as the door lets them in.
    pub event_depth_max: usize,
    /// Schemas that may apply to one and the same value: what bounds the work for one value of an event.
    pub applied_max: usize,
    /// Places that the undeclared-field check of one rule tells apart.
    pub places_max: usize,
    /// Memory of one compiled pattern.
    pub pattern_bytes_max: usize,
}

impl Default for ContractLimits {
    fn default() -> Self {
        Self {
            rules_max: 10_000,
            schema_bytes_max: 1 << 20,
            schema_depth_max: 64,
            reference_depth_max: 1_024,
            event_depth_max: 64,
            applied_max: 4_096,
            places_max: 16_384,
            pattern_bytes_max: 1 << 20,
        }
    }
}

/// What is wrong with a domain, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{origin}: {problem} {fix}")]
pub struct ContractProblem {
    /// The file, or the component and its domain.
    pub origin: String,
    /// One sentence.
    pub problem: String,
    /// One sentence.
    pub fix: String,
    /// A JSON pointer into the file; empty when it is about the file as a whole.
    pub place: String,
}

impl ContractProblem {
    fn new(origin: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { origin: origin.into(), problem: problem.into(), fix: fix.into(), place: String::new() }
    }

    /// The same problem at a place of its file.
    fn at(self, place: String) -> Self {
        Self { place, ..self }
    }
}

/// Whether the event goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Block,
}

/// What the contract says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    /// Undeclared fields were removed from the event. Never set together with [`Action::Block`].
    pub omitted: bool,
    /// Whatever the action: `None` of a clean event, and of one that has nothing but what is undeclared and allowed,
    /// unless its domain wants rows.
    pub violation: Option<Violation>,
    /// What is undeclared and allowed, for counting: an event by its type and name, a field by its place in its event
    /// (`/properties/items/*/x of track "Sold"`). Each at most once, at most [`VIOLATIONS_MAX`].
    pub undeclared: Vec<String>,
}

impl Verdict {
    /// Nothing to say: the event goes on as it came.
    pub const CLEAN: Self = Self { action: Action::Allow, omitted: false, violation: None, undeclared: Vec::new() };
}

/// What was found in one event; becomes a row of `event_violations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The event before anything was omitted, JSON text.
    pub payload: String,
    pub event_name: Option<String>,
    pub event_type: EventKind,
    pub schema_version: String,
    pub has_undeclared_schema: bool,
    pub has_undeclared_fields: bool,
    pub has_schema_violated: bool,
    /// One sentence each, led by a JSON pointer: at most [`VIOLATIONS_MAX`] of at most
    /// [`VIOLATION_BYTES_MAX`] bytes, and then one that says how many more there are.
    pub violations: Vec<String>,
    /// The same for counting.
    pub broken: BrokenRules,
}

/// Sentences in one violation.
pub const VIOLATIONS_MAX: usize = 64;
/// Bytes in one sentence of a violation.
pub const VIOLATION_BYTES_MAX: usize = 1_024;
