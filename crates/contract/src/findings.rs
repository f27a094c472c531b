//! What a contract finds in an event, finding by finding: for comparing contracts and for watching fields, where the sentences of
//! a violation would hold values.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{EventKind, UNDECLARED_EVENT, UNDECLARED_FIELD, UNDECLARED_VERSION};

use super::broken::{VERSION_PLACE, place_of};
use super::compile::{Contract, ContractRule, EventLookup};
use super::judge::{called, counts_when_open, name_of, version_of};
use super::report::{ContractReport, write_place};
use super::{Action, OnUndeclaredFields, VIOLATIONS_MAX};

/// One thing that a contract finds in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFinding {
    /// A JSON pointer with a star for each item of a list and each name that a schema leaves open; empty for the event as a whole.
    pub place: String,
    /// The keyword of the schema that does not hold, or `undeclaredEvent`, `undeclaredVersion`, `undeclaredField`.
    pub keyword: String,
    /// A sentence without values of the event.
    pub says: String,
    /// The same with them.
    pub whole: String,
    /// What stands there: `null`, `boolean`, `integer`, `number`, `string`, `array`, `object`, or `nothing`.
    pub found: &'static str,
}

/// What a contract says of an event, in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    pub action: Action,
    /// Undeclared fields are removed from it.
    pub omitted: bool,
    /// At most [`VIOLATIONS_MAX`]. Undeclared fields and events are among them, whatever the policy.
    pub findings: Vec<EventFinding>,
}

impl Contract {
    /// Looks at one event without changing it. The action is that of [`Contract::judge`].
    #[must_use]
    pub fn examine(&self, kind: EventKind, body: &JsonObject) -> Examined {
        let mut judged = body.clone();
        let verdict = self.judge(kind, &mut judged);
        let (name, version) = (name_of(kind, body), version_of(body));
        let mut findings = Vec::new();
        match self.find(kind, name, &version) {
            EventLookup::Rule(rule) => rule.examine(&Value::Object(body.clone()), &mut findings),
            EventLookup::UnknownVersion => {
                let says = format!("version {version:?} of {} is not declared", called(kind, name));
                findings.push(of_event(VERSION_PLACE, UNDECLARED_VERSION, says));
            }
            EventLookup::Undeclared => {
                findings.push(of_event("", UNDECLARED_EVENT, format!("{} is not declared", called(kind, name))));
            }
        }
        Examined { action: verdict.action, omitted: verdict.omitted, findings }
    }

    /// The type and the name of an event, for people: `track "Order Completed"`.
    #[must_use]
    pub fn name_event(kind: EventKind, body: &JsonObject) -> String {
        called(kind, name_of(kind, body))
    }
}

fn of_event(place: &str, keyword: &str, says: String) -> EventFinding {
    let (place, keyword) = (place.to_owned(), keyword.to_owned());
    EventFinding { place, keyword, whole: says.clone(), says, found: "nothing" }
}

impl ContractRule {
    fn examine(&self, value: &Value, findings: &mut Vec<EventFinding>) {
        if self.fields.cover(value) && self.validator.is_valid(value) {
            return;
        }
        self.fields.each_undeclared(value, &mut |path| {
            if findings.len() >= VIOLATIONS_MAX {
                return;
            }
            let place = ContractReport::line(|line| write_place(line, path));
            let says = "the field is not declared".to_owned();
            if !findings.iter().any(|known: &EventFinding| known.place == place) {
                let keyword = UNDECLARED_FIELD.to_owned();
                findings.push(EventFinding { place, keyword, whole: says.clone(), says, found: "nothing" });
            }
        });
        let trimmed = (!findings.is_empty()).then(|| {
            let mut trimmed = value.clone();
            self.fields.omit_undeclared(&mut trimmed);
            trimmed
        });
        match &trimmed {
            Some(trimmed) if self.on_undeclared_fields == OnUndeclaredFields::AllowEvent => {
                let closed_branch = self.validator.is_valid(trimmed);
                let errors = self.validator.iter_errors(value);
                errors
                    .filter(|error| counts_when_open(error, closed_branch))
                    .take(VIOLATIONS_MAX)
                    .for_each(|error| findings.push(of_error(value, &error)));
            }
            trimmed => {
                let value = trimmed.as_ref().unwrap_or(value);
                let errors = self.validator.iter_errors(value).take(VIOLATIONS_MAX);
                errors.for_each(|error| findings.push(of_error(value, &error)));
            }
        }
        findings.truncate(VIOLATIONS_MAX);
    }
}

fn of_error(event: &Value, error: &ValidationError<'_>) -> EventFinding {
    let (place, found) = place_of(event, error);
    let cut = |text: String| ContractReport::line(|line| line.write_str(&text));
    EventFinding {
        place,
        keyword: error.kind().keyword().to_owned(),
        says: cut(error.masked().to_string()),
        whole: cut(error.to_string()),
        found: found.map_or("nothing", type_word),
    }
}

fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_spelled_whole() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
