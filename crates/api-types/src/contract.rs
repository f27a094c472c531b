//! Contracts in the shapes of Hightouch's API, so that what was written for it works here. A domain is a contract with components; both
//! stand for the same objects of the catalog: the kinds `domain`, `event` and `component`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Which domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct DomainQuery {
    /// `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Only those of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only what applies to this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How many to pass over; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// At most so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// By id, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub order_by: Option<DomainOrder>,
}

/// In which order domains come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DomainOrder {
    #[default]
    Id,
    Name,
    CreatedAt,
    UpdatedAt,
}

/// What becomes of an event that the contract does not declare, or that does not fit its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventPolicy {
    AllowEvent,
    BlockEvent,
}

/// What becomes of fields that a schema does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FieldPolicy {
    AllowEvent,
    BlockEvent,
    OmitFields,
}

/// Which call of an SDK an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainEventType {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

/// A declared event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DomainEvent {
    #[serde(rename = "type")]
    pub kind: DomainEventType,
    /// A track event has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of its file; made of type and name, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Left out of a change, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `BLOCK_EVENT` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_schema_violation: Option<EventPolicy>,
    /// `OMIT_FIELDS` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_undeclared_fields: Option<FieldPolicy>,
    /// The fields of `context` that SDKs fill in by themselves count as declared. Left out of a change, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_built_in_context: Option<bool>,
    /// JSON Schema, draft 7, of the whole event. It may refer to `#/definitions/components/<slug>`.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub schema: Value,
}

/// A schema that events of the domain refer to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DomainComponent {
    /// Left out of a new one. In a change it says which one is meant; without it name and version do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of its file, which stays; made of the name, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    pub name: String,
    /// `default` when left out of a new one; of one that its id names it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Left out of a change, it stays; an empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub schema: Value,
    /// The slugs that its schema refers to: answered, and never read.
    #[serde(default)]
    pub imports: Vec<String>,
}

/// A source that a domain applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainEventSource {
    pub id: String,
    pub name: String,
}

/// A domain with its events and components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventDomain {
    pub id: String,
    /// Stands for the workspace, and is the same at each start.
    pub workspace_id: u64,
    pub name: String,
    pub slug: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub on_undeclared_schema: EventPolicy,
    pub events: Vec<DomainEvent>,
    pub components: Vec<DomainComponent>,
    /// Those that may be viewed.
    pub event_sources: Vec<DomainEventSource>,
    pub created_at: String,
    pub updated_at: String,
}

/// A domain without its components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventContract {
    pub id: String,
    /// Stands for the workspace, and is the same at each start.
    pub workspace_id: u64,
    pub name: String,
    pub slug: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub on_undeclared_schema: EventPolicy,
    pub events: Vec<DomainEvent>,
    /// Those that may be viewed.
    pub event_sources: Vec<DomainEventSource>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<EventDomain> for EventContract {
    fn from(domain: EventDomain) -> Self {
        Self {
            id: domain.id,
            workspace_id: domain.workspace_id,
            name: domain.name,
            slug: domain.slug,
            description: domain.description,
            on_undeclared_schema: domain.on_undeclared_schema,
            events: domain.events,
            event_sources: domain.event_sources,
            created_at: domain.created_at,
            updated_at: domain.updated_at,
        }
    }
}

/// A page of domains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventDomains {
    pub data: Vec<EventDomain>,
    pub has_more: bool,
}

/// A page of contracts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventContracts {
    pub data: Vec<EventContract>,
    pub has_more: bool,
}

/// A domain to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CreateDomain {
    pub name: String,
    /// The name of its folder; made of the name, when left out.
    #[serde(default)]
    pub slug: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    /// `ALLOW_EVENT` when left out.
    #[serde(default)]
    pub on_undeclared_schema: Option<EventPolicy>,
    /// Names of the sources that it applies to; `*` alone is all of them. None, when left out.
    #[serde(default)]
    pub sources: Option<Vec<String>>,
    #[serde(default)]
    pub events: Option<Vec<DomainEvent>>,
    #[serde(default)]
    pub components: Option<Vec<DomainComponent>>,
}

/// What changes of a domain. What is left out stays; events and components are replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChangeDomain {
    #[serde(default)]
    pub name: Option<String>,
    /// Renames its folder.
    #[serde(default)]
    pub slug: Option<String>,
    /// An empty text takes it away.
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub on_undeclared_schema: Option<EventPolicy>,
    /// Names of the sources that it applies to; `*` alone is all of them.
    #[serde(default)]
    pub sources: Option<Vec<String>>,
    #[serde(default)]
    pub events: Option<Vec<DomainEvent>>,
    #[serde(default)]
    pub components: Option<Vec<DomainComponent>>,
}

impl From<CreateDomain> for ChangeDomain {
    fn from(new: CreateDomain) -> Self {
        Self {
            name: Some(new.name),
            slug: new.slug,
            description: new.description,
            on_undeclared_schema: new.on_undeclared_schema,
            sources: new.sources,
            events: new.events,
            components: new.components,
        }
    }
}

/// A contract to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CreateContract {
    pub name: String,
    /// The name of its folder; made of the name, when left out.
    #[serde(default)]
    pub slug: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    /// `ALLOW_EVENT` when left out.
    #[serde(default)]
    pub on_undeclared_schema: Option<EventPolicy>,
    /// Names of the sources that it applies to; `*` alone is all of them. None, when left out.
    #[serde(default)]
    pub sources: Option<Vec<String>>,
    #[serde(default)]
    pub events: Option<Vec<DomainEvent>>,
}

impl From<CreateContract> for ChangeDomain {
    fn from(new: CreateContract) -> Self {
        Self {
            name: Some(new.name),
            slug: new.slug,
            description: new.description,
            on_undeclared_schema: new.on_undeclared_schema,
            sources: new.sources,
            events: new.events,
            components: None,
        }
    }
}

/// What changes of a contract. What is left out stays; events are replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChangeContract {
    #[serde(default)]
    pub name: Option<String>,
    /// Renames its folder.
    #[serde(default)]
    pub slug: Option<String>,
    /// An empty text takes it away.
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub on_undeclared_schema: Option<EventPolicy>,
    /// Names of the sources that it applies to; `*` alone is all of them.
    #[serde(default)]
    pub sources: Option<Vec<String>>,
    #[serde(default)]
    pub events: Option<Vec<DomainEvent>>,
}

impl From<ChangeContract> for ChangeDomain {
    fn from(change: ChangeContract) -> Self {
        Self {
            name: change.name,
            slug: change.slug,
            description: change.description,
            on_undeclared_schema: change.on_undeclared_schema,
            sources: change.sources,
            events: change.events,
            components: None,
        }
    }
}
