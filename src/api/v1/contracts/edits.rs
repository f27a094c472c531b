//! From what is asked of a domain to edits of its objects.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_api_types::contract::{ChangeDomain, DomainComponent, DomainEvent};
use tidegate_catalog::{Catalog, CatalogObject, Labels, ObjectContent, ObjectEdit, ObjectId, ObjectKind};
use tidegate_contract::VERSION_DEFAULT;

use super::load::LoadedDomain;
use super::place::{DomainPlace, DomainShape, fresh_slug, is_slug, named, slug_in};
use super::shown::version;
use crate::api::refusal::ApiRefusal;

/// What `sources` says for all sources.
const ALL_SOURCES: &str = "*";

/// A domain as it shall be: what each of its objects says, and the edits that it takes.
pub(super) struct DomainEdits<'a> {
    catalog: &'a Catalog,
    /// Of a domain that is there.
    before: Option<&'a LoadedDomain>,
    place: DomainPlace,
    /// By the names of their objects.
    pub(super) files: Vec<(String, Value)>,
    pub(super) edits: Vec<ObjectEdit>,
}

impl<'a> DomainEdits<'a> {
    /// What it takes to make the domain so.
    ///
    /// # Errors
    /// What does not fit, and in which field.
    pub(super) fn of(
        catalog: &'a Catalog,
        before: Option<&'a LoadedDomain>,
        place: DomainPlace,
        asked: ChangeDomain,
    ) -> Result<Self, ApiRefusal> {
        let mut edits = Self { catalog, before, place, files: Vec::new(), edits: Vec::new() };
        let ChangeDomain { name, description, on_undeclared_schema, sources, events, components, slug: _ } = asked;
        let mut spec = before.map(|before| fields(&before.object)).unwrap_or_default();
        put(&mut spec, "name", name.as_ref());
        put_or_clear(&mut spec, "description", description);
        put(&mut spec, "onUndeclaredSchema", on_undeclared_schema.as_ref());
        match sources {
            Some(sources) if sources == [ALL_SOURCES] => drop(spec.remove("sources")),
            Some(sources) => drop(spec.insert("sources".to_owned(), json!(sources))),
            // A new one applies to no source before somebody says to which.
            None if before.is_none() => drop(spec.insert("sources".to_owned(), json!([]))),
            None => {}
        }
        let domain = edits.place.name();
        edits.keep(ObjectKind::Domain, before.map(|before| &before.object), domain, spec);
        edits.components(components)?;
        edits.events(events)?;
        Ok(edits)
    }

    fn components(&mut self, asked: Option<Vec<DomainComponent>>) -> Result<(), ApiRefusal> {
        let there: &[CatalogObject] = self.before.map_or(&[], |before| before.components.as_slice());
        let beginning = self.place.components();
        let Some(asked) = asked else {
            self.stay(ObjectKind::Component, there, &beginning);
            return Ok(());
        };
        if self.place.shape == DomainShape::Contracts && !asked.is_empty() {
            let fix = "move the workspace's contracts from contracts/ to domains/, and make components then";
            return Err(wrong("components", "the layout of this workspace's contracts has no components", fix));
        }
        let before = self.before.map(|before| before.place.components()).unwrap_or_default();
        let mut taken: BTreeSet<String> =
            there.iter().filter_map(|object| slug_in(&object.content.name, &before)).map(str::to_owned).collect();
        let mut met: BTreeSet<ObjectId> = BTreeSet::new();
        for (at, component) in asked.into_iter().enumerate() {
            let field = format!("components[{at}]");
            is_object(&component.schema, &field)?;
            let object = matching_component(&component, there, &field)?;
            let slug = match object {
                Some(object) => stored_slug(object, &before, component.slug.as_deref(), &field)?,
                None => new_slug(component.slug.as_deref(), (component.name.as_str(), "component"), &taken, &field)?,
            };
            if object.is_some_and(|object| !met.insert(object.id.clone())) {
                return Err(wrong(&field, "it is the same component as one before it", "name each component once"));
            }
            let mut spec = object.map(fields).unwrap_or_default();
            put(&mut spec, "name", Some(&component.name));
            put(&mut spec, "version", component.version.as_ref());
            put_or_clear(&mut spec, "description", component.description);
            spec.insert("schema".to_owned(), component.schema);
            self.keep(ObjectKind::Component, object, named(&beginning, &slug), spec);
            taken.insert(slug);
        }
        self.take_away(there, &met);
        Ok(())
    }

