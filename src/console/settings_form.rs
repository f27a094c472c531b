//! A form for settings, made of their JSON Schema; and the settings that such a form says.
//!
//! A setting that is a text, a number, a yes or no, or one of several values has a field. Everything else is written as JSON.

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::{Map, Number, Value};

use super::ask::{PagePairs, PageRefusal, PageRequest, segment};
use super::text::{short, visible};

/// The field of a form that holds settings as a whole.
const WHOLE: &str = "settings";
const ABOUT_CHARS_MAX: usize = 500;
/// What stands for a secret that is there.
const SECRET: &str = "(secret)";

/// How a setting is written in a form.
#[derive(Debug, PartialEq)]
enum SettingField<'s> {
    Text,
    Secret,
    Number,
    YesOrNo,
    OneOf(&'s [Value]),
    Json,
}

impl<'s> SettingField<'s> {
    fn of(schema: &'s Value) -> Self {
        if schema["secret"] == true {
            return Self::Secret;
        }
        match (schema["enum"].as_array(), schema["type"].as_str()) {
            (Some(values), _) => Self::OneOf(values),
            (None, Some("string")) => Self::Text,
            (None, Some("integer" | "number")) => Self::Number,
            (None, Some("boolean")) => Self::YesOrNo,
            (None, _) => Self::Json,
        }
    }
}

/// The settings of a schema, unless something is set that it does not name: then all of it is written as JSON.
fn properties<'s>(schema: Option<&'s Value>, settings: Option<&Value>) -> Option<&'s Map<String, Value>> {
    let properties = schema?["properties"].as_object().filter(|properties| !properties.is_empty())?;
    let set = settings.and_then(Value::as_object);
    let is_named = |name: &String| properties.contains_key(name);
    set.is_none_or(|set| set.keys().all(is_named)).then_some(properties)
}

/// The form of the settings of a function.
pub(super) fn settings_form(
    name: &str,
    schema: Option<&Value>,
    settings: Option<&Value>,
    request: &PageRequest,
) -> Markup {
    let action = request.to(&format!("/functions/{}/settings", segment(name)), &[]);
    let Some(set) = settings else {
        return html! { p.quiet { "Nothing is live, so nothing has settings. They are given when a version is made live." } };
    };
    let required = schema.and_then(|schema| schema["required"].as_array()).map(Vec::as_slice).unwrap_or_default();
    html! {
        form.settings method="post" action=(action) {
            @match properties(schema, settings) {
                Some(properties) => {
                    @for (name, schema) in properties { (field(name, schema, (set.get(name), required.iter().any(|one| one == name)))) }
                }
                None => { (whole(set)) }
            }
            button type="submit" { "Change the settings" }
        }
        p.quiet { "The version that is live stays live; what the settings were before is what a rollback goes back to." }
    }
}

/// Settings as JSON.
fn whole(settings: &Value) -> Markup {
    whole_text(&serde_json::to_string_pretty(settings).unwrap_or_default())
}

/// The same, as they were written.
pub(super) fn whole_text(text: &str) -> Markup {
    html! {
        label { "Settings, JSON" textarea name=(WHOLE) rows="6" spellcheck="false" autocomplete="off" { "\n" (text) } }
    }
}

