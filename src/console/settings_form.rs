//! The form of the settings of a function, and the settings that it says.
//!
//! It has a field for each of them; what their schema does not name is written as JSON, all of it.

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::ask::{PagePairs, PageRefusal, PageRequest, segment};
use super::form_fields::{FormField, FormProblems, SettingsPlace, fields_of, form_of_settings, written_settings};

/// The field of a form that holds settings as a whole.
const WHOLE: &str = "settings";
/// What stands for a secret that is there.
const SECRET: &str = "(secret)";

/// The fields of a schema, unless there is none for something that is set: then all of it is written as JSON.
fn fields(schema: Option<&Value>, settings: Option<&Value>) -> Option<Vec<FormField>> {
    let schema = schema?;
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty())?;
    let fields = fields_of(schema, SettingsPlace::Version);
    let set = settings.and_then(Value::as_object);
    let is_named = |name: &String| properties.contains_key(name);
    let has_all = fields.len() == properties.len() && set.is_none_or(|set| set.keys().all(is_named));
    has_all.then_some(fields)
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
    html! {
        form.settings method="post" action=(action) {
            @match fields(schema, settings) {
                Some(fields) => { (form_of_settings(&fields, set, &FormProblems::default())) }
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

/// The settings that a form says. What is left empty is not set.
pub(super) fn settings_of(schema: Option<&Value>, written: &PagePairs) -> Result<Value, PageRefusal> {
    if written.get(WHOLE).is_some() {
        return whole_of(written);
    }
    let fields = fields(schema, None).unwrap_or_default();
    written_settings(&fields, written, &Map::new()).map(Value::Object).map_err(|wrong| {
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        refused(wrong.join("; "))
    })
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
        for wrong in ["setting.share=many", "setting.fields=%7B"] {
            assert!(settings_of(Some(&schema), &PagePairs::read(wrong.as_bytes())).is_err(), "{wrong}");
        }
        let set = json!({"mode": 1, "key": "(secret)"});
        let fields = fields(Some(&schema), Some(&set)).unwrap();
        let html = form_of_settings(&fields, &set, &FormProblems::default()).into_string();
        assert!(html.contains("<option value=\"1\" selected>") && html.contains("write it again"), "{html}");
        assert!(!html.contains("(secret)"), "{html}");
    }

    #[test]
    fn what_a_schema_does_not_name_is_written_as_json_and_is_not_lost() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert!(fields(Some(&schema), Some(&json!({"a": "x"}))).is_some());
        assert!(fields(Some(&schema), Some(&json!({"b": "x"}))).is_none());
        assert!(fields(Some(&json!({"type": "object"})), None).is_none());
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
