//! The form of an event of a contract, and its schema as people read it.

use maud::{Markup, html};
use serde_json::{Map, Value};
use tidegate_contract::{OnUndeclaredFields, lint};
use tidegate_event::EventKind;

use super::ask::PagePairs;
use super::form_fields::{FormProblems, WrongField};
use super::text::short;

/// Objects in objects that a schema is shown to.
const DEPTH_MAX: usize = 10;
/// Values of a list that are shown.
const VALUES_MAX: usize = 20;
/// What becomes of an event that does not fit its schema, and of fields that it does not name.
const ON_VIOLATION: [(&str, &str); 2] =
    [("BLOCK_EVENT", "the event is quarantined"), ("ALLOW_EVENT", "the event passes")];
const ON_FIELDS: [(&str, &str); 3] = [
    ("OMIT_FIELDS", "the fields are left out"),
    ("ALLOW_EVENT", "the fields stay"),
    ("BLOCK_EVENT", "the event is quarantined"),
];
const TYPES: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

/// What stands in the form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventForm {
    spec: Map<String, Value>,
    /// JSON, as it was written.
    pub(super) schema: String,
}

impl EventForm {
    pub(super) fn of(spec: &Value) -> Self {
        let schema = serde_json::to_string_pretty(&spec["schema"]).unwrap_or_default();
        Self { spec: spec.as_object().cloned().unwrap_or_default(), schema }
    }

    /// Takes what was written.
    pub(super) fn write(&mut self, written: &PagePairs) {
        for (field, name) in [("type", "type"), ("name", "event"), ("version", "version")] {
            if let Some(value) = written.get(name) {
                self.spec.insert(field.to_owned(), value.into());
            }
        }
        match written.get("description") {
            Some(description) => drop(self.spec.insert("description".to_owned(), description.into())),
            None => drop(self.spec.remove("description")),
        }
        for name in ["onSchemaViolation", "onUndeclaredFields"] {
            if let Some(word) = written.get(name) {
                self.spec.insert(name.to_owned(), word.into());
            }
        }
        if written.get("builtIn") == Some("true") {
            self.spec.insert("includeBuiltInContext".to_owned(), Value::Bool(true));
        } else {
            self.spec.remove("includeBuiltInContext");
        }
        written.whole("schema").clone_into(&mut self.schema);
    }