    fn events(&mut self, asked: Option<Vec<DomainEvent>>) -> Result<(), ApiRefusal> {
        let there: &[CatalogObject] = self.before.map_or(&[], |before| before.events.as_slice());
        let beginning = self.place.events();
        let Some(asked) = asked else {
            self.stay(ObjectKind::Event, there, &beginning);
            return Ok(());
        };
        let before = self.before.map(|before| before.place.events()).unwrap_or_default();
        let mut taken: BTreeSet<String> =
            there.iter().filter_map(|object| slug_in(&object.content.name, &before)).map(str::to_owned).collect();
        let mut met: BTreeSet<ObjectId> = BTreeSet::new();
        for (at, event) in asked.into_iter().enumerate() {
            let field = format!("events[{at}]");
            is_object(&event.schema, &field)?;
            let object = matching_event(&event, there, &before);
            let slug = match object {
                Some(object) => stored_slug(object, &before, None, &field)?,
                None => {
                    let kind = json!(event.kind).as_str().unwrap_or_default().to_owned();
                    let named = [Some(kind.as_str()), event.name.as_deref(), event.version.as_deref()];
                    let named = named.into_iter().flatten().filter(|part| *part != VERSION_DEFAULT);
                    let text = named.collect::<Vec<_>>().join(" ");
                    new_slug(event.slug.as_deref(), (text.as_str(), kind.as_str()), &taken, &field)?
                }
            };
            if self.place.is_reserved(&slug) {
                return Err(wrong(
                    &format!("{field}.slug"),
                    "the slug is that of the domain's own file",
                    "choose another",
                ));
            }
            if object.is_some_and(|object| !met.insert(object.id.clone())) {
                return Err(wrong(&field, "it is the same event as one before it", "name each event once"));
            }
            let spec = event_spec(&event, object);
            self.keep(ObjectKind::Event, object, named(&beginning, &slug), spec);
            taken.insert(slug);
        }
        self.take_away(there, &met);
        Ok(())
    }

    /// Parts of which nothing is said stay as they are; when the domain has another slug, they go with it.
    fn stay(&mut self, kind: ObjectKind, there: &[CatalogObject], beginning: &str) {
        for object in there {
            let name = object.content.name.rsplit('/').next().unwrap_or_default();
            self.keep(kind, Some(object), format!("{beginning}{name}"), fields(object));
        }
    }

    /// An object shall say this. One that says it already is not touched.
    fn keep(&mut self, kind: ObjectKind, before: Option<&CatalogObject>, name: String, spec: Map<String, Value>) {
        let spec = Value::Object(spec);
        self.files.push((name.clone(), spec.clone()));
        match before {
            None => {
                let content = ObjectContent { kind, name, labels: Labels::new(), owner: None, spec };
                self.edits.push(ObjectEdit::Create { id: self.catalog.new_id(kind), content });
            }
            Some(object) => {
                let content = ObjectContent { name, spec, ..object.content.clone() };
                if content != object.content {
                    let (id, expected) = (object.id.clone(), Some(object.revision));
                    self.edits.push(ObjectEdit::Update { id, expected, content });
                }
            }
        }
    }

    fn take_away(&mut self, there: &[CatalogObject], met: &BTreeSet<ObjectId>) {
        let gone = there.iter().filter(|object| !met.contains(&object.id));
        let delete =
            |object: &CatalogObject| ObjectEdit::Delete { id: object.id.clone(), expected: Some(object.revision) };
        self.edits.extend(gone.map(delete));
    }
}

fn event_spec(event: &DomainEvent, before: Option<&CatalogObject>) -> Map<String, Value> {
    let DomainEvent { kind, name, slug: _, version, description, schema, .. } = event;
    let mut spec = before.map(fields).unwrap_or_default();
    // Left out, it is what is usual; what Hightouch's API does not know stays.
    spec.retain(|field, _| matches!(field.as_str(), "description" | "includeBuiltInContext"));
    put(&mut spec, "type", Some(kind));
    put(&mut spec, "name", name.as_ref().filter(|name| !name.is_empty()));
    put(&mut spec, "version", version.as_ref());
    put_or_clear(&mut spec, "description", description.clone());
    put(&mut spec, "onSchemaViolation", event.on_schema_violation.as_ref());
    put(&mut spec, "onUndeclaredFields", event.on_undeclared_fields.as_ref());
    put(&mut spec, "includeBuiltInContext", event.include_built_in_context.as_ref());
    spec.insert("schema".to_owned(), schema.clone());
    spec
}

