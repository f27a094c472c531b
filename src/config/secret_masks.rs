//! Which texts of a document are secrets, by the names of their fields, and what is shown in their place.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_catalog::SECRET_REFERENCE;

/// Which texts of a document are secrets, and what stands in their place.
pub(super) struct SecretMasks<'a> {
    pub(super) key: [u8; 32],
    /// Whether its fields are ours, or a plugin's settings, whose names tell.
    pub(super) may_hold_secrets: bool,
    /// Further names below `settings`.
    pub(super) also: BTreeSet<&'a str>,
}

/// In the name of a field whose value is a secret, and so is what stands below it.
const OF_SECRETS: [&str; 13] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private_key",
    "write_key",
    "account_key",
    "access_key",
    "service_account_key",
    "api_key",
    "apikey",
    "authorization",
];
/// At the end of the name of a field that says where something is, or how much.
const OF_OTHERS: [&str; 5] = ["_file", "_path", "_uri", "_url", "_max"];

impl SecretMasks<'_> {
    /// Whether a value at a place is a secret, by the names of the fields that it stands in.
    pub(super) fn is_secret(&self, place: &[&str]) -> bool {
        let is_of_others = |name: &&str| OF_OTHERS.iter().any(|end| name.ends_with(end));
        let is_of_secrets = |name: &&str| {
            let name = name.to_lowercase().replace('-', "_");
            OF_SECRETS.iter().any(|word| name.contains(word)) || name == "sas_token" || name == "auth"
        };
        // When a write key ends is known to whoever may see the source.
        if matches!(place, ["write_keys", _, "ends"]) {
            return false;
        }
        // Whoever knows the address of a Slack webhook, or the key of a service, may post there; and a header is mostly a token.
        if matches!(place, ["notify", _, "slack" | "pagerduty"] | ["notify", _, "headers", ..]) {
            return true;
        }
        let is_said = matches!(place, ["settings", name, ..] if self.also.contains(name));
        is_said || (self.may_hold_secrets && place.iter().any(is_of_secrets) && !place.last().is_some_and(is_of_others))
    }

    /// A value as it may be shown.
    pub(super) fn shown(&self, value: &Value, place: &[&str]) -> Value {
        match value {
            Value::Object(fields) => {
                let shown = |(name, value): (&String, &Value)| {
                    let place = [place, &[name.as_str()]].concat();
                    (name.clone(), self.shown(value, &place))
                };
                Value::Object(fields.iter().map(shown).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.shown(item, place)).collect(),
            Value::String(text) if is_reference(text) => value.clone(),
            Value::String(text) if self.is_secret(place) => self.fingerprint(text).into(),
            Value::Number(number) if self.is_secret(place) => self.fingerprint(&number.to_string()).into(),
            Value::String(text) if self.may_hold_secrets => self.address(text).into(),
            _ => value.clone(),
        }
    }

    /// A text that may be an address: who logs in with what is no part of where that is.
    fn address(&self, text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_secret = text.to_lowercase().contains("password=");
            return if is_secret { self.fingerprint(text) } else { text.to_owned() };
        };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let query = query.map(|query| format!("?{}", self.fingerprint(query))).unwrap_or_default();
        let (host, path) =
            rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        let host = match host.rsplit_once('@') {
            Some((login, host)) => match login.split_once(':') {
                Some((user, password)) => format!("{user}:{}@{host}", self.fingerprint(password)),
                None => format!("{login}@{host}"),
            },
            None => host.to_owned(),
        };
        format!("{scheme}://{host}{path}{query}")
    }

    fn fingerprint(&self, secret: &str) -> String {
        let hash = Sha256::new().chain_update(self.key).chain_update(secret).finalize();
        format!("(secret {})", HEXLOWER.encode(hash.get(..4).unwrap_or_default()))
    }
}

/// Whether a text as a whole names a variable of the environment, or a secret of the catalog.
pub(super) fn is_reference(text: &str) -> bool {
    (text.starts_with("${") && text.ends_with('}')) || text.starts_with(SECRET_REFERENCE)
}
