//! What of its contract an event breaks, place by place: for counting, so without values of the event.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as ErrorKind;
use tidegate_document::pointer;
use tidegate_event::UNDECLARED_FIELD;
use tidegate_event::value::Value;

use super::VIOLATIONS_MAX;
use super::client_release::client_release;
use super::report::{ContractReport, ReportStep, write_place};
use super::schema::escape;

/// Where the version of an event stands.
pub(super) const VERSION_PLACE: &str = "/context/htevents/schemaVersion";
/// Of a schema that does not hold and does not say why.
const WHOLE_SCHEMA: &str = "schema";
/// Stands for what found no room.
const OTHER_RULES: &str = "(others)";

/// What of its contract an event breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokenRules {
    /// The contract has its name, if perhaps for other versions of it; not where one rule is for events of all names.
    pub is_declared: bool,
    /// Of the app or the library that sent it, `iOS 4.2`; empty where the event does not say.
    pub release: String,
    /// Each once, at most [`VIOLATIONS_MAX`]; of what is beyond one without a place says that there is more.
    pub rules: Vec<BrokenRule>,
}

/// One rule that does not hold at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// A JSON pointer with a star for each item of a list and each name that a schema leaves open; empty for the event as a whole.
    pub place: String,
    /// The keyword of the schema that does not hold, or `undeclaredEvent`, `undeclaredVersion`, `undeclaredField`.
    pub keyword: String,
}

impl BrokenRules {
    /// Says which event it is: one with this context.
    pub(super) fn of_event(&mut self, context: Option<&Value>, is_declared: bool) {
        self.is_declared = is_declared;
        if let Some((family, version)) = client_release(context) {
            self.release = ContractReport::line(|line| write!(line, "{family} {version}"));
        }
    }

    /// Adds a rule. Nobody is asked for its place when there is no room.
    pub(super) fn add(&mut self, keyword: &str, place: impl FnOnce() -> String) {
        if self.rules.len() > VIOLATIONS_MAX {
            return;
        }
        let rule = BrokenRule { place: place(), keyword: keyword.to_owned() };
        if self.rules.contains(&rule) {
            return;
        }
        if self.rules.len() < VIOLATIONS_MAX {
            self.rules.push(rule);
        } else {
            self.rules.push(BrokenRule { place: String::new(), keyword: OTHER_RULES.to_owned() });
        }
    }

    /// Adds an undeclared field.
    pub(super) fn add_field(&mut self, path: &[ReportStep<'_>]) {
        self.add(UNDECLARED_FIELD, || ContractReport::line(|line| write_place(line, path)));
    }

    /// Adds what a schema has against an event.
    pub(super) fn add_error(&mut self, event: &Value, error: &ValidationError<'_>) {
        self.add(error.kind().keyword(), || place_of(event, error).0);
    }

    /// Adds that a schema does not hold.
    pub(super) fn add_schema(&mut self) {
        self.add(WHOLE_SCHEMA, String::new);
    }
}

/// Where an error is, and what stands there: of what is missing, where it would be.
pub(super) fn place_of<'v>(event: &'v Value, error: &ValidationError<'_>) -> (String, Option<&'v Value>) {
    let open_names = open_names(error.evaluation_path().as_str());
    let (mut place, mut found) = starred(event, error.instance_path().as_str(), &open_names);
    if let ErrorKind::Required { property } = error.kind() {
        found = None;
        if let Some(name) = property.as_str() {
            place = format!("{place}/{}", escape(name));
        }
    }
    (ContractReport::line(|line| line.write_str(&place)), found)
}

/// Of each step into an event that a path through a schema stands for, whether senders choose its name.
fn open_names(path: &str) -> Vec<bool> {
    let mut open = Vec::new();
    let mut steps = path.strip_prefix('/').into_iter().flat_map(pointer::steps).peekable();
    while let Some(keyword) = steps.next() {
        match keyword.as_str() {
            "properties" => open.extend(steps.next().map(|_| false)),
            "patternProperties" => open.extend(steps.next().map(|_| true)),
            "additionalProperties" | "unevaluatedProperties" => open.push(true),
            "items" | "prefixItems" | "additionalItems" | "unevaluatedItems" | "contains" => {
                // Of a list of schemas, one for each item, the path says which.
                let _which = steps.next_if(|step| step.parse::<usize>().is_ok());
                open.push(false);
            }
            "allOf" | "anyOf" | "oneOf" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
                let _which = steps.next();
            }
            _ => {}
        }
    }
    open
}

/// A pointer into an event with a star for each item of a list and each of its steps whose name is open, and what it leads to.
fn starred<'v>(event: &'v Value, at: &str, open_names: &[bool]) -> (String, Option<&'v Value>) {
    let (mut place, mut here) = (String::new(), Some(event));
    let mut open_names = open_names.iter().copied();
    for step in at.strip_prefix('/').into_iter().flat_map(pointer::steps) {
        let is_open = open_names.next().unwrap_or(false);
        match here {
            Some(Value::Array(items)) => {
                place.push_str("/*");
                here = step.parse::<usize>().ok().and_then(|at| items.get(at));
            }
            other => {
                place.push('/');
                if is_open {
                    place.push('*');
                } else {
                    place.push_str(&escape(&step));
                }
                here = other.and_then(|value| value.get(&step));
            }
        }
    }
    (place, here)
}
