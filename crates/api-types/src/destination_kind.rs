//! Which destinations there can be, and what each wants to be told.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The kinds of destinations, those of this program first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DestinationKinds {
    pub kinds: Vec<ShownDestinationKind>,
}

/// A kind of destinations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DestinationKind)]
pub struct ShownDestinationKind {
    /// `kind` of its spec: `postgres`, `kafka`, `plugin`.
    pub kind: String,
    /// Of a shipped plugin: which one.
    pub plugin: Option<String>,
    /// For people.
    pub title: String,
    /// What it does, in a sentence.
    pub description: String,
    /// `warehouse`, `stream` or `tool`.
    pub group: String,
    /// JSON Schema of its settings: of `spec` itself, of a plugin of `spec.settings`. A property with `secret: true` takes `secret:NAME`.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub settings: Value,
    /// Of a plugin: some address is a setting, so that `allow_hosts` has to grant it.
    pub needs_hosts: bool,
}
