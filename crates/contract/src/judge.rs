//! From an event to a verdict.

use std::borrow::Cow;
use std::fmt::Write;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as ErrorKind;
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{EventKind, UNDECLARED_EVENT, UNDECLARED_VERSION};

use super::broken::{BrokenRules, VERSION_PLACE};
use super::compile::{Contract, ContractRule, EventLookup};
use super::report::{ContractReport, write_place, write_pointer};
use super::{Action, OnSchemaViolation, OnUndeclaredFields, VERSION_DEFAULT, VIOLATIONS_MAX, Verdict, Violation};

impl Contract {
    /// Judges one event. Changes `body` only by omitting undeclared fields, only under that policy, and only when the
    /// verdict lets the event go on.
    pub fn judge(&self, kind: EventKind, body: &mut JsonObject) -> Verdict {
        let name = name_of(kind, body);
        let version = version_of(body);
        match self.find(kind, name, &version) {
            EventLookup::Rule(rule) => rule.judge(kind, body),
            EventLookup::UnknownVersion => self.judge_undeclared(kind, body, true),
            EventLookup::Undeclared => self.judge_undeclared(kind, body, false),
        }
    }

    #[cold]
    fn judge_undeclared(&self, kind: EventKind, body: &JsonObject, unknown_version: bool) -> Verdict {
        let name = name_of(kind, body);
        let version = version_of(body);
        let of = called(kind, name);
        let undeclared = match (self.block_undeclared, unknown_version) {
            (true, _) => Vec::new(),
            (false, true) => vec![ContractReport::line(|line| write!(line, "version {version:?} of {of}"))],
            (false, false) => vec![ContractReport::line(|line| line.write_str(&of))],
        };
        if !self.block_undeclared && !self.undeclared_rows {
            return Verdict { undeclared, ..Verdict::CLEAN };
        }
        let mut report = ContractReport::default();
        report.push(|line| match (unknown_version, kind) {
            (true, _) => {
                write!(line, "{VERSION_PLACE}: version {version:?} of {of} is not declared.")
            }
            (false, EventKind::Track) => write!(line, "/event: {of} is not declared."),
            (false, EventKind::Page | EventKind::Screen) => write!(line, "/name: {of} is not declared."),
            (false, _) => write!(line, "/type: {of} is not declared."),
        });
        let mut broken = BrokenRules::default();
        broken.of_event(body.get("context"), name.is_some_and(|name| self.has_name(kind, name)));
        let (keyword, place) =
            if unknown_version { (UNDECLARED_VERSION, VERSION_PLACE) } else { (UNDECLARED_EVENT, "") };
        broken.add(keyword, || place.to_owned());
        Verdict {
            action: if self.block_undeclared { Action::Block } else { Action::Allow },
            undeclared,
            omitted: false,
            violation: Some(Violation {
                payload: body.to_string(),
                event_name: name.map(str::to_owned),
                event_type: kind,
                schema_version: version.into_owned(),
                has_undeclared_schema: true,
                has_undeclared_fields: false,
                has_schema_violated: false,
                violations: report.into_sentences(),
                broken,
            }),
        }
    }
}

impl ContractRule {
    fn judge(&self, kind: EventKind, body: &mut JsonObject) -> Verdict {
        let mut whole = Whole::of(body);
        if self.fields.cover(&whole.value) && self.validator.is_valid(&whole.value) {
            return Verdict::CLEAN;
        }
        self.judge_unclean(kind, &mut whole.value)
    }

    #[cold]
    fn judge_unclean(&self, kind: EventKind, value: &mut Value) -> Verdict {
        let (mut report, mut undeclared) = (ContractReport::default(), Vec::new());
        let mut broken = BrokenRules::default();
        let allows = self.on_undeclared_fields == OnUndeclaredFields::AllowEvent;
        let of = allows.then(|| called(kind, value.as_object().and_then(|body| name_of(kind, body))));
        self.fields.each_undeclared(value, &mut |path| {
            report.push(|line| {
                write_pointer(line, path)?;
                line.write_str(": the field is not declared.")
            });
            if let Some(of) = of.as_ref().filter(|_| undeclared.len() < VIOLATIONS_MAX) {
                let place = ContractReport::line(|line| {
                    write_place(line, path)?;
                    write!(line, " of {of}")
                });
                if !undeclared.contains(&place) {
                    undeclared.push(place);
                }
            }
        });
        let has_undeclared_fields = !report.is_empty();
        // Where they do not go on, or keep the event from going on, the schema is asked about the event without them:
        // otherwise a schema with `additionalProperties: false` would find them a second time.
        let trimmed = has_undeclared_fields.then(|| {
            let mut trimmed = value.clone();
            self.fields.omit_undeclared(&mut trimmed);
            trimmed
        });
        let has_schema_violated = match &trimmed {
            Some(trimmed) if allows => self.validate_open(value, trimmed, &mut report, &mut broken),
            trimmed => self.validate(trimmed.as_ref().unwrap_or(value), &mut report, &mut broken),
        };
        let block = (has_undeclared_fields && self.on_undeclared_fields == OnUndeclaredFields::BlockEvent)
            || (has_schema_violated && self.on_schema_violation == OnSchemaViolation::BlockEvent);
        if allows && !has_schema_violated && !self.undeclared_rows {
            return Verdict { undeclared, ..Verdict::CLEAN };
        }
        broken.of_event(value.get("context"), self.is_named);
        if has_undeclared_fields {
            self.fields.each_undeclared(value, &mut |path| broken.add_field(path));
        }
        let violation = Violation {
            payload: value.to_string(),
            event_name: value.as_object().and_then(|body| name_of(kind, body)).map(str::to_owned),
            event_type: kind,
            schema_version: self.version.clone(),
            has_undeclared_schema: false,
            has_undeclared_fields,
            has_schema_violated,
            violations: report.into_sentences(),
            broken,
        };
        let mut omitted = false;
        if let Some(trimmed) = trimmed
            && !block
            && self.on_undeclared_fields == OnUndeclaredFields::OmitFields
        {
            *value = trimmed;
            omitted = true;
        }
        let action = if block { Action::Block } else { Action::Allow };
        // What is blocked is not let through.
        let undeclared = if block { Vec::new() } else { undeclared };
        Verdict { action, omitted, violation: Some(violation), undeclared }
    }

