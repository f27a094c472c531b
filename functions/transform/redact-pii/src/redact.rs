//! The work itself, free of any binding.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;

/// What to do with which fields.
#[derive(Default)]
pub struct Rules {
    salt: String,
    /// By name without case and separators.
    fields: BTreeMap<String, Action>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Hash,
    Mask,
    Drop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    salt: String,
    #[serde(default)]
    fields: BTreeMap<String, Action>,
}

impl Rules {
    pub fn read(settings_json: &str) -> Result<Self, String> {
        let settings: Settings = serde_json::from_str(settings_json).map_err(|error| error.to_string())?;
        if settings.salt.is_empty() && settings.fields.values().any(|action| *action == Action::Hash) {
            return Err("`hash` needs a `salt`; without one anybody could check a guess".to_owned());
        }
        let fields = settings.fields.into_iter().map(|(name, action)| (plain(&name), action)).collect();
        Ok(Self { salt: settings.salt, fields })
    }

    /// The event without what the rules take away; `None` when they take nothing.
    pub fn apply(&self, event: &str) -> Result<Option<String>, serde_json::Error> {
        let mut event: Map<String, Value> = serde_json::from_str(event)?;
        let mut changed = false;
        for place in ["properties", "traits"] {
            if let Some(value) = event.get_mut(place) {
                changed |= self.walk(value);
            }
        }
        if let Some(traits) = event.get_mut("context").and_then(|context| context.get_mut("traits")) {
            changed |= self.walk(traits);
        }
        if changed { serde_json::to_string(&event).map(Some) } else { Ok(None) }
    }

    fn walk(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => {
                let before = fields.len();
                fields.retain(|name, value| value.is_null() || self.action(name) != Some(Action::Drop));
                let mut changed = fields.len() < before;
                for (name, value) in fields.iter_mut() {
                    changed |= match self.action(name) {
                        Some(action) if !value.is_null() => {
                            *value = Value::String(self.redacted(action, value));
                            true
                        }
                        _ => self.walk(value),
                    };
                }
                changed
            }
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| self.walk(item) | changed),
            _ => false,
        }
    }

    fn action(&self, name: &str) -> Option<Action> {
        self.fields.get(&plain(name)).copied()
    }

    fn redacted(&self, action: Action, value: &Value) -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match action {
            Action::Hash => {
                // HMAC takes keys of any length; a failure would have to hide the value all the same.
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.salt.as_bytes()) else { return String::new() };
                mac.update(text.trim().to_lowercase().as_bytes());
                mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
            }
            Action::Mask | Action::Drop => {
                let length = text.chars().count();
                let shown = if length > 8 { 4 } else { 0 };
                let hidden = text.chars().take(length - shown).map(|c| if c.is_alphanumeric() { '*' } else { c });
                hidden.chain(text.chars().skip(length - shown)).collect()
            }
        }
    }
}

/// A name without case and separators.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"{"salt":"s","fields":{"email":"hash","phone":"mask","first_name":"drop","pin":"mask"}}"#;

    #[test]
    fn fields_are_met_at_any_depth_and_spelling() {
        let rules = Rules::read(RULES).unwrap();
        let event = r#"{"type":"track","email":"top@level","n":1.10,"properties":{"Email":" Ann@X.org ","list":[{"firstName":"A","phone":"+1 555 010 4477"}],"pin":1234},"context":{"traits":{"e-mail":"ann@x.org"}}}"#;
        let got: Value = serde_json::from_str(&rules.apply(event).unwrap().unwrap()).unwrap();
        assert_eq!(got["email"], "top@level");
        assert_eq!(got["properties"]["Email"], got["context"]["traits"]["e-mail"]);
        assert_eq!(got["properties"]["Email"].as_str().unwrap().len(), 32);
        assert_eq!(got["properties"]["list"], serde_json::json!([{"phone": "+* *** *** 4477"}]));
        assert_eq!(got["properties"]["pin"], "****");
        assert_eq!(got["n"].to_string(), "1.10");
    }

    #[test]
    fn what_holds_nothing_personal_is_left_alone() {
        let rules = Rules::read(RULES).unwrap();
        assert_eq!(rules.apply(r#"{"properties":{"email":null,"a":[1]}}"#).unwrap(), None);
        assert!(rules.apply("[").is_err());
        assert!(Rules::read(r#"{"fields":{"email":"hash"}}"#).is_err());
        assert!(Rules::read(r#"{"fields":{"email":"burn"}}"#).is_err());
    }
}
