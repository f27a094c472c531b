//! What a schema may say and hardly means: nothing that stops a start, but that no event can meet or that says nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tidegate_document::nearest::nearest;
use tidegate_event::EventKind;

use super::schema::{KEYWORDS, Relation, children, clip, escape, members};
use super::{ContractProblem, Domain, OnUndeclaredFields};

/// Fields of an event that SDKs and the server give it; a schema over the event may name these at its top.
pub const ENVELOPE: [&str; 27] = [
    "_metadata",
    "anonymousId",
    "category",
    "channel",
    "context",
    "event",
    "groupId",
    "integrations",
    "library",
    "messageId",
    "metadata",
    "name",
    "originalTimestamp",
    "previousId",
    "projectId",
    "properties",
    "receivedAt",
    "request_ip",
    "rudderId",
    "sentAt",
    "timestamp",
    "traits",
    "type",
    "userId",
    "version",
    "writeKey",
    "_channel",
];

/// Keywords of draft-7 that hold no schema, and what documents a schema without judging anything.
pub(super) const PLAIN_KEYWORDS: [&str; 36] = [
    "$comment",
    "$id",
    "$ref",
    "$schema",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "deprecated",
    "description",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "tags",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
    "$anchor",
    "$vocabulary",
];

/// Keywords of later drafts and of OpenAPI, and what says the same in draft-7.
const ELSEWHERE: [(&str, &str); 9] = [
    ("dependentRequired", "`dependencies`"),
    ("dependentSchemas", "`dependencies`"),
    ("discriminator", "`oneOf`"),
    ("maxContains", "`contains` and `maxItems`"),
    ("minContains", "`contains` and `minItems`"),
    ("nullable", "`type: [string, \"null\"]`"),
    ("prefixItems", "`items` with a list"),
    ("unevaluatedItems", "`additionalItems: false`"),
    ("unevaluatedProperties", "`additionalProperties: false`"),
];

/// Formats that draft-7 knows, which are judged; `uuid` and `duration` are of later drafts.
pub(super) const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
];

/// Notes on the schemas of `domains`, each named once a file.
#[must_use]
pub fn notes(domains: &[Domain]) -> Vec<ContractProblem> {
    let mut notes = Vec::new();
    for domain in domains {
        for rule in &domain.events {
            let found = LintFound { origin: &rule.origin, said: BTreeSet::new(), notes: &mut notes };
            found.event(rule.kind, &rule.schema, rule.on_undeclared_fields);
        }
    }
    notes
}

/// The same of the schema of one event, wherever that is written.
#[must_use]
pub fn notes_of_event(kind: EventKind, schema: &Value, undeclared: OnUndeclaredFields) -> Vec<ContractProblem> {
    let mut notes = Vec::new();
    LintFound { origin: "", said: BTreeSet::new(), notes: &mut notes }.event(kind, schema, undeclared);
    notes
}

/// Notes on what stands in files that no event may come to: components, and sources that nobody has. `files` are those of a
/// repository, parsed, by their paths.
#[must_use]
pub fn notes_of_files(files: &BTreeMap<String, Value>, sources: &[&str]) -> Vec<ContractProblem> {
    let mut notes = Vec::new();
    for (path, file) in files {
        let mut found = LintFound { origin: path, said: BTreeSet::new(), notes: &mut notes };
        if path.contains("/components/")
            && let Some(schema) = file.get("schema")
        {
            found.walk(schema, &Where { pointer: SCHEMA.to_owned(), is_top: false, keeps_all: true });
        }
        let named = file.get("sources").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for (at, name) in named.enumerate().filter(|(_, name)| !sources.contains(name)) {
            let problem = format!("`sources` names {:?}, and no source is called that.", clip(name));
            let fix = match nearest(name, sources) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Make sources/{}.yaml, or take the name away.", clip(name)),
            };
            found.say(format!("/sources/{at}"), problem, fix);
        }
    }
    notes
}

/// Where the file of an event or a component has its schema.
const SCHEMA: &str = "/schema";

/// Where a walk over a schema is.
struct Where {
    /// From the top of the file.
    pointer: String,
    is_top: bool,
    keeps_all: bool,
}

struct LintFound<'a> {
    origin: &'a str,
    said: BTreeSet<String>,
    notes: &'a mut Vec<ContractProblem>,
}

