//! Forms made of a JSON Schema of settings: a field for each property, and what was written in them as settings again.
//!
//! What is neither text, number, choice nor yes or no is written as JSON. In a spec a field that stands in an object has the names of both with a
//! dot between them, texts in a list are lines, and a secret has two fields: its reference, `secret:NAME`, and a new value, which is shown by
//! nobody.

use std::collections::BTreeSet;
use std::fmt;

use maud::{Markup, html};
use serde_json::{Map, Value};
use tidegate_api_types::ProblemDetails;

use super::ask::PagePairs;
use super::text::{SHORT_CHARS_MAX, short, visible};

/// How the reference of a secret begins.
pub(super) const SECRET_REFERENCE: &str = "secret:";
/// How the names of the fields for settings of a spec begin.
const SETTING: &str = "set.";
/// The same of a version.
const VERSION_SETTING: &str = "setting.";
/// How the names of the fields for new values of secrets begin.
const NEW_VALUE: &str = "value.";
/// Objects in objects of a spec that become fields of their own.
const DEPTH_MAX: usize = 2;
/// Fields of one form.
const FIELDS_MAX: usize = 200;
const ABOUT_CHARS_MAX: usize = 500;

/// Where settings stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingsPlace {
    /// In a spec of the catalog, with references of secrets.
    Spec,
    /// With a version that is live: its secrets are written themselves, and its texts have the spaces that were typed.
    Version,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FormField {
    /// What its name in the form begins with.
    prefix: &'static str,
    /// From the top of the settings.
    path: Vec<String>,
    shape: FieldInput,
    required: bool,
    description: String,
}

/// What is written in a field.
#[derive(Debug, Clone, PartialEq)]
enum FieldInput {
    Text,
    /// With the spaces around it.
    Verbatim,
    /// The reference of one.
    Secret,
    /// A secret itself.
    Password,
    Whole,
    Number,
    YesOrNo,
    Choice(Vec<Value>),
    Lines,
    Json,
}

/// What does not fit a field, in the browser's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongField {
    name: String,
    says: String,
}

impl fmt::Display for WrongField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.says)
    }
}

impl WrongField {
    pub(super) fn new(name: impl Into<String>, says: impl Into<String>) -> Self {
        Self { name: name.into(), says: says.into() }
    }
}

/// What is said beside fields, or above them all.
#[derive(Default)]
pub(super) struct FormProblems<'p> {
    wrong: Vec<WrongField>,
    found: Option<&'p ProblemDetails>,
}

impl<'p> FormProblems<'p> {
    pub(super) fn new(wrong: Vec<WrongField>, found: Option<&'p ProblemDetails>) -> Self {
        Self { wrong, found }
    }

    /// What is said against the field of this name.
    pub(super) fn of(&self, name: &str) -> Option<String> {
        let own = self.wrong.iter().find(|wrong| wrong.name == name).map(|wrong| wrong.says.clone());
        let found = || {
            let found = self.found?;
            let field = found.field.as_deref().unwrap_or_default();
            let is_of_field = |field: &str| field == name || field.ends_with(&format!(".{name}"));
            if is_of_field(field) {
                return Some(format!("{} {}", found.detail, found.fix));
            }
            let quoted = [format!("`{name}`"), format!(".{name}`"), format!("/{name}:")];
            let is_of_name = |message: &str| quoted.iter().any(|quoted| message.contains(quoted.as_str()));
            let problem = found.problems.iter().find(|problem| is_of_name(&problem.message));
            problem.map(|problem| format!("{} {}", problem.message, problem.fix))
        };
        own.or_else(found)
    }

    /// A sentence beside the field of this name, with an id that the field refers to.
    pub(super) fn beside(&self, name: &str) -> Markup {
        html! {
            @if let Some(says) = self.of(name) {
                span.problem id=(problem_id(name)) { (visible(&says, SHORT_CHARS_MAX)) }
            }
        }
    }

