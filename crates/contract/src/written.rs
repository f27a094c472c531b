//! Contracts as the files that people read: YAML with comments, each value quoted where YAML would take it for something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};
use tidegate_event::EventKind;

use super::schema::escape;
use super::{Domain, EventRule, OnSchemaViolation, OnUndeclaredFields, OnUndeclaredSchema, VERSION_DEFAULT};

/// Keywords in the order in which a reader wants them; all others follow by name.
const ORDER: [&str; 12] = [
    "title",
    "description",
    "type",
    "format",
    "pattern",
    "enum",
    "const",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "allOf",
];

/// Words that YAML takes for something else than text.
const RESERVED: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];

/// Characters of the name of a file before its ending.
const FILE_CHARS_MAX: usize = 60;

/// A name for the file of an event that none of `taken` has; it is one of them afterwards.
pub(super) fn file_name(kind: EventKind, name: Option<&str>, version: &str, taken: &mut BTreeSet<String>) -> String {
    let mut text = match (kind, name) {
        (EventKind::Track, Some(name)) => slug(name),
        (EventKind::Page | EventKind::Screen, Some(name)) => format!("{kind}-{}", slug(name)),
        _ => kind.to_string(),
    };
    if version != VERSION_DEFAULT {
        let _ = write!(text, "-v-{}", slug(version));
    }
    // The file of the domain has this name.
    if text.is_empty() || text == "domain" {
        text = format!("{kind}-{text}");
    }
    let text: String = text.chars().take(FILE_CHARS_MAX).collect();
    let text = text.trim_matches('-');
    let mut file = format!("{text}.yaml");
    let mut number = 2;
    while !taken.insert(file.clone()) {
        file = format!("{text}-{number}.yaml");
        number += 1;
    }
    file
}

/// A text as part of the name of a file, or of a component.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// The file of a domain; `sources` left out means all of them.
pub(super) fn domain_file(domain: &Domain, sources: Option<&[String]>) -> String {
    let mut out = format!("name: {}\n", scalar(&domain.name));
    let policy = match domain.on_undeclared_schema {
        OnUndeclaredSchema::AllowEvent => "ALLOW_EVENT",
        OnUndeclaredSchema::BlockEvent => "BLOCK_EVENT",
    };
    let _ = writeln!(out, "onUndeclaredSchema: {policy}");
    if domain.undeclared_rows {
        out.push_str("undeclaredRows: true\n");
    }
    if let Some(sources) = sources {
        let sources: Vec<String> = sources.iter().map(|source| scalar(source)).collect();
        let _ = writeln!(out, "sources: [{}]", sources.join(", "));
    }
    out
}

/// The file of an event. `comments` stand at places of its schema, by their JSON pointers.
pub(super) fn event_file(rule: &EventRule, description: Option<&str>, comments: &BTreeMap<String, String>) -> String {
    let mut out = format!("type: {}\n", rule.kind);
    if let Some(name) = &rule.name {
        let _ = writeln!(out, "name: {}", scalar(name));
    }
    if let Some(description) = description.filter(|text| !text.trim().is_empty()) {
        let _ = writeln!(out, "description: {}", quoted(description));
    }
    if rule.version != VERSION_DEFAULT {
        let _ = writeln!(out, "version: {}", quoted(&rule.version));
    }
    let policy = match rule.on_schema_violation {
        OnSchemaViolation::AllowEvent => "ALLOW_EVENT",
        OnSchemaViolation::BlockEvent => "BLOCK_EVENT",
    };
    let _ = writeln!(out, "onSchemaViolation: {policy}");
    let policy = match rule.on_undeclared_fields {
        OnUndeclaredFields::AllowEvent => "ALLOW_EVENT",
        OnUndeclaredFields::BlockEvent => "BLOCK_EVENT",
        OnUndeclaredFields::OmitFields => "OMIT_FIELDS",
    };
    let _ = writeln!(out, "onUndeclaredFields: {policy}");
    if rule.include_built_in_context {
        out.push_str("includeBuiltInContext: true\n");
    }
    out.push_str("schema:");
    WrittenSchema { out: &mut out, comments }.schema(&rule.schema, 1, "");
    out
}

/// The file of a component.
pub(super) fn component_file(name: &str, schema: &Value) -> String {
    let mut out = format!("name: {}\nschema:", scalar(name));
    WrittenSchema { out: &mut out, comments: &BTreeMap::new() }.schema(schema, 1, "");
    out
}

struct WrittenSchema<'a> {
    out: &'a mut String,
    comments: &'a BTreeMap<String, String>,
}

