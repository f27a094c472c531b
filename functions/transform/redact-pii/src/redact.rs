//! What is done to personal data, and the walk that finds it.

use std::collections::HashMap;

use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;
use tidegate_sdk::event;

use crate::class::{self, Class};

/// What to do with a class of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// HMAC-SHA-256 under the salt, hexadecimal: the same person stays the same, and nobody can look the value up.
    Hash,
    /// Enough is left to recognise it, not to use it.
    Mask,
    /// The field goes.
    Drop,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub fields: HashMap<Class, Action>,
    /// The key of the hash. Whoever knows it can find out whose hash a hash is.
    #[serde(default)]
    pub salt: String,
}

impl Settings {
    /// Settings from JSON, or a sentence about what is wrong with them.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if settings.salt.is_empty() && settings.fields.values().any(|action| *action == Action::Hash) {
            return Err("`salt` must not be empty when a class is hashed: without one a hash can be looked up".into());
        }
        Ok(settings)
    }
}

/// The event with its personal data redacted, or `None` when there was nothing to redact.
///
/// # Errors
/// When `event` is not a JSON object.
pub fn redact(event: &str, settings: &Settings) -> Result<Option<String>, serde_json::Error> {
    let mut event: Map<String, Value> = serde_json::from_str(event)?;
    let mut changed = false;
    for (part, among_traits) in [("properties", false), ("traits", true), ("context", false)] {
        if let Some(value) = event.get_mut(part) {
            changed |= walk(value, among_traits, settings);
        }
    }
    if changed { serde_json::to_string(&event).map(Some) } else { Ok(None) }
}

