//! From what was observed to contracts that take it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate_event::EventKind;

use super::observed::{DistinctTexts, EventIdentity, EventShape, FieldPath, FieldShape, Inference, PathStep};
use super::schema::escape;
use super::written;
use super::{Domain, EventRule, OnSchemaViolation, OnUndeclaredFields, OnUndeclaredSchema, VERSION_DEFAULT};

/// Names of pages, or of screens, of one version, before they are titles and one rule stands for all.
const PAGES_MAX: usize = 30;
/// Rare fields of an object, before they are taken for the keys of a map, if they are more than the others.
const RARE_MAX: usize = 30;
/// A field is rare that fewer than one of so many objects has.
const RARE_SHARE: u64 = 10;

/// How much has to be seen before a contract says something.
#[derive(Debug, Clone, PartialEq)]
pub struct InferSettings {
    /// A field is required that this share of the objects have (0 to 1). Below 1 some of the events that it was inferred from
    /// are violations.
    pub required_share: f64,
    /// Objects, before a field of theirs is required.
    pub required_samples: u64,
    /// Texts, before a format is asked for.
    pub format_samples: u64,
    /// Texts, before they are a list of values.
    pub enum_samples: u64,
    /// Different texts of a list.
    pub enum_values_max: usize,
    /// Violations block their events; otherwise they are noted only.
    pub blocks: bool,
    /// Write examples of values as comments.
    pub examples: bool,
}

impl Default for InferSettings {
    fn default() -> Self {
        Self {
            required_share: 1.0,
            required_samples: 10,
            format_samples: 10,
            enum_samples: 50,
            enum_values_max: 12,
            blocks: false,
            examples: true,
        }
    }
}

/// One event as a contract would declare it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedEvent {
    /// Its `origin` is the name of the file that it would have beside `domain.yaml`.
    pub rule: EventRule,
    /// How many events it was inferred from.
    pub seen: u64,
    /// What is said of a place of its schema, by its JSON pointer.
    pub comments: BTreeMap<String, String>,
}

/// A domain that takes what was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub domain: Domain,
    pub events: Vec<ProposedEvent>,
    /// What it does not cover, a sentence each.
    pub notes: Vec<String>,
}

impl Inference {
    /// The domain `name` for what was observed.
    #[must_use]
    pub fn propose(&self, name: &str, settings: &InferSettings) -> Proposal {
        let (mut events, mut notes, mut files) = (Vec::new(), Vec::new(), BTreeSet::new());
        let is_whole = !self.is_cut && self.undeclarable == 0;
        let titled = self.titled();
        let named = self.events.iter().filter(|(identity, _)| !titled.contains_key(&of_any_name(identity)));
        for (identity, event) in named.chain(&titled) {
            // A page without a name stands for every name, also for those that were left out.
            if !is_whole && identity.name.is_none() && is_page(identity) {
                notes.push(format!("{} without a name is not declared: other events were left out", identity.kind));
                continue;
            }
            let file = written::file_name(identity.kind, identity.name.as_deref(), &identity.version, &mut files);
            let mut draft = ProposalDraft { event, settings, comments: BTreeMap::new(), cut: Vec::new() };
            let schema = draft.whole();
            if let Some(first) = draft.cut.first() {
                notes.push(format!(
                    "{}: fields below {} places are left open: there are too many, they lie too deep, or their names are too long or look like ids: {first}",
                    called(identity),
                    draft.cut.len()
                ));
            }
            let comments = draft.comments;
            let rule = EventRule {
                kind: identity.kind,
                name: identity.name.clone(),
                version: identity.version.clone(),
                on_schema_violation: match settings.blocks {
                    true => OnSchemaViolation::BlockEvent,
                    false => OnSchemaViolation::AllowEvent,
                },
                on_undeclared_fields: match settings.blocks {
                    true => OnUndeclaredFields::BlockEvent,
                    false => OnUndeclaredFields::AllowEvent,
                },
                include_built_in_context: true,
                schema,
                origin: file,
            };
            events.push(ProposedEvent { rule, seen: event.seen, comments });
        }
        if self.is_cut {
            notes.push(format!(
                "there are more than {} events by type, name and version: only the first ones by name are declared, and undeclared ones go on",
                self.limits.events_max
            ));
        }
        if self.undeclarable > 0 {
            notes.push(format!(
                "{} events can be declared by no contract (a track without a name, a name that is too long or looks personal): undeclared events go on",
                self.undeclarable
            ));
        }
        for identity in titled.keys() {
            notes.push(format!(
                "{} has more than {PAGES_MAX} names, which look like titles: one rule stands for every name",
                called(identity)
            ));
        }
        if settings.required_share < 1.0 {
            notes.push(format!(
                "fields are required that {} % of the objects have: events without them are violations, also of those that this was inferred from",
                settings.required_share * 100.0
            ));
        }
        let domain = Domain {
            name: name.to_owned(),
            on_undeclared_schema: match settings.blocks && is_whole {
                true => OnUndeclaredSchema::BlockEvent,
                false => OnUndeclaredSchema::AllowEvent,
            },
            // What cannot be declared must not make a row each time.
            undeclared_rows: is_whole,
            events: events.iter().map(|event| event.rule.clone()).collect(),
            components: BTreeMap::new(),
        };
        Proposal { domain, events, notes }
    }
}