fn field(name: &str, schema: &Value, (set, is_required): (Option<&Value>, bool)) -> Markup {
    let about = schema["description"].as_str().unwrap_or_default();
    let at = field_name(name);
    let text = match set {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    html! {
        label {
            span { (short(name)) @if is_required { " (needed)" } }
            @match SettingField::of(schema) {
                SettingField::Text => { input name=(at) value=(text) autocomplete="off"; }
                SettingField::Secret => { input name=(at) type="password" autocomplete="new-password" placeholder=[set.map(|_| "write it again")]; }
                SettingField::Number => { input name=(at) value=(text) inputmode="decimal" autocomplete="off"; }
                SettingField::YesOrNo => {
                    select name=(at) {
                        option value="" { "–" }
                        @for word in ["true", "false"] { option value=(word) selected[word == text] { (word) } }
                    }
                }
                SettingField::OneOf(values) => {
                    select name=(at) {
                        option value="" { "–" }
                        @for value in values { option value=(value.to_string()) selected[set == Some(value)] { (short(&value.to_string())) } }
                    }
                }
                SettingField::Json => { textarea name=(at) rows="4" spellcheck="false" autocomplete="off" { "\n" @if let Some(set) = set { (serde_json::to_string_pretty(set).unwrap_or_default()) } } }
            }
            @if !about.is_empty() { small { (visible(about, ABOUT_CHARS_MAX)) } }
        }
    }
}

fn field_name(name: &str) -> String {
    format!("setting.{name}")
}

/// The settings that a form says. What is left empty is not set.
pub(super) fn settings_of(schema: Option<&Value>, fields: &PagePairs) -> Result<Value, PageRefusal> {
    if fields.get(WHOLE).is_some() {
        return whole_of(fields);
    }
    let mut settings = Map::new();
    for (name, schema) in properties(schema, None).into_iter().flatten() {
        let at = field_name(name);
        // A text may begin or end with a space.
        let (whole, text) = (fields.whole(&at), fields.text(&at));
        let wrong = |what: &str| refused(format!("{name}: {what}"));
        let value = match SettingField::of(schema) {
            _ if whole.is_empty() => continue,
            SettingField::Text | SettingField::Secret => Value::from(whole),
            SettingField::Number => {
                let number: Option<Number> = serde_json::from_str(text).ok();
                Value::Number(number.ok_or_else(|| wrong("this is no number"))?)
            }
            SettingField::YesOrNo => Value::Bool(text == "true"),
            SettingField::OneOf(values) => {
                let found =
                    values.iter().find(|value| serde_json::to_string(value).is_ok_and(|json| json == text)).cloned();
                found.ok_or_else(|| wrong("this is none of its values"))?
            }
            SettingField::Json if text.is_empty() => continue,
            SettingField::Json => serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?,
        };
        settings.insert(name.clone(), value);
    }
    Ok(Value::Object(settings))
}

/// Settings that are written as JSON. A secret that is only shown as one is no value of it.
pub(super) fn whole_of(fields: &PagePairs) -> Result<Value, PageRefusal> {
    let Some(text) = fields.get(WHOLE) else { return Ok(Value::Object(Map::new())) };
    let settings: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let is_shown = |value: &Value| value == SECRET;
    match settings.as_object() {
        None => Err(refused("settings are an object: {\"name\": value}".to_owned())),
        Some(set) if set.values().any(is_shown) => {
            Err(refused(format!("{SECRET} stands for a secret; write it again")))
        }
        Some(_) => Ok(settings),
    }
}

/// These settings, unless a secret that is set is left out: nobody can read what it is, so it would be lost.
pub(super) fn with_secrets_of(before: Option<&Value>, settings: Value) -> Result<Value, PageRefusal> {
    let set = before.and_then(Value::as_object).into_iter().flatten();
    let mut secrets = set.filter(|(_, value)| value.as_str() == Some(SECRET)).map(|(name, _)| name);
    match secrets.find(|name| settings.get(name.as_str()).is_none()) {
        Some(name) => {
            Err(refused(format!("{name}: it is a secret that is set, and is shown to nobody; write it again")))
        }
        None => Ok(settings),
    }
}

fn refused(detail: String) -> PageRefusal {
    let fix = "go back and write it as the schema of the settings says";
    PageRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "settings", detail, fix)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_says_settings_by_their_types() {
        let schema = json!({"type": "object", "properties": {
            "domain": {"type": "string"}, "share": {"type": "number"}, "on": {"type": "boolean"}, "empty": {"type": "string"},
            "mode": {"enum": ["a", 1]}, "fields": {"type": "object"}, "key": {"type": "string", "secret": true},
        }});
        let said = "setting.domain=+x&setting.share=0.5&setting.on=false&setting.empty=&setting.mode=1&setting.fields=%7B%22a%22%3A1%7D&setting.key=k&setting.else=x";
        let settings = settings_of(Some(&schema), &PagePairs::read(said.as_bytes())).unwrap();
        let wanted = json!({"domain": " x", "share": 0.5, "on": false, "mode": 1, "fields": {"a": 1}, "key": "k"});
        assert_eq!(settings, wanted);
        for wrong in ["setting.share=many", "setting.mode=2", "setting.fields=%7B"] {
            assert!(settings_of(Some(&schema), &PagePairs::read(wrong.as_bytes())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_schema_does_not_name_is_written_as_json_and_is_not_lost() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert!(properties(Some(&schema), Some(&json!({"a": "x"}))).is_some());
        assert!(properties(Some(&schema), Some(&json!({"b": "x"}))).is_none());
        assert!(properties(Some(&json!({"type": "object"})), None).is_none());
        let said = |text: &str| settings_of(Some(&schema), &PagePairs::read(text.as_bytes()));
        assert_eq!(said("settings=%7B%22b%22%3A%22x%22%7D").unwrap(), json!({"b": "x"}));
        assert!(said("settings=%5B%5D").is_err());
        assert!(said("settings=%7B%22key%22%3A%22%28secret%29%22%7D").is_err());
        assert_eq!(whole_of(&PagePairs::default()).unwrap(), json!({}));
    }

    #[test]
    fn a_secret_that_is_set_is_not_lost_by_a_field_that_was_left_empty() {
        let before = json!({"key": "(secret)", "domain": "x"});
        assert!(with_secrets_of(Some(&before), json!({"domain": "y"})).is_err());
        let again = json!({"key": "k"});
        assert_eq!(with_secrets_of(Some(&before), again.clone()).unwrap(), again);
        assert_eq!(with_secrets_of(None, json!({})).unwrap(), json!({}));
    }
}