    /// The spec that it stands for.
    ///
    /// # Errors
    /// The schema is no JSON object.
    pub(super) fn spec(&self) -> Result<Value, WrongField> {
        let schema: Value = serde_json::from_str(&self.schema)
            .map_err(|error| WrongField::new("schema", format!("this is not JSON: {error}")))?;
        if !schema.is_object() {
            return Err(WrongField::new("schema", "a schema is a JSON object, such as {\"type\": \"object\"}"));
        }
        let mut spec = self.spec.clone();
        spec.insert("schema".to_owned(), schema);
        Ok(Value::Object(spec))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.spec.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// What its schema says and hardly means; nothing while that is no JSON.
    pub(super) fn doubts(&self) -> Markup {
        let schema: Value = serde_json::from_str(&self.schema).unwrap_or_default();
        let undeclared = match self.text("onUndeclaredFields") {
            "ALLOW_EVENT" => OnUndeclaredFields::AllowEvent,
            "BLOCK_EVENT" => OnUndeclaredFields::BlockEvent,
            _ => OnUndeclaredFields::OmitFields,
        };
        let kind = EventKind::parse(self.text("type")).unwrap_or(EventKind::Track);
        let notes = lint::notes_of_event(kind, &schema, undeclared);
        html! {
            @if !notes.is_empty() {
                div.problem role="status" {
                    h2 { "The schema hardly means this" }
                    ul {
                        @for note in notes.iter().take(VALUES_MAX) {
                            li { code { (short(&note.place)) } ": " (short(&note.problem)) " " (short(&note.fix)) }
                        }
                    }
                }
            }
        }
    }

    /// Its fields; of a new event also those by which it is known.
    pub(super) fn shown(&self, is_new: bool, problems: &FormProblems<'_>) -> Markup {
        let has_built_in = self.spec.get("includeBuiltInContext") == Some(&Value::Bool(true));
        html! {
            @if is_new {
                div.field {
                    label { span { "type (needed)" } select name="type" { @for word in TYPES { option value=(word) selected[self.text("type") == word] { (word) } } } }
                    (problems.beside("type"))
                }
                div.field {
                    label { span { "event" } input name="event" value=(self.text("name")) autocomplete="off"; }
                    span.quiet { "Of a track its name; a page or a screen without one stands for all." }
                    (problems.beside("name"))
                }
                div.field {
                    label { span { "version" } input name="version" value=(self.text("version")) autocomplete="off"; }
                    span.quiet { "default when empty; events choose with context.htevents.schemaVersion." }
                    (problems.beside("version"))
                }
            }
            div.field {
                label { span { "description" } input name="description" value=(self.text("description")) autocomplete="off"; }
                (problems.beside("description"))
            }
            (policy(("onSchemaViolation", "what does not fit the schema"), self.text("onSchemaViolation"), &ON_VIOLATION, problems))
            (policy(("onUndeclaredFields", "fields that it does not name"), self.text("onUndeclaredFields"), &ON_FIELDS, problems))
            div.field {
                label.check { input type="checkbox" name="builtIn" value="true" checked[has_built_in]; " the fields of context that SDKs fill in count as declared" }
            }
            div.field {
                label {
                    span { "schema: JSON Schema, draft 7, of the whole event" }
                    textarea.editor name="schema" rows="24" spellcheck="false" aria-describedby=[problems.id("schema")] { "\n" (self.schema) }
                }
                (problems.beside("schema"))
            }
        }
    }
}

fn policy((name, label): (&str, &str), value: &str, words: &[(&str, &str)], problems: &FormProblems<'_>) -> Markup {
    html! {
        div.field {
            label {
                span { (label) }
                select name=(name) { @for (word, says) in words { option value=(word) selected[*word == value] { (word) ": " (says) } } }
            }
            (problems.beside(name))
        }
    }
}

/// A schema as a tree of its fields.
pub(super) fn schema_tree(schema: &Value) -> Markup {
    html! { ul.tree { (branches(schema, 0)) } }
}

fn branches(schema: &Value, depth: usize) -> Markup {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        @if depth >= DEPTH_MAX { li.quiet { "…" } }
        @else {
            @for (name, of) in schema["properties"].as_object().into_iter().flatten() {
                li {
                    code { (short(name)) } " " span.quiet { (kind_of(of)) } @if required.contains(&name.as_str()) { " " span.badge { "required" } }
                    @if let Some(description) = of["description"].as_str() { " " span.quiet { (short(description)) } }
                    @if has_branches(of) { ul.tree { (branches(of, depth + 1)) } }
                    @if has_branches(&of["items"]) { ul.tree { (branches(&of["items"], depth + 1)) } }
                }
            }
        }
    }
}

fn has_branches(of: &Value) -> bool {
    of["properties"].as_object().is_some_and(|properties| !properties.is_empty())
}

/// The type of a field, with its format, its values or what it refers to.
fn kind_of(of: &Value) -> String {
    let kind = match &of["type"] {
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    };
    let items = of["items"]["type"].as_str().map(|word| format!("of {word}"));
    let refers = of["$ref"].as_str().map(|place| format!("as {place}"));
    let format = of["format"].as_str().map(str::to_owned);
    let values = of["enum"].as_array().map(|values| {
        let shown: Vec<String> = values.iter().take(VALUES_MAX).map(ToString::to_string).collect();
        format!("one of {}", shown.join(", "))
    });
    let parts = [Some(kind).filter(|kind| !kind.is_empty()), items, refers, format, values];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    short(&if parts.is_empty() { "anything".to_owned() } else { parts.join(", ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_shown_as_a_tree_and_written_back_as_json() {
        let schema = json!({"type": "object", "required": ["properties"], "properties": {"properties": {"type": "object", "properties": {
            "<price>": {"type": ["number", "null"]}, "plan": {"enum": ["pro", "free"]},
            "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string", "format": "uuid"}}}}}}}});
        let html = schema_tree(&schema).into_string();
        for part in [
            "&lt;price&gt;",
            "number or null",
            "one of &quot;pro&quot;",
            "array, of object",
            "string, uuid",
            "required",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let spec = json!({"type": "track", "name": "Sold", "undeclared": 1, "schema": schema});
        let mut form = EventForm::of(&spec);
        assert_eq!(form.spec(), Ok(spec));
        form.write(&PagePairs::read(b"schema=%7B&onSchemaViolation=ALLOW_EVENT"));
        assert!(form.spec().is_err() && form.text("onSchemaViolation") == "ALLOW_EVENT");
        form.write(&PagePairs::read(b"schema=%5B%5D"));
        assert!(form.spec().is_err());
    }
}