impl Inference {
    /// Pages and screens that have too many names, each kind and version as one of any name.
    fn titled(&self) -> BTreeMap<EventIdentity, EventShape> {
        let mut names: BTreeMap<EventIdentity, usize> = BTreeMap::new();
        for identity in self.events.keys().filter(|identity| is_page(identity)) {
            *names.entry(of_any_name(identity)).or_default() += 1;
        }
        let mut titled: BTreeMap<EventIdentity, EventShape> = BTreeMap::new();
        for (identity, event) in self.events.iter().filter(|(identity, _)| is_page(identity)) {
            let any = of_any_name(identity);
            if names.get(&any).is_some_and(|names| *names > PAGES_MAX) {
                titled.entry(any).or_default().merge(event.clone(), &self.limits);
            }
        }
        titled
    }
}

const fn is_page(identity: &EventIdentity) -> bool {
    matches!(identity.kind, EventKind::Page | EventKind::Screen)
}

fn of_any_name(identity: &EventIdentity) -> EventIdentity {
    EventIdentity { name: None, ..identity.clone() }
}

impl Proposal {
    /// Its files by their names in the folder of the domain, for these sources.
    #[must_use]
    pub fn files(&self, sources: &[String]) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        files.insert("domain.yaml".to_owned(), written::domain_file(&self.domain, Some(sources)));
        for event in &self.events {
            let said = format!("Inferred from {} events.", event.seen);
            files.insert(event.rule.origin.clone(), written::event_file(&event.rule, Some(&said), &event.comments));
        }
        files
    }
}

/// An event by its type and name, for people.
fn called(identity: &EventIdentity) -> String {
    let EventIdentity { kind, name, version } = identity;
    let name = name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
    let version = if version == VERSION_DEFAULT { String::new() } else { format!(", version {version:?}") };
    format!("{kind}{name}{version}")
}

/// The schema of one event on its way.
struct ProposalDraft<'a> {
    event: &'a EventShape,
    settings: &'a InferSettings,
    comments: BTreeMap<String, String>,
    /// Pointers of places below which something was left out.
    cut: Vec<String>,
}

