//! The types that a contract declares for fields, for whoever keeps them in columns.
//!
//! Only what a schema says plainly counts: `type` of a field that is reached through `properties`. Where branches
//! (`anyOf` and the like) decide, nothing is declared. A string with `format: date-time` is an instant; one with the format
//! of a day or of a time of day is left to its values.

use serde_json::{Map, Value};
use tidegate_event::EventKind;

use super::EventRule;
use super::fields::DECLARED_PARTS;
use super::schema::{members, target};

/// A JSON type as a schema names it, and the instant, a string with `format: date-time`; null and object are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JsonType {
    Boolean,
    Integer,
    Number,
    String,
    Instant,
    Array,
}

/// One field of one declared event, and the types that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    pub kind: EventKind,
    /// The event's name; `None` for every name of the kind.
    pub name: Option<String>,
    /// Keys from the top of the event: `properties`, `address`, `zip`.
    pub path: Vec<String>,
    pub types: Vec<JsonType>,
}

/// Deeper fields are not declared; a reference to itself ends here.
const DEPTH_MAX: usize = 16;
const FIELDS_MAX: usize = 10_000;

/// What the rule with this prepared schema declares.
pub(super) fn of(rule: &EventRule, document: &Value) -> Vec<FieldType> {
    let named = matches!(rule.kind, EventKind::Track | EventKind::Page | EventKind::Screen);
    let mut walk = TypeWalk {
        kind: rule.kind,
        name: rule.name.clone().filter(|_| named),
        document,
        path: Vec::new(),
        found: Vec::new(),
    };
    if let Some(top) = walk.settled(document) {
        for (part, schema) in members(top, "properties").filter(|(part, _)| DECLARED_PARTS.contains(&part.as_str())) {
            walk.path.push(part.clone());
            walk.fields(schema);
            walk.path.pop();
        }
    }
    walk.found
}

struct TypeWalk<'d> {
    kind: EventKind,
    name: Option<String>,
    document: &'d Value,
    path: Vec<String>,
    found: Vec<FieldType>,
}

impl<'d> TypeWalk<'d> {
    /// The schema itself, references followed.
    fn settled(&self, mut schema: &'d Value) -> Option<&'d Map<String, Value>> {
        for _ in 0..DEPTH_MAX {
            let map = schema.as_object()?;
            match map.get("$ref").and_then(Value::as_str) {
                Some(reference) => schema = target(self.document, reference)?,
                None => return Some(map),
            }
        }
        None
    }

    fn fields(&mut self, schema: &'d Value) {
        let Some(map) = self.settled(schema) else { return };
        for (key, schema) in members(map, "properties") {
            if self.path.len() >= DEPTH_MAX || self.found.len() >= FIELDS_MAX {
                return;
            }
            self.path.push(key.clone());
            self.field(schema);
            self.path.pop();
        }
    }

    fn field(&mut self, schema: &'d Value) {
        let Some(map) = self.settled(schema) else { return };
        if map.contains_key("properties") {
            return self.fields(schema);
        }
        let branches = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];
        let format = map.get("format").and_then(Value::as_str);
        let is_of_clock = matches!(format, Some("date" | "time"));
        if is_of_clock || branches.iter().any(|keyword| map.contains_key(*keyword)) {
            return;
        }
        let words: Vec<&str> = match map.get("type") {
            Some(Value::String(word)) => vec![word],
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        let mut types = Vec::new();
        for word in words {
            types.push(match word {
                "null" => continue,
                "boolean" => JsonType::Boolean,
                "integer" => JsonType::Integer,
                "number" => JsonType::Number,
                "string" if format == Some("date-time") => JsonType::Instant,
                "string" => JsonType::String,
                "array" => JsonType::Array,
                // An object becomes several columns, so nothing can be said of one.
                _ => return,
            });
        }
        if !types.is_empty() {
            let (kind, name, path) = (self.kind, self.name.clone(), self.path.clone());
            self.found.push(FieldType { kind, name, path, types });
        }
    }
}