    /// The id of what stands beside the field, if anything does.
    pub(super) fn id(&self, name: &str) -> Option<String> {
        self.of(name).map(|_| problem_id(name))
    }
}

fn problem_id(name: &str) -> String {
    format!("problem-{name}")
}

/// The fields that a schema asks for, those that are needed first.
pub(super) fn fields_of(schema: &Value, place: SettingsPlace) -> Vec<FormField> {
    let mut fields = Vec::new();
    gather(schema, place, (&[], true), &mut fields);
    fields.truncate(FIELDS_MAX);
    fields.sort_by_key(|field| !field.required);
    fields
}

fn gather(schema: &Value, place: SettingsPlace, (above, is_needed): (&[String], bool), fields: &mut Vec<FormField>) {
    let (prefix, depth_max) = match place {
        SettingsPlace::Spec => (SETTING, DEPTH_MAX),
        SettingsPlace::Version => (VERSION_SETTING, 1),
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let path: Vec<String> = above.iter().cloned().chain([name.clone()]).collect();
        let required = is_needed && required.contains(&name.as_str());
        let is_object = of["properties"].as_object().is_some_and(|properties| !properties.is_empty());
        if is_object && path.len() < depth_max {
            gather(of, place, (path.as_slice(), required), fields);
            continue;
        }
        let description = of["description"].as_str().unwrap_or_default().to_owned();
        fields.push(FormField { prefix, path, shape: shape(of, place), required, description });
    }
}

fn shape(of: &Value, place: SettingsPlace) -> FieldInput {
    let is_spec = place == SettingsPlace::Spec;
    if of["secret"] == true {
        return if is_spec { FieldInput::Secret } else { FieldInput::Password };
    }
    if let Some(values) = of["enum"].as_array() {
        let texts: BTreeSet<String> = values.iter().map(choice_text).filter(|text| !text.is_empty()).collect();
        let is_told_apart = texts.len() == values.len();
        return if is_told_apart { FieldInput::Choice(values.clone()) } else { FieldInput::Json };
    }
    match of["type"].as_str() {
        Some("string") if is_spec => FieldInput::Text,
        Some("string") => FieldInput::Verbatim,
        Some("integer") if is_spec => FieldInput::Whole,
        Some("integer" | "number") => FieldInput::Number,
        Some("boolean") => FieldInput::YesOrNo,
        Some("array") if is_spec && of["items"]["type"] == "string" => FieldInput::Lines,
        _ => FieldInput::Json,
    }
}

