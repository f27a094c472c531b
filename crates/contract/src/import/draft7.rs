//! A schema of any draft as one of draft-7. Where a part of it is lost, what is left takes more than the whole, never less.

use serde_json::{Map, Value, json};

use crate::lint::{FORMATS, PLAIN_KEYWORDS};
use crate::schema::{KEYWORDS, escape, is_schema};

/// Nesting of a schema.
const DEPTH_MAX: usize = 48;

/// The types that draft-7 knows.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords of later drafts that draft-7 has no word for.
const LATER: [&str; 9] = [
    "unevaluatedProperties",
    "unevaluatedItems",
    "minContains",
    "maxContains",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "discriminator",
];

/// Keywords that say which schema it is, which its file does here.
const IDENTITY: [&str; 6] = ["$schema", "$id", "id", "self", "$anchor", "$vocabulary"];

/// Keywords that judge nothing, and are not missed beside a reference.
const NOTES: [&str; 10] = [
    "$comment",
    "default",
    "deprecated",
    "description",
    "example",
    "examples",
    "readOnly",
    "tags",
    "title",
    "writeOnly",
];

/// Where a walk over a schema is.
pub(super) struct CarriedPlace<'a> {
    /// From the top of the file.
    pub(super) pointer: String,
    pub(super) depth: usize,
    /// Where the schema will stand in that of the event, for references within it.
    pub(super) prefix: &'a str,
}

impl CarriedPlace<'_> {
    fn below(&self, step: &str) -> Self {
        Self { pointer: format!("{}/{step}", self.pointer), depth: self.depth + 1, prefix: self.prefix }
    }
}

/// What is lost, by its pointer.
type Losses = Vec<(String, String)>;

/// The schema in draft-7. Its definitions go into `definitions`, which belong to the top of the event's schema.
pub(super) fn carried(
    schema: &Value,
    at: &CarriedPlace<'_>,
    definitions: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Value {
    let Value::Object(map) = schema else {
        if schema.is_boolean() {
            return schema.clone();
        }
        losses.push((at.pointer.clone(), "it is no schema: neither an object nor true or false".to_owned()));
        return Value::Object(Map::new());
    };
    if at.depth > DEPTH_MAX {
        losses.push((at.pointer.clone(), format!("it is nested deeper than {DEPTH_MAX} levels, and left open")));
        return Value::Object(Map::new());
    }
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        take_definitions(map, at, definitions, losses);
        for keyword in map.keys().map(String::as_str).filter(|keyword| is_missed_beside_reference(keyword)) {
            let lost = format!("`{keyword}` beside a `$ref`, where draft-7 does not look at it");
            losses.push((format!("{}/{}", at.pointer, escape(keyword)), lost));
        }
        return self_reference(reference, at, losses);
    }
    let mut carrying = Carrying {
        at,
        definitions: &mut *definitions,
        losses: &mut *losses,
        out: Map::new(),
        lost_condition: false,
        lost_pattern: false,
    };
    for (keyword, value) in map {
        carrying.keyword(keyword, value, map);
    }
    carrying.open_up(map);
    let mut out = carrying.out;
    take_definitions(map, at, definitions, losses);
    if map.get("nullable") == Some(&Value::Bool(true)) {
        make_nullable(&mut out);
    }
    Value::Object(out)
}

fn is_missed_beside_reference(keyword: &str) -> bool {
    let is_told_elsewhere = matches!(keyword, "$ref" | "definitions" | "$defs") || IDENTITY.contains(&keyword);
    !is_told_elsewhere && !NOTES.contains(&keyword) && !keyword.starts_with("x-")
}

/// A reference, pointed at where its target will stand.
fn self_reference(reference: &str, at: &CarriedPlace<'_>, losses: &mut Losses) -> Value {
    let target = match reference.strip_prefix('#') {
        Some(below) if below.starts_with("/definitions/") => Some(reference.to_owned()),
        Some(below) if below.starts_with("/$defs/") => Some(format!("#/definitions/{}", &below["/$defs/".len()..])),
        Some(below) if below.is_empty() || below.starts_with('/') => Some(format!("#{}{below}", at.prefix)),
        _ => None,
    };
    match target {
        Some(target) => json!({ "$ref": target }),
        None => {
            let lost = format!("it refers to {reference:?}, which is outside of this file; any value is taken here");
            losses.push((format!("{}/$ref", at.pointer), lost));
            Value::Object(Map::new())
        }
    }
}

