//! The vocabulary of draft-7 schemas, as far as it is needed to walk them: what holds schemas, and where a reference
//! points.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

/// What a `$ref` may show unescaped; everything else is percent-encoded, as a URI fragment wants it.
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How a schema stands to the schema that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Applies to the same value.
    Same,
    /// Applies to the same value, and must not hold.
    Negated,
    /// Applies to something inside the value.
    Below,
    /// Applies only where something refers to it.
    Apart,
}

/// Keywords whose value is a schema, a list of schemas, or a map of schemas.
pub(super) const KEYWORDS: [(&str, Relation); 17] = [
    ("additionalItems", Relation::Below),
    ("additionalProperties", Relation::Below),
    ("allOf", Relation::Same),
    ("anyOf", Relation::Same),
    ("contains", Relation::Below),
    ("definitions", Relation::Apart),
    ("$defs", Relation::Apart),
    ("dependencies", Relation::Same),
    ("else", Relation::Same),
    ("if", Relation::Same),
    ("items", Relation::Below),
    ("not", Relation::Negated),
    ("oneOf", Relation::Same),
    ("patternProperties", Relation::Below),
    ("properties", Relation::Below),
    ("propertyNames", Relation::Below),
    ("then", Relation::Same),
];

fn is_map_of_schemas(keyword: &str) -> bool {
    matches!(keyword, "definitions" | "$defs" | "dependencies" | "patternProperties" | "properties")
}

/// The schemas directly inside `schema`, each with its pointer below it. Draft-7 ignores what stands beside a `$ref`,
/// definitions excepted.
pub(super) fn children(schema: &Map<String, Value>) -> Vec<(String, &Value, Relation)> {
    let refers = schema.contains_key("$ref");
    let mut found = Vec::new();
    for (keyword, relation) in KEYWORDS {
        let Some(value) = schema.get(keyword) else { continue };
        if refers && relation != Relation::Apart {
            continue;
        }
        match value {
            Value::Object(map) if is_map_of_schemas(keyword) => {
                let schemas = map.iter().filter(|(_, value)| is_schema(value));
                found.extend(schemas.map(|(key, value)| (format!("/{keyword}/{}", escape(key)), value, relation)));
            }
            Value::Array(list) => {
                let schemas = list.iter().enumerate().filter(|(_, value)| is_schema(value));
                found.extend(schemas.map(|(index, value)| (format!("/{keyword}/{index}"), value, relation)));
            }
            value if is_schema(value) => found.push((format!("/{keyword}"), value, relation)),
            _ => {}
        }
    }
    found
}

/// As [`children`], to change them; beside a `$ref` too.
pub(super) fn children_mut(schema: &mut Map<String, Value>) -> Vec<(&mut Value, Relation)> {
    let mut found = Vec::new();
    for (keyword, value) in schema.iter_mut() {
        let Some((_, relation)) = KEYWORDS.iter().find(|(known, _)| known == keyword) else { continue };
        if value.is_object() && !is_map_of_schemas(keyword) {
            found.push((value, *relation));
        } else if let Value::Object(map) = value {
            found.extend(map.values_mut().map(|value| (value, *relation)));
        } else if let Value::Array(list) = value {
            found.extend(list.iter_mut().map(|value| (value, *relation)));
        }
    }
    found
}

pub(super) fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The schema that `reference` points at. Every reference of a prepared document is known to point at one.
pub(super) fn target<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(&pointer_of(reference)?)
}

/// The JSON pointer in a local reference; `None` of a remote one or of an anchor.
pub(super) fn pointer_of(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    let pointer = percent_decode_str(fragment).decode_utf8().ok()?.into_owned();
    (pointer.is_empty() || pointer.starts_with('/')).then_some(pointer)
}

/// What a keyword whose value is a map holds.
pub(super) fn members<'a>(
    schema: &'a Map<String, Value>,
    keyword: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    schema.get(keyword).and_then(Value::as_object).into_iter().flatten()
}

/// A `pointer` as a local reference.
pub(super) fn reference_to(pointer: &str) -> String {
    format!("#{}", utf8_percent_encode(pointer, FRAGMENT))
}

/// Enough of `text` for a message.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(400)]
}
