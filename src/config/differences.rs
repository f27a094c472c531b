//! What is different between two workspaces, object by object and field by field, for people and programs. Documents are compared, not
//! what they resolve to: a secret that is a reference stays one. One that is written down is shown as a fingerprint under a key of the
//! caller's, which tells two of them apart and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidegate_api_types::workspace::{FieldDifference, ObjectChangeKind, ObjectDifference, ObjectRef, ObjectRefKind};
use tidegate_document::node::DocumentNode;

use super::Workspace;
use super::destinations::DestinationKind;
use super::documents::{WorkspaceDocuments, as_written};

/// A workspace as it is written and as it is resolved.
#[derive(Clone, Copy)]
pub struct ReadWorkspace<'a> {
    pub documents: &'a WorkspaceDocuments,
    pub workspace: &'a Workspace,
}

/// What is different.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkspaceDifferences {
    /// Of `tidegate.yaml`.
    pub settings: Vec<FieldDifference>,
    pub objects: Vec<ObjectDifference>,
}

impl WorkspaceDifferences {
    /// From `old` to `new`. `key` is random and used once.
    #[must_use]
    pub fn between(old: ReadWorkspace<'_>, new: ReadWorkspace<'_>, key: [u8; 32]) -> Self {
        let main = |of: ReadWorkspace<'_>| of.documents.main.as_ref().map(as_written);
        let masks = SecretMasks { key, may_hold_secrets: true, also: BTreeSet::new() };
        let settings = fields(main(old).as_ref(), main(new).as_ref(), &masks);
        let names: BTreeSet<&ObjectRef> = old.documents.objects.keys().chain(new.documents.objects.keys()).collect();
        let objects = names.into_iter().filter_map(|object| {
            let document = |of: ReadWorkspace<'_>| node(of, object).map(as_written);
            let (before, after) = (document(old), document(new));
            let masks = SecretMasks {
                key,
                may_hold_secrets: matches!(
                    object.kind,
                    ObjectRefKind::Source | ObjectRefKind::Function | ObjectRefKind::Destination
                ),
                also: secret_settings(old.workspace, object).chain(secret_settings(new.workspace, object)).collect(),
            };
            let fields = fields(before.as_ref(), after.as_ref(), &masks);
            let (change, inputs) = match (before, after) {
                (None, _) => (ObjectChangeKind::Added, Vec::new()),
                (_, None) => (ObjectChangeKind::Removed, Vec::new()),
                _ => (ObjectChangeKind::Changed, inputs(old.workspace, new.workspace, object)),
            };
            let differs = !fields.is_empty() || !inputs.is_empty() || change != ObjectChangeKind::Changed;
            differs.then(|| ObjectDifference { object: object.clone(), change, fields, inputs })
        });
        Self { settings, objects: objects.collect() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.objects.is_empty()
    }
}

fn node<'a>(of: ReadWorkspace<'a>, object: &ObjectRef) -> Option<&'a DocumentNode> {
    of.documents.objects.get(object).map(|document| &document.node)
}

/// Settings of a plugin that its manifest calls secret.
fn secret_settings<'a>(workspace: &'a Workspace, object: &ObjectRef) -> impl Iterator<Item = &'a str> + use<'a> {
    let destination = (object.kind == ObjectRefKind::Destination).then(|| workspace.destinations.get(&object.key));
    let plugin = destination.flatten().and_then(|destination| match &destination.kind {
        DestinationKind::Plugin(plugin) => Some(plugin),
        DestinationKind::Warehouse(_) => None,
    });
    plugin.into_iter().flat_map(|plugin| &plugin.secret_settings).map(String::as_str)
}

/// What an object depends on in both and is different.
fn inputs(old: &Workspace, new: &Workspace, object: &ObjectRef) -> Vec<String> {
    let nothing = BTreeMap::new();
    let of = |workspace: &'_ Workspace| workspace.specs.get(object).map(|spec| spec.inputs.clone());
    let (before, after) = (of(old).unwrap_or_else(|| nothing.clone()), of(new).unwrap_or(nothing));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(name) != after.get(name)).map(ToString::to_string).collect()
}