/// By its id; without one by name and version.
fn matching_component<'o>(
    asked: &DomainComponent,
    there: &'o [CatalogObject],
    field: &str,
) -> Result<Option<&'o CatalogObject>, ApiRefusal> {
    if let Some(id) = &asked.id {
        let found = there.iter().find(|object| object.id.as_str() == id);
        let missing = || {
            let fix = "leave `id` out of a new component; send that of the answer for one that is there";
            wrong(&format!("{field}.id"), "the domain has no component with this id", fix)
        };
        return found.map(Some).ok_or_else(missing);
    }
    let is_named =
        |object: &&CatalogObject| object.content.spec.get("name").and_then(Value::as_str) == Some(asked.name.as_str());
    let wanted = asked.version.as_deref().unwrap_or(VERSION_DEFAULT);
    let found = there.iter().filter(is_named).find(|object| version(object) == wanted);
    if found.is_none() && asked.version.is_none() && there.iter().any(|object| is_named(&object)) {
        let detail = "a component of this name is there under other versions alone";
        return Err(wrong(&format!("{field}.version"), detail, "send its id, or its version"));
    }
    Ok(found)
}

/// By its slug; without one by type, name and version.
fn matching_event<'o>(asked: &DomainEvent, there: &'o [CatalogObject], beginning: &str) -> Option<&'o CatalogObject> {
    if let Some(slug) = &asked.slug {
        return there.iter().find(|object| slug_in(&object.content.name, beginning) == Some(slug.as_str()));
    }
    let wanted = asked.version.as_deref().unwrap_or(VERSION_DEFAULT);
    let name = asked.name.as_deref().filter(|name| !name.is_empty());
    there.iter().find(|object| {
        let spec = &object.content.spec;
        let has_name = spec.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        spec.get("type") == Some(&json!(asked.kind)) && has_name == name && version(object) == wanted
    })
}

/// The slug of a part that is there, which stays.
fn stored_slug(
    object: &CatalogObject,
    beginning: &str,
    asked: Option<&str>,
    field: &str,
) -> Result<String, ApiRefusal> {
    let slug = slug_in(&object.content.name, beginning).unwrap_or_default();
    if asked.is_none_or(|asked| asked == slug) {
        return Ok(slug.to_owned());
    }
    let fix = format!("leave `slug` out, or send {slug:?}; for another slug make another component");
    Err(wrong(&format!("{field}.slug"), "a slug stays as it was made", fix))
}

/// A slug for what is new: that which was sent, or one made of a text.
fn new_slug(
    asked: Option<&str>,
    (text, otherwise): (&str, &str),
    taken: &BTreeSet<String>,
    field: &str,
) -> Result<String, ApiRefusal> {
    match asked {
        None => Ok(fresh_slug(text, otherwise, taken)),
        Some(slug) => fitting(slug, &format!("{field}.slug")).map(str::to_owned),
    }
}

/// A slug that can be the name of a file.
pub(super) fn fitting<'s>(slug: &'s str, field: &str) -> Result<&'s str, ApiRefusal> {
    let fix = "use up to 80 letters, digits, - and _";
    if is_slug(slug) { Ok(slug) } else { Err(wrong(field, "the slug cannot be the name of a file", fix)) }
}

fn is_object(schema: &Value, field: &str) -> Result<(), ApiRefusal> {
    let fix = "send a JSON Schema, draft 7";
    if schema.is_object() { Ok(()) } else { Err(wrong(&format!("{field}.schema"), "the schema is no object", fix)) }
}

fn wrong(field: &str, detail: &str, fix: impl Into<String>) -> ApiRefusal {
    ApiRefusal::unprocessable("contract", format!("`{field}`: {detail}"), fix).in_field(field)
}

fn fields(object: &CatalogObject) -> Map<String, Value> {
    object.content.spec.as_object().cloned().unwrap_or_default()
}

fn put(spec: &mut Map<String, Value>, field: &str, value: Option<&impl Serialize>) {
    if let Some(value) = value {
        spec.insert(field.to_owned(), json!(value));
    }
}

/// An empty text takes the field away.
fn put_or_clear(spec: &mut Map<String, Value>, field: &str, value: Option<String>) {
    match value {
        Some(text) if text.is_empty() => drop(spec.remove(field)),
        Some(text) => drop(spec.insert(field.to_owned(), Value::String(text))),
        None => {}
    }
}