    /// The same for an event that keeps its undeclared fields: they count for `required`, `maxProperties` and the like, and
    /// only what closes a schema (or a branch of it) may not hold them against it. `trimmed` is the event without them.
    fn validate_open(
        &self,
        value: &Value,
        trimmed: &Value,
        report: &mut ContractReport,
        broken: &mut BrokenRules,
    ) -> bool {
        let closed_branch = self.validator.is_valid(trimmed);
        let mut violated = false;
        for error in self.validator.iter_errors(value) {
            if counts_when_open(&error, closed_branch) {
                violated = true;
                report.push(|line| said(line, &error));
                broken.add_error(value, &error);
            }
        }
        violated
    }

    /// Adds what the schema has against `value`; whether there was anything.
    fn validate(&self, value: &Value, report: &mut ContractReport, broken: &mut BrokenRules) -> bool {
        if self.validator.is_valid(value) {
            return false;
        }
        let mut silent = true;
        for error in self.validator.iter_errors(value) {
            silent = false;
            report.push(|line| said(line, &error));
            broken.add_error(value, &error);
        }
        if silent {
            report.push(|line| line.write_str("the event: it does not satisfy its schema."));
            broken.add_schema();
        }
        true
    }
}

/// Whether an error counts against an event that keeps its undeclared fields: what merely closes a schema does not, and neither
/// does a branch that takes the event without them (`closed_branch`).
pub(super) fn counts_when_open(error: &ValidationError<'_>, closed_branch: bool) -> bool {
    match error.kind() {
        ErrorKind::AdditionalProperties { .. } | ErrorKind::UnevaluatedProperties { .. } => false,
        ErrorKind::AnyOf { .. } | ErrorKind::OneOfNotValid { .. } => !closed_branch,
        _ => true,
    }
}

fn said(line: &mut dyn Write, error: &ValidationError<'_>) -> std::fmt::Result {
    let at = error.instance_path().as_str();
    write!(line, "{}: {error}.", if at.is_empty() { "the event" } else { at })
}

/// A kind of event with its name, where kinds have one.
pub(super) fn called(kind: EventKind, name: Option<&str>) -> String {
    match (kind, name) {
        (EventKind::Identify | EventKind::Group | EventKind::Alias, _) => kind.to_string(),
        (_, None) => format!("{kind} without a name"),
        (_, Some(name)) => format!("{kind} {name:?}"),
    }
}

/// The name that a rule may match.
pub(super) fn name_of(kind: EventKind, body: &JsonObject) -> Option<&str> {
    let field = match kind {
        EventKind::Track => "event",
        EventKind::Page | EventKind::Screen => "name",
        EventKind::Identify | EventKind::Group | EventKind::Alias => return None,
    };
    body.get(field).and_then(Value::as_str)
}

/// The version that the event names. Anything but text or a number names no version that a rule could have, so its
/// JSON text stands for it.
pub(super) fn version_of(body: &JsonObject) -> Cow<'_, str> {
    let named = body.get("context").and_then(|context| context.get("htevents")?.get("schemaVersion"));
    match named {
        None | Some(Value::Null) => Cow::Borrowed(VERSION_DEFAULT),
        Some(Value::String(version)) => Cow::Borrowed(version),
        Some(Value::Number(version)) => Cow::Borrowed(version.as_str()),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

/// The body handed out as one JSON value. It goes back even when a panic passes through, so that no caller ever sees
/// an event emptied.
struct Whole<'a> {
    body: &'a mut JsonObject,
    value: Value,
}

impl<'a> Whole<'a> {
    fn of(body: &'a mut JsonObject) -> Self {
        let value = Value::Object(std::mem::take(body));
        Self { body, value }
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if let Value::Object(map) = &mut self.value {
            std::mem::swap(self.body, map);
        }
    }
}
