//! What a schema may say and hardly means: nothing that stops a start, but that no event can meet or that says nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tidegate_document::nearest::nearest;
use tidegate_event::Kind;

use super::schema::{KEYWORDS, Relation, children, clip, members};
use super::{Domain, EventRule, Fault, OnUndeclaredFields};

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
const PLAIN_KEYWORDS: [&str; 36] = [
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
const FORMATS: [&str; 17] = [
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
pub fn notes(domains: &[Domain]) -> Vec<Fault> {
    let mut notes = Vec::new();
    for domain in domains {
        for rule in &domain.events {
            let mut found = Found { origin: &rule.origin, said: BTreeSet::new(), notes: &mut notes };
            found.fields_at_the_top(rule);
            let keeps_all = rule.on_undeclared_fields == OnUndeclaredFields::AllowEvent;
            found.walk(&rule.schema, true, keeps_all);
        }
    }
    notes
}

struct Found<'a> {
    origin: &'a str,
    said: BTreeSet<String>,
    notes: &'a mut Vec<Fault>,
}

impl Found<'_> {
    fn say(&mut self, problem: String, fix: String) {
        if self.said.insert(problem.clone()) {
            self.notes.push(Fault::new(self.origin, problem, fix));
        }
    }

    /// The schema of a track's own fields, written where that of the event belongs.
    fn fields_at_the_top(&mut self, rule: &EventRule) {
        let Some(schema) = rule.schema.as_object() else { return };
        let strange: Vec<&str> = members(schema, "properties")
            .map(|(name, _)| name.as_str())
            .filter(|name| !ENVELOPE.contains(name))
            .collect();
        let Some(first) = strange.first() else { return };
        let part = if matches!(rule.kind, Kind::Identify | Kind::Group) { "traits" } else { "properties" };
        let problem = match nearest(first, &ENVELOPE) {
            Some(known) => {
                let problem = format!("`{}` is no field that SDKs give an event.", clip(first));
                return self.say(problem, format!("Did you mean `{known}`?"));
            }
            None => format!(
                "`{}` is declared as a field of the event itself: the schema is over the whole event, and what a customer sends lies in its `{part}`.",
                clip(first)
            ),
        };
        let fix = format!(
            "Put it one level down: `properties: {{{part}: {{type: object, properties: {{{}: ..}}}}}}`.",
            clip(first)
        );
        self.say(problem, fix);
    }

    fn walk(&mut self, schema: &Value, is_top: bool, keeps_all: bool) {
        let Some(schema) = schema.as_object() else { return };
        self.keywords(schema);
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !FORMATS.contains(&format)
        {
            let problem = format!("`format` is {:?}, which judges nothing.", clip(format));
            let fix = match nearest(format, &FORMATS) {
                Some(known) => format!("Did you mean `{known}`?"),
                None => format!("The formats that are judged: {}.", FORMATS.join(", ")),
            };
            self.say(problem, fix);
        }
        self.required(schema, is_top, keeps_all);
        for (_, child, relation) in children(schema) {
            // What stands beside the object in an `allOf` or an `if` is about the same fields.
            self.walk(child, is_top && matches!(relation, Relation::Same | Relation::Negated), keeps_all);
        }
    }

    fn keywords(&mut self, schema: &Map<String, Value>) {
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
            self.say(problem, fix);
        }
    }

    /// Names that must be there and that no property has.
    fn required(&mut self, schema: &Map<String, Value>, is_top: bool, keeps_all: bool) {
        let declares_elsewhere = ["$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties"]
            .iter()
            .any(|word| schema.contains_key(*word))
            || schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
        let names: Vec<&str> = members(schema, "properties").map(|(name, _)| name.as_str()).collect();
        if declares_elsewhere || (names.is_empty() && !is_top) {
            return;
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
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
                (true, Some(_)) => self.say(format!("{what}."), fix),
                (true, None) => {}
                (false, _) => self.say(
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