/// Which texts of a document are secrets, and what stands in their place.
struct SecretMasks<'a> {
    key: [u8; 32],
    /// Whether its fields are ours, or a plugin's settings, whose names tell.
    may_hold_secrets: bool,
    /// Further names below `settings`.
    also: BTreeSet<&'a str>,
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
    fn is_secret(&self, place: &[&str]) -> bool {
        let is_of_others = |name: &&str| OF_OTHERS.iter().any(|end| name.ends_with(end));
        let is_of_secrets = |name: &&str| {
            let name = name.to_lowercase().replace('-', "_");
            OF_SECRETS.iter().any(|word| name.contains(word)) || name == "sas_token" || name == "auth"
        };
        let is_said = matches!(place, ["settings", name, ..] if self.also.contains(name));
        is_said || (self.may_hold_secrets && place.iter().any(is_of_secrets) && !place.last().is_some_and(is_of_others))
    }

    /// A value as it may be shown.
    fn shown(&self, value: &Value, place: &[&str]) -> Value {
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

/// Whether a text names a variable of the environment as a whole.
fn is_reference(text: &str) -> bool {
    text.starts_with("${") && text.ends_with('}')
}

/// The fields that are different, in the order of their names.
fn fields(before: Option<&Value>, after: Option<&Value>, masks: &SecretMasks<'_>) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), before, after, masks, &mut found);
    found
}

fn compare<'v>(
    place: &mut Vec<&'v str>,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
    masks: &SecretMasks<'_>,
    found: &mut Vec<FieldDifference>,
) {
    if before == after {
        return;
    }
    // Maps are looked into, also where there is one on one side alone; nothing is left to be said of an empty one but itself.
    let map = |value: Option<&'v Value>| value.map_or(Some(None), |value| value.as_object().map(Some));
    if let (Some(old), Some(new)) = (map(before), map(after)) {
        let fields = |map: Option<&'v serde_json::Map<String, Value>>| map.into_iter().flat_map(|map| map.keys());
        let names: BTreeSet<&'v String> = fields(old).chain(fields(new)).collect();
        for name in &names {
            let field = |map: Option<&'v serde_json::Map<String, Value>>| map.and_then(|map| map.get(*name));
            place.push(name.as_str());
            compare(place, field(old), field(new), masks, found);
            place.pop();
        }
        if !names.is_empty() {
            return;
        }
    }
    let shown = |value: Option<&Value>| value.map(|value| masks.shown(value, place));
    found.push(FieldDifference { field: place.join("."), before: shown(before), after: shown(after) });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masks(may_hold_secrets: bool) -> SecretMasks<'static> {
        SecretMasks { key: [7; 32], may_hold_secrets, also: BTreeSet::from(["webhook"]) }
    }

    fn told(before: &Value, after: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let found = fields(Some(before), Some(after), &masks(true)).into_iter();
        found.map(|field| (field.field, field.before, field.after)).collect()
    }

    #[test]
    fn fields_are_compared_one_by_one_and_lists_as_a_whole() {
        let before = json!({"a": 1, "filter": {"types": ["track"]}, "gone": {"x": true, "y": {}}, "same": {"b": [1]}});
        let after = json!({"a": 2, "filter": {"types": ["track", "page"], "events": []}, "same": {"b": [1]}});
        assert_eq!(
            told(&before, &after),
            [
                ("a".to_owned(), Some(json!(1)), Some(json!(2))),
                ("filter.events".to_owned(), None, Some(json!([]))),
                ("filter.types".to_owned(), Some(json!(["track"])), Some(json!(["track", "page"]))),
                ("gone.x".to_owned(), Some(json!(true)), None),
                ("gone.y".to_owned(), Some(json!({})), None),
            ]
        );
        assert_eq!(told(&before, &before), []);
    }

    #[test]
    fn what_is_written_down_and_secret_is_shown_as_a_fingerprint() {
        let document = |secret: &str| {
            json!({
                "password": secret, "auth": {"private_key": secret, "private_key_file": "key.p8"}, "user": "ann",
                "url": format!("postgres://ann:{secret}@db.example.com/shop?sslpassword={secret}"),
                "dsn": format!("host=db password={secret}"), "write_keys": {"app": {"key": secret}},
                "settings": {"webhook": [secret], "channel": "general"}, "token": "${TOKEN}", "pin": {"secret": 4711},
                "wrong_tokens_max": 5,
            })
        };
        let found = fields(None, Some(&document("hunter2-hunter2")), &masks(true));
        let shown: BTreeMap<&str, &Value> =
            found.iter().map(|field| (&*field.field, field.after.as_ref().unwrap())).collect();
        let text = format!("{shown:?}");
        assert!(!text.contains("hunter2") && !text.contains("4711"), "{text}");
        assert_eq!(shown["token"], "${TOKEN}");
        assert_eq!((shown["user"], shown["wrong_tokens_max"]), (&json!("ann"), &json!(5)));
        assert_eq!(shown["auth.private_key_file"], "key.p8");
        assert_eq!(shown["settings.channel"], "general");
        assert!(shown["url"].as_str().unwrap().starts_with("postgres://ann:(secret "), "{text}");
        // The same secret has the same fingerprint, another one has another.
        assert_eq!(shown["password"], shown["write_keys.app.key"]);
        let other = fields(None, Some(&document("hunter3-hunter3")), &masks(true));
        let other = other.iter().find(|field| field.field == "password").unwrap();
        assert_ne!(other.after.as_ref(), Some(shown["password"]));
    }

    #[test]
    fn words_of_a_contract_are_no_secrets() {
        let schema = json!({"properties": {"password": {"type": "string"}}});
        let found = fields(None, Some(&schema), &masks(false));
        assert_eq!(found[0].after, Some(json!("string")));
    }
}