fn take_definitions(
    map: &Map<String, Value>,
    at: &CarriedPlace<'_>,
    definitions: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    for keyword in ["definitions", "$defs"] {
        let Some(Value::Object(found)) = map.get(keyword) else { continue };
        for (name, schema) in found {
            let place = at.below(keyword).below(&escape(name));
            if at.depth > 0 || definitions.contains_key(name) {
                losses.push((
                    place.pointer,
                    "a definition that is not at the top, or has the name of another".to_owned(),
                ));
                continue;
            }
            let carried = carried(schema, &place, definitions, losses);
            definitions.insert(name.clone(), carried);
        }
    }
}

struct Carrying<'a, 'p> {
    at: &'a CarriedPlace<'p>,
    definitions: &'a mut Map<String, Value>,
    losses: &'a mut Losses,
    out: Map<String, Value>,
    /// A part of its `if`.
    lost_condition: bool,
    /// One of its `patternProperties`.
    lost_pattern: bool,
}

impl Carrying<'_, '_> {
    fn lose(&mut self, keyword: &str, lost: impl Into<String>) {
        self.losses.push((format!("{}/{}", self.at.pointer, escape(keyword)), lost.into()));
    }

    fn keep(&mut self, keyword: &str, value: Value) {
        self.out.insert(keyword.to_owned(), value);
    }

    fn schema(&mut self, value: &Value, place: &CarriedPlace<'_>) -> Value {
        carried(value, place, self.definitions, self.losses)
    }

    fn keyword(&mut self, keyword: &str, value: &Value, map: &Map<String, Value>) {
        match keyword {
            word if IDENTITY.contains(&word) => {}
            "definitions" | "$defs" | "nullable" => {}
            "type" => self.types(value),
            "required" if !value.is_array() => {
                self.lose(keyword, "`required` is no list of names, as it was before draft-4");
            }
            // Draft-4 allows no empty list, draft-7 does.
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => {
                let limit = if keyword == "exclusiveMinimum" { "minimum" } else { "maximum" };
                if let (Value::Bool(true), Some(bound)) = (value, map.get(limit)) {
                    self.keep(keyword, bound.clone());
                    self.out.remove(limit);
                }
            }
            "minimum" if map.get("exclusiveMinimum") == Some(&Value::Bool(true)) => {}
            "maximum" if map.get("exclusiveMaximum") == Some(&Value::Bool(true)) => {}
            "divisibleBy" => self.keep("multipleOf", value.clone()),
            "prefixItems" => self.list("items", value),
            "items" if map.contains_key("prefixItems") => self.one("additionalItems", value),
            "dependentRequired" => self.dependencies(value),
            "dependentSchemas" => self.map("dependencies", value),
            "pattern" => self.pattern(value),
            "patternProperties" => self.patterns(value),
            "format" => self.format(value),
            "labels" => {
                if value.as_object().is_some_and(|labels| !labels.is_empty()) {
                    self.lose(keyword, format!("the labels {value}"));
                }
            }
            word if LATER.contains(&word) => {
                self.lose(keyword, format!("`{word}`, which draft-7 does not know"));
            }
            word if KEYWORDS.iter().any(|(known, _)| *known == word) => {
                let before = self.losses.len();
                self.schemas(word, value);
                if self.losses.len() > before {
                    self.loosen(word, map);
                }
            }
            word if PLAIN_KEYWORDS.contains(&word) || word.starts_with("x-") => self.keep(word, value.clone()),
            word => self.lose(keyword, format!("`{word}`, which is no keyword of JSON Schema")),
        }
    }

    /// What asks for a schema not to hold, for one of several to hold alone, or for one to hold where another does, would ask for
    /// more where that schema asks for less.
    fn loosen(&mut self, keyword: &str, map: &Map<String, Value>) {
        match keyword {
            "not" => {
                self.out.remove(keyword);
                self.lose(keyword, "`not`, since a part of what it forbids is lost");
            }
            "oneOf" => {
                if let (Some(schemas), false) = (self.out.remove(keyword), map.contains_key("anyOf")) {
                    self.keep("anyOf", schemas);
                }
                self.lose(keyword, "that only one of `oneOf` holds, since a part of one is lost");
            }
            "if" => {
                self.lost_condition = true;
                self.lose(keyword, "`if` with its `then` and `else`, since a part of the condition is lost");
            }
            _ => {}
        }
    }

    /// Takes away what would ask for more than the whole schema did.
    fn open_up(&mut self, map: &Map<String, Value>) {
        if self.lost_condition {
            for keyword in ["if", "then", "else"] {
                self.out.remove(keyword);
            }
        }
        if self.lost_pattern {
            // Fields of the names that the pattern took would be undeclared.
            if map.get("additionalProperties").is_some_and(|more| *more != Value::Bool(true)) {
                self.lose("additionalProperties", "what it says of other fields, since a pattern of names is lost");
            }
            self.keep("additionalProperties", Value::Bool(true));
        }
    }