/// Redacts everything below `value`; says whether anything changed. The depth is bounded by the parser.
fn walk(value: &mut Value, among_traits: bool, settings: &Settings) -> bool {
    let mut changed = false;
    match value {
        Value::Object(fields) => {
            let mut dropped = Vec::new();
            for (name, value) in fields.iter_mut() {
                if let Some((class, action)) = due(name, value, among_traits, settings) {
                    if action == Action::Drop {
                        dropped.push(name.clone());
                    } else {
                        changed |= replace(value, class, action, &settings.salt);
                    }
                } else {
                    // `context.traits` holds traits too; what lies deeper in traits (an address, a company) does not.
                    changed |= walk(value, name == "traits", settings);
                }
            }
            for name in &dropped {
                fields.remove(name);
            }
            changed |= !dropped.is_empty();
        }
        Value::Array(items) => {
            for item in items {
                changed |= match due("", item, false, settings) {
                    Some((_, Action::Drop)) => {
                        *item = Value::Null;
                        true
                    }
                    Some((class, action)) => replace(item, class, action, &settings.salt),
                    None => walk(item, false, settings),
                };
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    changed
}

/// The class of a text or number, and what the settings want done with it.
fn due(name: &str, value: &Value, among_traits: bool, settings: &Settings) -> Option<(Class, Action)> {
    let looks = match value {
        // Of blank texts everybody would have the same hash.
        Value::String(text) if text.trim().is_empty() => return None,
        Value::String(text) => class::by_looks(text),
        // A number is nobody's by its looks: one in ten timestamps has the check digit of a card.
        Value::Number(_) => None,
        _ => return None,
    };
    // A field called `email` that holds a card number is a card number.
    let class = looks.or_else(|| class::by_name(name, among_traits))?;
    settings.fields.get(&class).map(|action| (class, *action))
}

fn replace(value: &mut Value, class: Class, action: Action, salt: &str) -> bool {
    // A number by its digits, however it is spelled.
    let text = event::id(Some(&*value)).unwrap_or_else(|| value.to_string());
    let redacted = if action == Action::Hash { hash(&text, class, salt) } else { mask(&text, class) };
    *value = Value::String(redacted);
    true
}

/// A value is brought into one spelling first, so that `Ada@Example.com ` and `ada@example.com` are one person.
fn hash(text: &str, class: Class, salt: &str) -> String {
    let same = match class {
        Class::Phone | Class::Card if text.contains(|c: char| c.is_ascii_digit()) => {
            text.chars().filter(char::is_ascii_digit).collect()
        }
        _ => text.trim().to_lowercase(),
    };
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt.as_bytes()) else { return String::new() };
    mac.update(same.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mask(text: &str, class: Class) -> String {
    let first = |text: &str| text.trim().chars().next().map(String::from).unwrap_or_default();
    match class {
        Class::Email => match text.rsplit_once('@') {
            Some((local, domain)) => format!("{}***@{}", first(local), domain.trim()),
            None => format!("{}***", first(text)),
        },
        Class::Name => format!("{}***", first(text)),
        Class::Phone => mask_digits(text, 2),
        Class::Card => mask_digits(text, 4),
        Class::Ip => mask_ip(text),
    }
}

/// Only the last `visible` digits stay.
fn mask_digits(text: &str, visible: usize) -> String {
    let hidden = text.chars().filter(char::is_ascii_digit).count().saturating_sub(visible);
    let mut seen = 0;
    text.chars()
        .map(|c| {
            seen += usize::from(c.is_ascii_digit());
            if c.is_ascii_digit() && seen <= hidden { '*' } else { c }
        })
        .collect()
}

/// The network stays: the first 24 bits of version 4, the first 48 of version 6.
fn mask_ip(text: &str) -> String {
    match text.trim().parse() {
        Ok(std::net::IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            std::net::Ipv4Addr::new(a, b, c, 0).to_string()
        }
        Ok(std::net::IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string()
        }
        Err(_) => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(event: &str, settings: &str) -> Option<String> {
        redact(event, &Settings::parse(settings).unwrap()).unwrap()
    }

    const MASK: &str = r#"{"fields":{"email":"mask","phone":"mask","name":"mask","ip":"mask","card":"mask"}}"#;

    #[test]
    fn masks_leave_a_hint() {
        for (field, value, masked) in [
            ("email", "ada@example.com", "a***@example.com"),
            ("phone", "+44 20 7946 0958", "+** ** **** **58"),
            ("lastName", "Lovelace", "L***"),
            ("ip", "203.0.113.77", "203.0.113.0"),
            ("ip", "2001:db8:1:2::3", "2001:db8:1::"),
            ("ip", "unknown", "***"),
            ("note", "4111 1111 1111 1111", "**** **** **** 1111"),
        ] {
            let event = format!(r#"{{"properties":{{"{field}":"{value}"}}}}"#);
            let expected = format!(r#"{{"properties":{{"{field}":"{masked}"}}}}"#);
            assert_eq!(redacted(&event, MASK), Some(expected), "{field}");
        }
    }

    #[test]
    fn an_event_without_personal_data_is_kept() {
        assert_eq!(redacted(r#"{"event":"a@b.cc","properties":{"name":"Mug","price":1.50}}"#, MASK), None);
        assert_eq!(redacted(r#"{"traits":{"email":"","name":null}}"#, MASK), None);
        assert_eq!(redacted(r#"{"traits":{"email":"ada@example.com"}}"#, "{}"), None);
        assert_eq!(redacted(r#"{"properties":{"at":4111111111111111,"ean":"4006381333931"}}"#, MASK), None);
    }

    #[test]
    fn every_digit_of_a_number_survives() {
        let event = r#"{"z":1.10,"traits":{"b":123456789012345678901234567890,"email":"x@y.zz","a":1e+400}}"#;
        let expected = r#"{"traits":{"a":1e+400,"b":123456789012345678901234567890},"z":1.10}"#;
        assert_eq!(redacted(event, r#"{"fields":{"email":"drop"}}"#).as_deref(), Some(expected));
    }

    #[test]
    fn a_hash_knows_a_person_again_and_depends_on_the_salt() {
        let with = |event: &str, salt: &str| {
            redacted(event, &format!(r#"{{"fields":{{"email":"hash"}},"salt":"{salt}"}}"#)).unwrap()
        };
        let ada = with(r#"{"traits":{"email":"ada@example.com"}}"#, "s1");
        assert_eq!(ada, with(r#"{"traits":{"email":" Ada@Example.COM"}}"#, "s1"));
        assert_ne!(ada, with(r#"{"traits":{"email":"ada@example.com"}}"#, "s2"));
        // HMAC-SHA-256 of "ada@example.com" under "s1", from another implementation.
        assert!(ada.contains("192350bef0f9223490a8023ed94dbf40e28690ff4fa2cb9f5076609418dc910d"), "{ada}");
    }

    #[test]
    fn a_number_is_its_digits_and_what_is_blank_or_has_none_makes_no_two_people_one() {
        let with = |event: &str| redacted(event, r#"{"fields":{"email":"hash","phone":"hash"},"salt":"s1"}"#);
        let phone = with(r#"{"traits":{"phone":"+1 (555) 010-0200"}}"#);
        assert_eq!(phone, with(r#"{"traits":{"phone":15550100200}}"#));
        assert_eq!(phone, with(r#"{"traits":{"phone":1.55501002e10}}"#));
        assert_eq!(with(r#"{"traits":{"phone":"  ","email":"\t"}}"#), None);
        assert_ne!(with(r#"{"traits":{"phone":"N/A"}}"#), with(r#"{"traits":{"phone":"private"}}"#));
    }

    #[test]
    fn traits_in_context_and_items_of_arrays_are_found() {
        let event = r#"{"context":{"traits":{"name":"Ada"},"page":{"name":"Home"}},"properties":{"to":["a@b.cc",7]}}"#;
        let expected =
            r#"{"context":{"page":{"name":"Home"},"traits":{"name":"A***"}},"properties":{"to":["a***@b.cc",7]}}"#;
        assert_eq!(redacted(event, MASK).as_deref(), Some(expected));
    }

    #[test]
    fn wrong_settings_are_explained() {
        assert!(Settings::parse(r#"{"fields":{"email":"hash"}}"#).unwrap_err().contains("salt"));
        assert!(Settings::parse(r#"{"fields":{"shoe":"mask"}}"#).unwrap_err().contains("shoe"));
        assert!(Settings::parse(r#"{"fields":{"email":"burn"}}"#).unwrap_err().contains("burn"));
        assert!(Settings::parse(r#"{"field":{}}"#).unwrap_err().contains("field"));
    }
}