impl<'a> ProposalDraft<'a> {
    /// The schema over the whole event.
    fn whole(&mut self) -> Value {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("object"));
        let top = FieldPath::of(&[]);
        self.fields(&mut schema, &top, self.event.seen, "");
        Value::Object(schema)
    }

    /// Places one step below `path`.
    fn below(&self, path: &FieldPath) -> impl Iterator<Item = (&'a PathStep, FieldPath, &'a FieldShape)> + use<'a> {
        let steps = path.steps.clone();
        // The first that may be below: a list's items come before every key.
        let first = FieldPath::of(&[steps.as_slice(), &[PathStep::Items]].concat());
        let length = steps.len() + 1;
        let places = self.event.places.range(first..);
        places
            .take_while(move |(place, _)| place.steps.len() == length && place.steps.starts_with(&steps))
            .filter_map(|(place, shape)| Some((place.steps.last()?, place.clone(), shape)))
    }

    /// `properties` and `required` of an object that was there `objects` times. Whether some of its fields are left out: where
    /// most are in hardly any of the objects, those are no names but what a map goes by.
    fn fields(&mut self, schema: &mut Map<String, Value>, path: &FieldPath, objects: u64, pointer: &str) -> bool {
        let (mut properties, mut required, mut leaves_out) = (Map::new(), Vec::new(), false);
        let counts = self.below(path).filter(|(step, ..)| matches!(step, PathStep::Key(_)));
        let counts: Vec<u64> = counts.map(|(_, _, shape)| shape.count()).collect();
        let rare = counts.iter().filter(|count| is_rare(**count, objects)).count();
        let is_map = rare > RARE_MAX && 2 * rare > counts.len();
        for (step, place, shape) in self.below(path) {
            let PathStep::Key(key) = step else { continue };
            let pointer = format!("{pointer}/properties/{}", escape(key));
            let count = shape.count();
            if is_map && is_rare(count, objects) {
                leaves_out = true;
                continue;
            }
            if self.is_required(count, objects) {
                required.push(Value::from(key.as_str()));
            }
            let below = self.place(&place, shape, &pointer);
            self.comment(&place, shape, (count, objects), pointer);
            properties.insert(key.clone(), below);
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), Value::Array(required));
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        leaves_out
    }

    #[allow(clippy::cast_precision_loss, reason = "a share of counts that are far below 2^53")]
    fn is_required(&self, count: u64, objects: u64) -> bool {
        let share = self.settings.required_share.clamp(0.0, 1.0);
        count > 0 && objects >= self.settings.required_samples && count as f64 >= share * objects as f64
    }

    /// The schema of one place.
    fn place(&mut self, path: &FieldPath, shape: &FieldShape, pointer: &str) -> Value {
        let mut schema = Map::new();
        let types = types(shape);
        // Null alone says nothing of what else may come.
        if types.iter().any(|word| *word != "null") {
            let types: Vec<Value> = types.iter().map(|word| Value::from(*word)).collect();
            let types = if let [one] = types.as_slice() { one.clone() } else { Value::Array(types) };
            schema.insert("type".to_owned(), types);
        }
        if shape.texts >= self.settings.format_samples.max(1)
            && let Some(format) = shape.formats.best()
        {
            let (keyword, value) = format.keyword();
            schema.insert(keyword.to_owned(), Value::from(value));
        } else if let Some(values) = self.listed(path, shape) {
            schema.insert("enum".to_owned(), values);
        }
        let mut is_open = shape.is_cut;
        if shape.objects > 0 {
            is_open |= self.fields(&mut schema, path, shape.objects, pointer);
            if is_open {
                schema.insert("additionalProperties".to_owned(), Value::Bool(true));
            }
        }
        if is_open {
            self.cut.push(pointer.to_owned());
        }
        let items = self.below(path).next().filter(|(step, ..)| matches!(step, PathStep::Items));
        if let Some((_, place, items)) = items {
            let pointer = format!("{pointer}/items");
            let below = self.place(&place, items, &pointer);
            self.comment(&place, items, (0, 0), pointer);
            schema.insert("items".to_owned(), below);
        }
        Value::Object(schema)
    }

    /// The values of a place that has few, each of which came again and again.
    fn listed(&self, path: &FieldPath, shape: &FieldShape) -> Option<Value> {
        let DistinctTexts::Few(few) = &shape.values else { return None };
        let enough = shape.texts >= self.settings.enum_samples.max(1)
            && few.len() <= self.settings.enum_values_max
            && shape.texts >= 10 * few.len() as u64;
        let is_alone = shape.texts + shape.nulls == shape.count();
        // Days and versions: tomorrow there is another one.
        let are_numbered = few.keys().all(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        if !enough || !is_alone || are_numbered || shape.is_personal || path.is_personal() {
            return None;
        }
        let mut values: Vec<Value> = few.keys().map(|text| Value::from(text.as_str())).collect();
        if shape.nulls > 0 {
            values.push(Value::Null);
        }
        Some(Value::Array(values))
    }

    fn comment(&mut self, path: &FieldPath, shape: &FieldShape, (count, objects): (u64, u64), pointer: String) {
        let mut said = Vec::new();
        if count < objects {
            said.push(format!("in {count} of {objects}"));
        }
        if shape.nulls == shape.count() {
            said.push("only null was seen".to_owned());
        }
        let is_personal = shape.is_personal || path.is_personal();
        if self.settings.examples && !is_personal && !shape.examples.is_empty() {
            let examples: Vec<&str> = shape.examples.iter().map(String::as_str).collect();
            said.push(format!("such as {}", examples.join(", ")));
        }
        if !said.is_empty() {
            self.comments.insert(pointer, said.join("; "));
        }
    }
}

/// Whether hardly any object has a field.
const fn is_rare(count: u64, objects: u64) -> bool {
    count.saturating_mul(RARE_SHARE) < objects
}

/// The types of JSON Schema that were seen at a place.
fn types(shape: &FieldShape) -> Vec<&'static str> {
    let counted = [
        ("boolean", shape.booleans),
        ("integer", if shape.numbers > 0 { 0 } else { shape.integers }),
        ("number", shape.numbers),
        ("string", shape.texts),
        ("array", shape.arrays),
        ("object", shape.objects),
        ("null", shape.nulls),
    ];
    counted.into_iter().filter(|(_, count)| *count > 0).map(|(word, _)| word).collect()
}