    fn types(&mut self, value: &Value) {
        let words: Vec<&str> = match value {
            Value::String(word) => vec![word],
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut kept: Vec<Value> = Vec::new();
        for word in &words {
            let known = Value::from(*word);
            match TYPES.contains(word) {
                true if kept.contains(&known) => {}
                true => kept.push(known),
                false => {
                    self.lose("type", format!("the type {word:?}, which draft-7 does not know; any value is taken"))
                }
            }
        }
        let has_other = value.as_array().is_some_and(|types| types.len() > words.len());
        if words.is_empty() || has_other {
            self.lose("type", "a type that is no word; any value is taken");
        }
        // One that is unknown takes anything, and so do all of them together.
        if kept.is_empty() || has_other || words.iter().any(|word| !TYPES.contains(word)) {
            return;
        }
        let types = if let [one] = kept.as_slice() { one.clone() } else { Value::Array(kept) };
        self.keep("type", types);
    }

    fn format(&mut self, value: &Value) {
        let word = value.as_str().unwrap_or_default();
        if !FORMATS.contains(&word) {
            self.lose("format", format!("the format {word:?} stays, and judges nothing in draft-7"));
        }
        self.keep("format", value.clone());
    }

    fn pattern(&mut self, value: &Value) {
        match value.as_str().map(is_linear) {
            Some(true) => self.keep("pattern", value.clone()),
            _ => self.lose("pattern", format!("the pattern {value}, which has look-around or back-references")),
        }
    }

    fn patterns(&mut self, value: &Value) {
        let Value::Object(found) = value else { return };
        let mut kept = Map::new();
        for (pattern, schema) in found {
            let place = self.at.below("patternProperties").below(&escape(pattern));
            if is_linear(pattern) {
                let carried = self.schema(schema, &place);
                kept.insert(pattern.clone(), carried);
            } else {
                let lost = format!("the pattern {pattern:?}, which has look-around or back-references");
                self.losses.push((place.pointer, lost));
                self.lost_pattern = true;
            }
        }
        self.keep("patternProperties", Value::Object(kept));
    }

    fn dependencies(&mut self, value: &Value) {
        let Value::Object(found) = value else { return };
        for (name, names) in found {
            self.depend(name, names.clone());
        }
    }

    /// What is asked where the field `name` is there, beside what is asked already.
    fn depend(&mut self, name: &str, asked: Value) {
        let dependencies = self.out.entry("dependencies").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(dependencies) = dependencies else { return };
        let asked = match dependencies.remove(name) {
            Some(before) => json!({"allOf": [as_schema(before), as_schema(asked)]}),
            None => asked,
        };
        dependencies.insert(name.to_owned(), asked);
    }

    /// Whatever a keyword holds that holds schemas.
    fn schemas(&mut self, keyword: &str, value: &Value) {
        let is_map = matches!(keyword, "properties" | "dependencies");
        match value {
            Value::Object(_) if is_map => self.map(keyword, value),
            Value::Array(_) => self.list(keyword, value),
            _ => self.one(keyword, value),
        }
    }

    fn one(&mut self, keyword: &str, value: &Value) {
        let place = self.at.below(keyword);
        let carried = self.schema(value, &place);
        self.keep(keyword, carried);
    }

    fn list(&mut self, keyword: &str, value: &Value) {
        let place = self.at.below(keyword);
        let mut kept = Vec::new();
        for (at, schema) in value.as_array().into_iter().flatten().enumerate() {
            kept.push(self.schema(schema, &place.below(&at.to_string())));
        }
        self.keep(keyword, Value::Array(kept));
    }

    fn map(&mut self, keyword: &str, value: &Value) {
        let place = self.at.below(keyword);
        let mut kept = Map::new();
        for (name, schema) in value.as_object().into_iter().flatten() {
            // Of `dependencies` a list of names is as good.
            let carried = match is_schema(schema) || keyword == "properties" {
                true => self.schema(schema, &place.below(&escape(name))),
                false => schema.clone(),
            };
            if keyword == "dependencies" {
                self.depend(name, carried);
            } else {
                kept.insert(name.clone(), carried);
            }
        }
        if keyword != "dependencies" {
            self.keep(keyword, Value::Object(kept));
        }
    }
}

/// The names of fields that must be there, as a schema.
fn as_schema(asked: Value) -> Value {
    if asked.is_array() { json!({ "required": asked }) } else { asked }
}

/// Whether a pattern needs neither look-around nor back-references.
fn is_linear(pattern: &str) -> bool {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().is_ok()
}

/// OpenAPI's `nullable: true`.
fn make_nullable(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(Value::Array(types)) if !types.iter().any(|word| word == "null") => types.push(Value::from("null")),
        Some(word @ Value::String(_)) => *word = Value::Array(vec![word.take(), Value::from("null")]),
        _ => {}
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}
