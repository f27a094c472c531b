//! Domains as answers. A spec that somebody wrote in another way is shown with what is usual in the place of what it lacks.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tidegate_api_types::contract::{
    DomainComponent, DomainEvent, DomainEventSource, DomainEventType, EventDomain, EventPolicy, FieldPolicy,
};
use tidegate_catalog::CatalogObject;
use tidegate_contract::VERSION_DEFAULT;
use tidegate_event::time;

use super::load::LoadedDomain;
use super::place::slug_in;

/// How a reference to a component begins.
const COMPONENT: &str = "#/definitions/components/";

/// What is asked of all domains at once.
pub(super) struct DomainView<'a> {
    pub(super) workspace: &'a str,
    /// The sources that may be viewed.
    pub(super) sources: &'a [CatalogObject],
    /// Components that do not apply to this source are left out.
    pub(super) source: Option<&'a str>,
}

impl DomainView<'_> {
    pub(super) fn shown(&self, domain: &LoadedDomain) -> EventDomain {
        let spec = &domain.object.content.spec;
        let (events, components) = (domain.place.events(), domain.place.components());
        let sources = self.sources.iter().filter(|source| domain.applies_to(&source.content.name));
        let applies = |component: &&CatalogObject| self.source.is_none_or(|source| is_for(component, source));
        EventDomain {
            id: domain.object.id.to_string(),
            workspace_id: workspace_id(self.workspace),
            name: text(spec, "name").unwrap_or_else(|| domain.place.slug.clone()),
            slug: domain.place.slug.clone(),
            description: text(spec, "description"),
            on_undeclared_schema: word(spec, "onUndeclaredSchema").unwrap_or(EventPolicy::AllowEvent),
            events: domain.events.iter().filter_map(|object| event(object, &events)).collect(),
            components: domain.components.iter().filter(applies).map(|object| component(object, &components)).collect(),
            event_sources: sources
                .map(|source| DomainEventSource { id: source.id.to_string(), name: source.content.name.clone() })
                .collect(),
            created_at: time::format(domain.object.created_at_us),
            updated_at: time::format(domain.object.updated_at_us),
        }
    }
}

/// Whether a component is there for a source: for all, unless it names some.
fn is_for(component: &CatalogObject, source: &str) -> bool {
    let named = super::load::named_sources(&component.content.spec).unwrap_or_default();
    named.is_empty() || named.contains(&source)
}

/// A number that stands for a workspace: it has none of its own.
fn workspace_id(workspace: &str) -> u64 {
    let hash = Sha256::digest(workspace);
    hash.iter().take(4).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// None for one without a type, which declares nothing.
fn event(object: &CatalogObject, beginning: &str) -> Option<DomainEvent> {
    let spec = &object.content.spec;
    Some(DomainEvent {
        kind: word::<DomainEventType>(spec, "type")?,
        name: text(spec, "name"),
        slug: slug_in(&object.content.name, beginning).map(str::to_owned),
        version: Some(version(object).to_owned()),
        description: text(spec, "description"),
        on_schema_violation: Some(word(spec, "onSchemaViolation").unwrap_or(EventPolicy::BlockEvent)),
        on_undeclared_fields: Some(word(spec, "onUndeclaredFields").unwrap_or(FieldPolicy::OmitFields)),
        include_built_in_context: spec.get("includeBuiltInContext").and_then(Value::as_bool),
        schema: schema(spec),
    })
}

fn component(object: &CatalogObject, beginning: &str) -> DomainComponent {
    let spec = &object.content.spec;
    let slug = slug_in(&object.content.name, beginning).unwrap_or_default().to_owned();
    let mut imports = BTreeSet::new();
    collect_imports(&schema(spec), &mut imports);
    DomainComponent {
        id: Some(object.id.to_string()),
        name: text(spec, "name").unwrap_or_else(|| slug.clone()),
        slug: Some(slug),
        version: Some(version(object).to_owned()),
        description: text(spec, "description"),
        schema: schema(spec),
        imports: imports.into_iter().collect(),
    }
}

/// The version of an event or of a component.
pub(super) fn version(object: &CatalogObject) -> &str {
    object.content.spec.get("version").and_then(Value::as_str).unwrap_or(VERSION_DEFAULT)
}

fn schema(spec: &Value) -> Value {
    let schema = spec.get("schema").filter(|schema| schema.is_object());
    schema.cloned().unwrap_or_else(|| Value::Object(Map::new()))
}

fn text(spec: &Value, field: &str) -> Option<String> {
    spec.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn word<T: DeserializeOwned>(spec: &Value, field: &str) -> Option<T> {
    serde_json::from_value(spec.get(field)?.clone()).ok()
}

/// The slugs of the components that a schema refers to.
fn collect_imports(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(COMPONENT));
            found.extend(reference.map(|slug| slug.split('/').next().unwrap_or_default().to_owned()));
            fields.values().for_each(|field| collect_imports(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_imports(item, found)),
        _ => {}
    }
}