impl WrittenSchema<'_> {
    /// A schema behind the colon of its key.
    fn schema(&mut self, schema: &Value, indent: usize, pointer: &str) {
        let comment = self.comments.get(pointer).map(|text| format!(" # {}", printable(text)));
        let comment = comment.unwrap_or_default();
        let Some(map) = schema.as_object().filter(|map| !map.is_empty()) else {
            let _ = writeln!(self.out, " {}{comment}", flow(schema));
            return;
        };
        let _ = writeln!(self.out, "{comment}");
        for key in ordered(map) {
            let Some(value) = map.get(key) else { continue };
            self.key(key, indent);
            let below = format!("{pointer}/{}", escape(key));
            match (key, value) {
                ("properties" | "patternProperties" | "definitions" | "$defs", Value::Object(schemas))
                    if !schemas.is_empty() =>
                {
                    self.out.push('\n');
                    for (name, schema) in schemas {
                        self.key(name, indent + 1);
                        self.schema(schema, indent + 2, &format!("{below}/{}", escape(name)));
                    }
                }
                ("items" | "additionalProperties" | "additionalItems" | "contains", Value::Object(_)) => {
                    self.schema(value, indent + 1, &below);
                }
                (_, value) => {
                    let _ = writeln!(self.out, " {}", flow(value));
                }
            }
        }
    }

    fn key(&mut self, key: &str, indent: usize) {
        let _ = write!(self.out, "{:width$}{}:", "", scalar(key), width = 2 * indent);
    }
}

fn ordered(map: &Map<String, Value>) -> Vec<&str> {
    let rank = |key: &str| ORDER.iter().position(|word| *word == key).unwrap_or(ORDER.len());
    let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
    keys.sort_by_key(|key| rank(key));
    keys
}

/// A value on one line: JSON, which is YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow_inner).collect::<Vec<_>>().join(", ")),
        other => flow_inner(other),
    }
}

fn flow_inner(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow_inner).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}: {}", quoted(name), flow_inner(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A text, in quotes where it needs them.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && text.len() < 200
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if is_word { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    printable(&Value::from(text).to_string())
}

/// What is no character of a line of YAML, or turns the line around, is spelled out.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_document::yaml;

    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same_schema() {
        let schema = json!({
            "type": "object",
            "required": ["properties", "no"],
            "properties": {"properties": {"type": ["object", "null"], "properties": {
                "no": {"enum": ["yes", "1", "", null, "a: b # c", "\u{7f}\u{2028}\u{202e}\u{2066}\n\""]},
                "a/b~c": {"items": {"type": "string", "pattern": "^\\d+$"}},
                "1": {}, "": {"minimum": 1.50}, "e": true, "deep": {"anyOf": [{"type": "string"}, {"$ref": "#/definitions/x y"}]},
            }}},
            "definitions": {"x y": {"type": "integer"}},
        });
        let rule = EventRule {
            kind: EventKind::Track,
            name: Some("Order: \"done\" #1".to_owned()),
            version: "1".to_owned(),
            on_schema_violation: OnSchemaViolation::AllowEvent,
            on_undeclared_fields: OnUndeclaredFields::OmitFields,
            include_built_in_context: true,
            schema: schema.clone(),
            origin: String::new(),
        };
        let pointer = "/properties/properties/properties/a~1b~0c".to_owned();
        let comments = BTreeMap::from([(pointer, "such as \"x\"\n".to_owned())]);
        let text = event_file(&rule, Some("Said\nso"), &comments);
        let read = yaml::parse(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}")).to_json();
        assert_eq!(read["schema"], schema, "{text}");
        assert_eq!((&read["name"], &read["version"]), (&json!("Order: \"done\" #1"), &json!("1")));
        assert!(text.contains("# such as \"x\"") && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn files_have_names_of_their_own() {
        let mut taken = BTreeSet::new();
        let mut name = |kind, name: Option<&str>, version| file_name(kind, name, version, &mut taken);
        assert_eq!(name(EventKind::Track, Some("Order Completed"), "default"), "order-completed.yaml");
        assert_eq!(name(EventKind::Track, Some("order_completed"), "default"), "order-completed-2.yaml");
        assert_eq!(name(EventKind::Track, Some("Domain"), "default"), "track-domain.yaml");
        assert_eq!(name(EventKind::Track, Some("订单"), "default"), "track.yaml");
        assert_eq!(name(EventKind::Page, Some("Home"), "2"), "page-home-v-2.yaml");
        assert_eq!(name(EventKind::Identify, None, "default"), "identify.yaml");
    }
}
