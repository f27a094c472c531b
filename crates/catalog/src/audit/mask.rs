//! Secrets that stand in a spec all the same: in the audit log each is a keyed fingerprint.

use serde_json::Value;

use crate::catalog::Catalog;
use crate::fields::FieldChange;
use crate::keys::CatalogKeys;
use crate::references::SECRET_REFERENCE;

/// What the names of fields with secrets hold, in lower case, without `_` and `-`.
const SECRET_WORDS: [&str; 11] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "writekey",
    "privatekey",
    "accesskey",
    "credential",
    "authorization",
    "passphrase",
];

impl Catalog {
    /// Changes of fields as they may be shown: of a plan, of a draft, of two versions.
    #[must_use]
    pub fn masked(&self, changes: Vec<FieldChange>) -> Vec<FieldChange> {
        masked(changes, self.keys())
    }
}

/// The changes with each secret in place of which stands `(secret 0f3a…)`. References to secrets stay.
pub(crate) fn masked(changes: Vec<FieldChange>, keys: &CatalogKeys) -> Vec<FieldChange> {
    let mask = |change: FieldChange| {
        let is_secret = change.path.split('/').any(is_secret_name);
        let side = |value: Option<Value>| value.map(|value| masked_value(value, is_secret, keys));
        FieldChange { before: side(change.before), after: side(change.after), path: change.path }
    };
    changes.into_iter().map(mask).collect()
}

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
}

fn masked_value(value: Value, is_secret: bool, keys: &CatalogKeys) -> Value {
    match value {
        Value::Object(fields) => {
            let masked = |(name, value): (String, Value)| {
                let is_secret = is_secret || is_secret_name(&name);
                (name, masked_value(value, is_secret, keys))
            };
            Value::Object(fields.into_iter().map(masked).collect())
        }
        Value::Array(items) => items.into_iter().map(|item| masked_value(item, is_secret, keys)).collect(),
        Value::String(text) if is_secret && !text.starts_with(SECRET_REFERENCE) => {
            format!("(secret {})", keys.fingerprint(text.as_bytes())).into()
        }
        Value::Number(number) if is_secret => {
            format!("(secret {})", keys.fingerprint(number.to_string().as_bytes())).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::{InstanceKey, SecretValue};

    #[test]
    fn secrets_are_fingerprints_wherever_they_stand_and_references_stay() {
        let keys = CatalogKeys::new(InstanceKey::new([1; 32]).into(), &SecretValue::new(vec![2; 32]));
        let change = |path: &str, after: Value| FieldChange { path: path.into(), before: None, after: Some(after) };
        let changes = vec![
            change("/spec/password", json!("hunter2")),
            change(
                "/spec/http",
                json!({ "api-Key": "hunter2", "url": "https://a", "headers": { "Authorization": ["hunter2"] } }),
            ),
            change("/spec/write_key/value", json!("hunter2")),
            change("/spec/token", json!("secret:crm")),
        ];
        let text = serde_json::to_string(&masked(changes, &keys)).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("https://a") && text.contains("secret:crm"), "{text}");
        assert_eq!(text.matches(&keys.fingerprint(b"hunter2")).count(), 4);
    }
}
