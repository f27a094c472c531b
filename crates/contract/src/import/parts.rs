//! What an import is made of: the files that come in, the events that go out, and what is lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate_event::EventKind;

use super::draft7::{self, CarriedPlace};
use crate::lint::ENVELOPE;
use crate::written;
use crate::{Domain, EventRule, OnSchemaViolation, OnUndeclaredFields, OnUndeclaredSchema, VERSION_DEFAULT};

/// Losses that are told; nobody reads more.
const LOSSES_MAX: usize = 1_000;
/// Events of one plan.
const EVENTS_MAX: usize = 10_000;

/// A file of a plan, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFile {
    /// As it is named in what is told.
    pub name: String,
    pub value: Value,
}

/// Something that a plan says and a contract does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLoss {
    pub file: String,
    /// A JSON pointer into the file.
    pub pointer: String,
    /// One sentence: what is lost.
    pub lost: String,
}

/// One event of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedEvent {
    /// Its `origin` is the name of the file that it has beside `domain.yaml`.
    pub rule: EventRule,
    pub description: Option<String>,
}

/// A plan as a domain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportedPlan {
    /// What the plan is called, where it says so.
    pub name: Option<String>,
    pub events: Vec<ImportedEvent>,
    pub components: BTreeMap<String, Value>,
    pub losses: Vec<ImportLoss>,
}

impl ImportedPlan {
    /// The domain `name`, for compiling.
    #[must_use]
    pub fn domain(&self, name: &str) -> Domain {
        Domain {
            name: name.to_owned(),
            on_undeclared_schema: OnUndeclaredSchema::AllowEvent,
            undeclared_rows: false,
            events: self.events.iter().map(|event| event.rule.clone()).collect(),
            components: self.components.clone(),
        }
    }

    /// Its files by their names in the folder of the domain; `sources` left out means all of them.
    #[must_use]
    pub fn files(&self, name: &str, sources: Option<&[String]>) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        files.insert("domain.yaml".to_owned(), written::domain_file(&self.domain(name), sources));
        for (slug, schema) in &self.components {
            files.insert(format!("components/{slug}.yaml"), written::component_file(slug, schema));
        }
        for event in &self.events {
            let text = written::event_file(&event.rule, event.description.as_deref(), &BTreeMap::new());
            files.insert(event.rule.origin.clone(), text);
        }
        files
    }
}

/// One event on its way into a plan.
pub(super) struct EventDraft<'p> {
    pub(super) kind: EventKind,
    pub(super) name: Option<String>,
    /// Later versions are greater; the greatest becomes `default`.
    pub(super) version: Vec<u64>,
    pub(super) version_text: String,
    pub(super) description: Option<String>,
    /// The schema as the plan has it.
    pub(super) schema: &'p Value,
    /// The plan's file, and where in it the schema is.
    pub(super) at: (&'p PlanFile, String),
}

struct ReadEvent {
    kind: EventKind,
    name: Option<String>,
    version: Vec<u64>,
    version_text: String,
    description: Option<String>,
    schema: Value,
    at: (String, String),
}

/// A plan while its files are read.
#[derive(Default)]
pub(super) struct PlanDraft {
    name: Option<String>,
    events: Vec<ReadEvent>,
    components: BTreeMap<String, Value>,
    /// References to those that every event has.
    shared: Vec<Value>,
    losses: Vec<ImportLoss>,
    losses_more: usize,
}

impl PlanDraft {
    /// Takes the name of the plan, if it has one; the first counts.
    pub(super) fn called(&mut self, name: Option<&str>) {
        if self.name.is_none() {
            self.name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        }
    }

    /// Something is lost.
    pub(super) fn lose(&mut self, file: &PlanFile, pointer: &str, lost: impl Into<String>) {
        self.lose_at(&file.name, pointer, lost);
    }

    fn lose_at(&mut self, file: &str, pointer: &str, lost: impl Into<String>) {
        if self.losses.len() >= LOSSES_MAX {
            self.losses_more += 1;
            return;
        }
        let loss = ImportLoss { file: file.to_owned(), pointer: pointer.to_owned(), lost: lost.into() };
        if !self.losses.contains(&loss) {
            self.losses.push(loss);
        }
    }

    /// Adds an event with its schema, which is over the whole event or over its own part alone.
    pub(super) fn add(&mut self, event: EventDraft<'_>) {
        let EventDraft { kind, name, version, version_text, description, schema, at: (file, pointer) } = event;
        if self.events.len() >= EVENTS_MAX {
            self.lose(file, &pointer, format!("the plan has more than {EVENTS_MAX} events, and this is one too many"));
            return;
        }
        if kind == EventKind::Track && name.as_deref().is_none_or(str::is_empty) {
            self.lose(file, &pointer, "it is a track without a name, and a contract cannot declare one");
            return;
        }
        // Of other kinds it is a label, and there is one event of each.
        let name = name.filter(|_| matches!(kind, EventKind::Track | EventKind::Page | EventKind::Screen));
        let schema = self.whole(kind, schema, (file, pointer.as_str()));
        let at = (file.name.clone(), pointer);
        self.events.push(ReadEvent { kind, name, version, version_text, description, schema, at });
    }