/// One of several values as it stands in a form.
fn choice_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl FormField {
    /// As it is called in the form.
    fn field(&self) -> String {
        format!("{}{}", self.prefix, self.name())
    }

    /// As it is called in the settings.
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// The value that the settings have for it.
    fn value<'v>(&self, settings: &'v Value) -> Option<&'v Value> {
        let mut at = settings;
        for step in &self.path {
            at = at.get(step)?;
        }
        Some(at)
    }

    /// As it stands in the form, of settings.
    fn text(&self, settings: &Value) -> String {
        match (self.value(settings), &self.shape) {
            (Some(value), FieldInput::Choice(values)) if values.contains(value) => choice_text(value),
            (None | Some(Value::Null), _) => String::new(),
            (Some(Value::String(text)), FieldInput::Json) => Value::from(text.as_str()).to_string(),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(Value::Array(items)), FieldInput::Lines) => {
                let lines: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                lines.join("\n")
            }
            (Some(value @ (Value::Object(_) | Value::Array(_))), _) => {
                serde_json::to_string_pretty(value).unwrap_or_default()
            }
            (Some(value), _) => value.to_string(),
        }
    }

    /// What was written in it; none where it was left empty.
    fn read(&self, written: &PagePairs) -> Result<Option<Value>, String> {
        let name = self.field();
        let text = match self.shape {
            FieldInput::Lines => {
                let lines: Vec<Value> = written.lines(&name).into_iter().map(Value::from).collect();
                return Ok((!lines.is_empty()).then_some(Value::Array(lines)));
            }
            FieldInput::Verbatim | FieldInput::Password | FieldInput::Choice(_) => written.whole(&name),
            _ => written.text(&name),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let value = match &self.shape {
            FieldInput::Whole => {
                let number: i64 = text.parse().map_err(|_| "this is no whole number".to_owned())?;
                Value::from(number)
            }
            FieldInput::Number => {
                let number: Value = serde_json::from_str(text).map_err(|_| "this is no number".to_owned())?;
                if !number.is_number() {
                    return Err("this is no number".to_owned());
                }
                number
            }
            FieldInput::YesOrNo => Value::Bool(text == "true"),
            FieldInput::Json => serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))?,
            FieldInput::Secret if !is_reference(text) => {
                return Err("write secret:NAME here; the value itself goes into the field beside it".to_owned());
            }
            FieldInput::Choice(values) => {
                values.iter().find(|value| choice_text(value) == text).cloned().unwrap_or_else(|| Value::from(text))
            }
            FieldInput::Text | FieldInput::Verbatim | FieldInput::Secret | FieldInput::Password | FieldInput::Lines => {
                Value::from(text)
            }
        };
        Ok(Some(value))
    }

    /// As it was written, if it may be shown again.
    fn written<'w>(&self, written: &'w PagePairs) -> &'w str {
        let text = written.whole(&self.field()).trim();
        match self.shape {
            FieldInput::Password => "",
            FieldInput::Secret if !is_reference(text) => "",
            _ => text,
        }
    }

    fn shown(&self, text: &str, problems: &FormProblems<'_>) -> Markup {
        let name = self.name();
        let (field, described) = (self.field(), problems.id(&name));
        let is_wrong = described.is_some().then_some("true");
        html! {
            div.field {
                label {
                    span { (short(&name)) @if self.required { " (needed)" } }
                    @match &self.shape {
                        FieldInput::Choice(values) => {
                            @let words: Vec<String> = values.iter().map(choice_text).collect();
                            select name=(field) aria-describedby=[&described] aria-invalid=[is_wrong] {
                                option value="" selected[text.is_empty()] { "–" }
                                @for word in &words { option value=(word) selected[word == text] { (short(word)) } }
                                @if !text.is_empty() && !words.iter().any(|word| word == text) { option value=(text) selected { (short(text)) } }
                            }
                        }
                        FieldInput::YesOrNo => {
                            select name=(field) aria-describedby=[&described] aria-invalid=[is_wrong] {
                                option value="" selected[text.is_empty()] { "–" }
                                option value="true" selected[text == "true"] { "yes" }
                                option value="false" selected[text == "false"] { "no" }
                            }
                        }
                        FieldInput::Lines | FieldInput::Json => {
                            textarea name=(field) rows=(if self.shape == FieldInput::Json { "6" } else { "3" }) spellcheck="false" aria-describedby=[&described] aria-invalid=[is_wrong] { "\n" (text) }
                        }
                        FieldInput::Password => {
                            input name=(field) type="password" autocomplete="new-password" placeholder=[(!text.is_empty()).then_some("write it again")] aria-describedby=[&described] aria-invalid=[is_wrong];
                        }
                        FieldInput::Whole => {
                            input name=(field) value=(text) inputmode="numeric" autocomplete="off" aria-describedby=[&described] aria-invalid=[is_wrong];
                        }
                        _ => {
                            input name=(field) value=(text) autocomplete="off" spellcheck="false" aria-describedby=[&described] aria-invalid=[is_wrong];
                        }
                    }
                }
                @if self.shape == FieldInput::Secret {
                    label {
                        span { "New value of " (short(&name)) }
                        input type="password" name={ (NEW_VALUE) (name) } autocomplete="off";
                    }
                }
                @if !self.description.is_empty() { span.quiet { (visible(&self.description, ABOUT_CHARS_MAX)) } }
                @if self.shape == FieldInput::Lines { span.quiet { "One on each line." } }
                @if self.shape == FieldInput::Json { span.quiet { "As JSON." } }
                (problems.beside(&name))
            }
        }
    }
}