impl LintFound<'_> {
    fn say(&mut self, place: String, problem: String, fix: String) {
        if self.said.insert(problem.clone()) {
            self.notes.push(ContractProblem::new(self.origin, problem, fix).at(place));
        }
    }

    fn event(mut self, kind: EventKind, schema: &Value, undeclared: OnUndeclaredFields) {
        self.fields_at_the_top(kind, schema);
        let keeps_all = undeclared == OnUndeclaredFields::AllowEvent;
        self.walk(schema, &Where { pointer: SCHEMA.to_owned(), is_top: true, keeps_all });
    }

    /// The schema of a track's own fields, written where that of the event belongs.
    fn fields_at_the_top(&mut self, kind: EventKind, schema: &Value) {
        let Some(schema) = schema.as_object() else { return };
        let strange: Vec<&str> = members(schema, "properties")
            .map(|(name, _)| name.as_str())
            .filter(|name| !ENVELOPE.contains(name))
            .collect();
        let place = |name: &str| format!("{SCHEMA}/properties/{}", escape(name));
        let (near, strange): (Vec<&str>, Vec<&str>) =
            strange.into_iter().partition(|name| nearest(name, &ENVELOPE).is_some());
        for name in near {
            let problem = format!("`{}` is no field that SDKs give an event.", clip(name));
            let known = nearest(name, &ENVELOPE).unwrap_or_default();
            self.say(place(name), problem, format!("Did you mean `{known}`?"));
        }
        let Some(first) = strange.first() else { return };
        let part = if matches!(kind, EventKind::Identify | EventKind::Group) { "traits" } else { "properties" };
        let problem = format!(
            "`{}` is declared as a field of the event itself: the schema is over the whole event, and what a customer sends lies in its `{part}`.",
            clip(first)
        );
        let fix = format!(
            "Put it one level down: `properties: {{{part}: {{type: object, properties: {{{}: ..}}}}}}`.",
            clip(first)
        );
        self.say(place(first), problem, fix);
    }

    fn walk(&mut self, schema: &Value, at: &Where) {
        let Some(schema) = schema.as_object() else { return };
        self.keywords(schema, at);
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !FORMATS.contains(&format)
        {
            let problem = format!("`format` is {:?}, which judges nothing.", clip(format));
            let fix = match nearest(format, &FORMATS) {
                Some(known) => format!("Did you mean `{known}`?"),
                None => format!("The formats that are judged: {}.", FORMATS.join(", ")),
            };
            self.say(format!("{}/format", at.pointer), problem, fix);
        }
        self.required(schema, at);
        for (below, child, relation) in children(schema) {
            // What stands beside the object in an `allOf` or an `if` is about the same fields.
            let is_top = at.is_top && matches!(relation, Relation::Same | Relation::Negated);
            self.walk(child, &Where { pointer: format!("{}{below}", at.pointer), is_top, keeps_all: at.keeps_all });
        }
    }

    fn keywords(&mut self, schema: &Map<String, Value>, at: &Where) {
        let known: Vec<&str> = KEYWORDS.iter().map(|(keyword, _)| *keyword).chain(PLAIN_KEYWORDS).collect();
        for keyword in schema.keys().filter(|keyword| !known.contains(&keyword.as_str()) && !keyword.starts_with("x-"))
        {
            let problem = format!("`{}` is no keyword of JSON Schema draft-7: it says nothing.", clip(keyword));
            let elsewhere = ELSEWHERE.iter().find(|(known, _)| known == keyword);
            let fix = match (elsewhere, nearest(keyword, &known)) {
                (Some((_, instead)), _) => format!("Write {instead}."),
                (None, Some(known)) => format!("Did you mean `{known}`?"),
                (None, None) => "Take it away, or write `x-` before it if it is a note of yours.".to_owned(),
            };
            self.say(format!("{}/{}", at.pointer, escape(keyword)), problem, fix);
        }
    }

    /// Names that must be there and that no property has.
    fn required(&mut self, schema: &Map<String, Value>, at: &Where) {
        let (is_top, keeps_all) = (at.is_top, at.keeps_all);
        let declares_elsewhere = ["$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"]
            .iter()
            .any(|word| schema.contains_key(*word))
            || schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
        let names: Vec<&str> = members(schema, "properties").map(|(name, _)| name.as_str()).collect();
        if declares_elsewhere || (names.is_empty() && !is_top) {
            return;
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for (index, name) in required.enumerate() {
            let (Some(name), place) = (name.as_str(), format!("{}/required/{index}", at.pointer)) else { continue };
            if names.contains(&name) || (is_top && ENVELOPE.contains(&name)) {
                continue;
            }
            let near = nearest(name, &names);
            let what = format!("`required` names {:?}, and no property is called that", clip(name));
            let fix = near.map_or_else(
                || format!("Declare it beside the others: `{}: {{type: string}}`.", clip(name)),
                |near| format!("Did you mean `{near}`?"),
            );
            match (keeps_all || is_top, near) {
                (true, Some(_)) => self.say(place, format!("{what}."), fix),
                (true, None) => {}
                (false, _) => self.say(
                    place,
                    format!(
                        "{what}: what is undeclared is left out before the schema is asked, so no event can have it."
                    ),
                    fix,
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_formats_that_are_named_are_judged_and_no_others() {
        let refuses = |format: &str| {
            let schema = json!({"format": format});
            let validator = jsonschema::draft7::options().offline().build(&schema).unwrap();
            ["(", "a b", "\\", "{", "%"].iter().any(|text| !validator.is_valid(&json!(text)))
        };
        for format in FORMATS {
            assert!(refuses(format), "{format}");
        }
        for format in ["uuid", "duration", "datetime"] {
            assert!(!refuses(format), "{format}");
        }
    }
}