    /// Adds a schema that every event refers to.
    pub(super) fn share(&mut self, slug: &str, schema: &Value, (file, pointer): (&PlanFile, &str)) {
        let (carried, definitions) = self.carried(schema, (file, pointer), "");
        if !definitions.is_empty() {
            self.lose(file, pointer, "its definitions: a component refers to components only");
        }
        if self.components.insert(slug.to_owned(), carried).is_none() {
            self.shared.push(json!({"$ref": format!("#/definitions/components/{slug}")}));
        } else {
            self.lose(file, pointer, "what an earlier file asks of every event: this one counts");
        }
    }

    /// The schema over the whole event.
    fn whole(&mut self, kind: EventKind, schema: &Value, (file, pointer): (&PlanFile, &str)) -> Value {
        let part = if matches!(kind, EventKind::Identify | EventKind::Group) { "traits" } else { "properties" };
        let is_whole = is_over_the_event(schema);
        let prefix = if is_whole { String::new() } else { format!("/properties/{part}") };
        let (mut carried, definitions) = self.carried(schema, (file, pointer), &prefix);
        if !is_whole {
            let requires = carried.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
            let mut whole = json!({"type": "object", "properties": { (part): carried }});
            if requires {
                whole["required"] = json!([part]);
            }
            carried = whole;
        }
        if let (Value::Object(map), false) = (&mut carried, definitions.is_empty()) {
            map.insert("definitions".to_owned(), Value::Object(definitions));
        }
        if !carried.is_object() {
            self.lose(file, pointer, "its schema is no object");
            carried = json!({});
        }
        carried
    }

    /// A schema in draft-7, and its definitions apart.
    fn carried(
        &mut self,
        schema: &Value,
        (file, pointer): (&PlanFile, &str),
        prefix: &str,
    ) -> (Value, Map<String, Value>) {
        let mut losses = Vec::new();
        let mut definitions = Map::new();
        let place = CarriedPlace { pointer: pointer.to_owned(), depth: 0, prefix };
        let carried = draft7::carried(schema, &place, &mut definitions, &mut losses);
        for (pointer, lost) in losses {
            self.lose(file, &pointer, lost);
        }
        (carried, definitions)
    }

    /// The plan: the newest version of each event is its default, the files have names of their own.
    pub(super) fn finish(mut self) -> ImportedPlan {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by(|one, other| {
            let order = (one.kind, &one.name).cmp(&(other.kind, &other.name));
            order.then_with(|| other.version.cmp(&one.version))
        });
        let (mut taken, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut imported = Vec::new();
        for mut event in events {
            refer(&mut event.schema, &self.shared);
            let is_newest = seen.insert((event.kind, event.name.clone(), VERSION_DEFAULT.to_owned()));
            if is_newest {
                seen.insert((event.kind, event.name.clone(), event.version_text.clone()));
            }
            let version = if is_newest { VERSION_DEFAULT.to_owned() } else { event.version_text };
            if !is_newest {
                let (file, pointer) = &event.at;
                if version.is_empty() || !seen.insert((event.kind, event.name.clone(), version.clone())) {
                    self.lose_at(
                        file,
                        pointer,
                        "the plan has another event of this type, name and version, which is kept",
                    );
                    continue;
                }
                let lost = format!(
                    "an older version: it is for events that say {version:?} in context.htevents.schemaVersion, where Tidegate looks for it"
                );
                self.lose_at(file, pointer, lost);
            }
            let origin = written::file_name(event.kind, event.name.as_deref(), &version, &mut taken);
            let rule = EventRule {
                kind: event.kind,
                name: event.name,
                version,
                on_schema_violation: OnSchemaViolation::default(),
                on_undeclared_fields: OnUndeclaredFields::default(),
                include_built_in_context: true,
                schema: event.schema,
                origin,
            };
            imported.push(ImportedEvent { rule, description: event.description });
        }
        if self.losses_more > 0 {
            let lost = format!("{} more things are not carried over", self.losses_more);
            self.losses.push(ImportLoss { file: String::new(), pointer: String::new(), lost });
        }
        ImportedPlan { name: self.name, events: imported, components: self.components, losses: self.losses }
    }
}

/// Lets the schema of an event refer to components as well.
fn refer(schema: &mut Value, references: &[Value]) {
    let Value::Object(map) = schema else { return };
    if references.is_empty() {
        return;
    }
    let all = map.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(all) = all {
        all.extend_from_slice(references);
    }
}

/// Whether a schema is over a whole event, and not over its properties alone.
fn is_over_the_event(schema: &Value) -> bool {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return false };
    let has_part = ["properties", "traits", "context"].iter().any(|part| properties.contains_key(*part));
    has_part && properties.keys().all(|name| ENVELOPE.contains(&name.as_str()))
}