/// The fields with what the settings have.
pub(super) fn form_of_settings(fields: &[FormField], settings: &Value, problems: &FormProblems<'_>) -> Markup {
    html! { @for field in fields { (field.shown(&field.text(settings), problems)) } }
}

/// The fields with what was written in them. New values of secrets are not written again, wherever they were typed.
pub(super) fn form_as_written(fields: &[FormField], written: &PagePairs, problems: &FormProblems<'_>) -> Markup {
    html! { @for field in fields { (field.shown(field.written(written), problems)) } }
}

/// Settings as they were written; what the fields do not know of `before` stays.
///
/// # Errors
/// What does not fit, field by field.
pub(super) fn written_settings(
    fields: &[FormField],
    written: &PagePairs,
    before: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<WrongField>> {
    let (mut settings, mut wrong) = (before.clone(), Vec::new());
    for field in fields {
        match field.read(written) {
            Ok(value) => put(&mut settings, &field.path, value),
            Err(says) => wrong.push(WrongField { name: field.name(), says }),
        }
    }
    if wrong.is_empty() { Ok(settings) } else { Err(wrong) }
}

fn put(settings: &mut Map<String, Value>, path: &[String], value: Option<Value>) {
    match (path, value) {
        ([], _) => {}
        ([name], None) => drop(settings.remove(name)),
        ([name], Some(value)) => drop(settings.insert(name.clone(), value)),
        ([name, rest @ ..], value) => {
            let mut below = settings.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            put(&mut below, rest, value);
            if below.is_empty() {
                settings.remove(name);
            } else {
                settings.insert(name.clone(), Value::Object(below));
            }
        }
    }
}

/// A new value of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TypedSecret {
    pub(super) name: String,
    pub(super) value: String,
    /// The field that it was typed for, where no reference stood beside it and the name was made here.
    pub(super) made_for: Option<String>,
}

/// New values of secrets as they were written. Where no reference stands beside a value, one of `owner` is made and written into the settings.
pub(super) fn new_secrets(
    fields: &[FormField],
    written: &PagePairs,
    (owner, settings): (&str, &mut Map<String, Value>),
) -> Vec<TypedSecret> {
    let mut secrets = Vec::new();
    for field in fields.iter().filter(|field| field.shape == FieldInput::Secret) {
        let value = written.whole(&format!("{NEW_VALUE}{}", field.name()));
        if value.is_empty() {
            continue;
        }
        let there = field.value(&Value::Object(settings.clone())).and_then(Value::as_str).map(str::to_owned);
        let named = there.as_deref().and_then(|text| text.strip_prefix(SECRET_REFERENCE)).map(str::to_owned);
        let made_for = named.is_none().then(|| field.name());
        let name = named.unwrap_or_else(|| {
            let made = secret_name(owner, &field.name());
            put(settings, &field.path, Some(format!("{SECRET_REFERENCE}{made}").into()));
            made
        });
        secrets.push(TypedSecret { name, value: value.to_owned(), made_for });
    }
    secrets
}

/// Writes the references that were made into the form, now that their secrets are kept: what comes back needs no value again.
pub(super) fn write_references(written: &mut PagePairs, secrets: &[TypedSecret]) {
    for TypedSecret { name, made_for, .. } in secrets {
        if let Some(field) = made_for {
            written.put(&format!("{SETTING}{field}"), &format!("{SECRET_REFERENCE}{name}"));
        }
    }
}

/// `crm-api-key`: as names of secrets are.
fn secret_name(owner: &str, field: &str) -> String {
    let text = format!("{owner}-{field}").to_ascii_lowercase();
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(fits).take(63).collect()
}

fn is_reference(text: &str) -> bool {
    // Another one of a file is `${NAME}`, and what a file has written down is shown as a fingerprint.
    text.starts_with(SECRET_REFERENCE)
        || (text.starts_with("${") && text.ends_with('}'))
        || text.starts_with("(secret ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["url"], "properties": {
            "url": {"type": "string", "description": "where <it> is"},
            "password": {"type": "string", "secret": true},
            "port": {"type": "integer"},
            "region": {"enum": ["us", "eu"]},
            "debug": {"type": "boolean"},
            "types": {"type": "array", "items": {"type": "string"}},
            "events": {"type": "object", "additionalProperties": {"type": "string"}},
            "sasl": {"type": "object", "properties": {"user": {"type": "string"}, "token": {"type": "string", "secret": true}}},
        }})
    }

    #[test]
    fn what_a_form_shows_it_reads_again() {
        let fields = fields_of(&schema(), SettingsPlace::Spec);
        assert_eq!(fields[0].name(), "url", "what is needed comes first");
        let text = "set.url=+https%3A%2F%2Fx+&set.password=secret%3Acrm&set.port=5&set.region=eu&set.debug=true&\
            set.types=track%0D%0A+page+%0D%0A&set.events=%7B%22a%22%3A+%22b%22%7D&set.sasl.user=ann";
        let before = json!({"kind": "x", "port": 9, "sasl": {"mechanism": "plain"}}).as_object().unwrap().clone();
        let read = written_settings(&fields, &PagePairs::read(text.as_bytes()), &before).unwrap();
        let wanted = json!({"kind": "x", "url": "https://x", "password": "secret:crm", "port": 5, "region": "eu", "debug": true,
            "types": ["track", "page"], "events": {"a": "b"}, "sasl": {"mechanism": "plain", "user": "ann"}});
        assert_eq!(Value::Object(read), wanted);
        let html = form_of_settings(&fields, &wanted, &FormProblems::default()).into_string();
        assert!(html.contains("value=\"secret:crm\"") && html.contains("where &lt;it&gt; is"), "{html}");
        assert!(html.contains("track\npage") && html.contains("name=\"set.sasl.user\" value=\"ann\""), "{html}");
    }

    #[test]
    fn what_does_not_fit_is_said_beside_its_field_and_nothing_is_read() {
        let fields = fields_of(&schema(), SettingsPlace::Spec);
        let written = PagePairs::read(b"set.port=five&set.events=%7B&set.password=hunter2");
        let wrong = written_settings(&fields, &written, &Map::new()).unwrap_err();
        let names: Vec<&str> = wrong.iter().map(|wrong| wrong.name.as_str()).collect();
        assert!(names.len() == 3 && names.contains(&"port") && names.contains(&"password"), "{wrong:?}");
        let html = form_as_written(&fields, &written, &FormProblems::new(wrong, None)).into_string();
        assert!(html.contains("this is no whole number") && html.contains("aria-invalid=\"true\""), "{html}");
    }

    #[test]
    fn a_new_value_of_a_secret_is_kept_under_its_name_and_shown_by_nobody() {
        let fields = fields_of(&schema(), SettingsPlace::Spec);
        let written =
            PagePairs::read(b"set.url=x&value.password=hunter2&value.sasl.token=+t+&set.sasl.token=secret%3Aown");
        let mut settings = written_settings(&fields, &written, &Map::new()).unwrap();
        let secrets = new_secrets(&fields, &written, ("CRM one", &mut settings));
        let mut found: Vec<(&str, &str, Option<&str>)> =
            secrets.iter().map(|one| (one.name.as_str(), one.value.as_str(), one.made_for.as_deref())).collect();
        found.sort_unstable();
        assert_eq!(found, [("crm-one-password", "hunter2", Some("password")), ("own", " t ", None)]);
        assert_eq!(settings["password"], "secret:crm-one-password");
        let mut written = written;
        write_references(&mut written, &secrets);
        let html = form_as_written(&fields, &written, &FormProblems::default()).into_string();
        assert!(!html.contains("hunter2") && html.contains("value=\"secret:crm-one-password\""), "{html}");
    }
}
