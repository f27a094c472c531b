//! Documents of a folder as objects of the catalog: their kinds, and specs in which no secret stands.
//!
//! A secret that a document refers to (`${NAME}`) stays a reference. One that is written down is a fingerprint in the spec, by which the
//! catalog sees that it has changed, and nobody what it is. The fingerprint says of itself that it is one, so a folder that was made of
//! the catalog says the same as the catalog.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api_types::workspace::{FolderDocument, ObjectRefKind};
use tidegate_catalog::{ObjectKind, SECRET_REFERENCE};

use super::secret_masks::SecretMasks;

/// What stands for the secrets of documents, under a key of the server's.
pub struct SpecMasks<'a> {
    pub key: [u8; 32],
    /// Settings of a plugin that its manifest calls secret, by the name of its destination.
    pub secret_settings: &'a dyn Fn(&str) -> Vec<String>,
}

/// The kind that a document has in the catalog.
#[must_use]
pub fn catalog_kind(kind: ObjectRefKind, key: &str) -> ObjectKind {
    match kind {
        ObjectRefKind::Source => ObjectKind::Source,
        ObjectRefKind::Function => ObjectKind::Function,
        ObjectRefKind::Lookup => ObjectKind::Lookup,
        ObjectRefKind::Destination => ObjectKind::Destination,
        ObjectRefKind::Sync => ObjectKind::Sync,
        ObjectRefKind::Alert => ObjectKind::Alert,
        ObjectRefKind::ContractFile => contract_kind(key),
    }
}

/// A file of a contract is told by its place: `domains/shop/domain.yaml`, `domains/shop/components/price.yaml`.
fn contract_kind(path: &str) -> ObjectKind {
    let below = path.strip_prefix("events/").unwrap_or(path);
    let steps: Vec<&str> = below.split('/').collect();
    match steps.as_slice() {
        [_, _, "domain.yaml"] | ["contracts", _] => ObjectKind::Domain,
        [_, _, "components", _] => ObjectKind::Component,
        _ => ObjectKind::Event,
    }
}

/// What an object of the catalog is in a folder; none for what is in no folder.
#[must_use]
pub const fn folder_kind(kind: ObjectKind) -> Option<ObjectRefKind> {
    match kind {
        ObjectKind::Source => Some(ObjectRefKind::Source),
        ObjectKind::Function => Some(ObjectRefKind::Function),
        ObjectKind::Lookup => Some(ObjectRefKind::Lookup),
        ObjectKind::Destination => Some(ObjectRefKind::Destination),
        ObjectKind::Sync => Some(ObjectRefKind::Sync),
        ObjectKind::Alert => Some(ObjectRefKind::Alert),
        ObjectKind::Domain | ObjectKind::Component | ObjectKind::Event => Some(ObjectRefKind::ContractFile),
        _ => None,
    }
}

/// The file of a folder that an object of the catalog is in; none for what is in no folder.
#[must_use]
pub fn folder_file(kind: ObjectKind, name: &str) -> Option<String> {
    let of_folder = folder_kind(kind)?;
    let ending = if of_folder == ObjectRefKind::ContractFile { "" } else { ".yaml" };
    Some(format!("{}/{name}{ending}", of_folder.folder()))
}

impl SpecMasks<'_> {
    /// The spec of a document.
    #[must_use]
    pub fn spec(&self, document: &FolderDocument) -> Value {
        let kind = catalog_kind(document.kind, &document.key);
        let settings = if kind == ObjectKind::Destination { (self.secret_settings)(&document.key) } else { Vec::new() };
        let also: BTreeSet<&str> = settings.iter().map(String::as_str).collect();
        let masks = SecretMasks { key: self.key, may_hold_secrets: may_hold_secrets(kind), also };
        masked(&document.document, &mut Vec::new(), &masks)
    }
}

/// The field of a spec that holds where files are which were sent with it: by their paths, the SHA-256 of each.
pub const FILES_FIELD: &str = "$files";

/// The field of a spec that names a file, and the file: the component of a function or a destination, the table of a lookup, the
/// schema of a source or of a destination.
#[must_use]
pub fn named_file(kind: ObjectKind, spec: &Value) -> Option<String> {
    let within = |name: &str| spec.get(name)?.get("file")?.as_str().map(str::to_owned);
    let field = match kind {
        // That of a warehouse is a name.
        ObjectKind::Destination if spec.get("schema").is_some_and(Value::is_object) => return within("schema"),
        ObjectKind::Function | ObjectKind::Destination => "component",
        ObjectKind::Lookup => "path",
        ObjectKind::Source => return within("schemas"),
        _ => return None,
    };
    // What a warehouse has there is no file that is sent.
    let is_plugin = kind != ObjectKind::Destination || spec.get("kind").and_then(Value::as_str) == Some("plugin");
    spec.get(field).filter(|_| is_plugin)?.as_str().map(str::to_owned)
}

pub(super) const fn may_hold_secrets(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Source | ObjectKind::Function | ObjectKind::Destination | ObjectKind::Alert)
}

fn masked<'v>(value: &'v Value, place: &mut Vec<&'v str>, masks: &SecretMasks<'_>) -> Value {
    match value {
        Value::Object(fields) => {
            let mut shown = serde_json::Map::new();
            for (name, value) in fields {
                place.push(name);
                shown.insert(name.clone(), masked(value, place, masks));
                place.pop();
            }
            Value::Object(shown)
        }
        Value::Array(items) => items.iter().map(|item| masked(item, place, masks)).collect(),
        Value::String(text) if is_masked(text) => value.clone(),
        _ => masks.shown(value, place),
    }
}

/// Whether a text is a fingerprint, `(secret 1a2b3c4d)`, or an address with one in it.
#[must_use]
pub fn is_masked(text: &str) -> bool {
    let Some((before, rest)) = text.split_once("(secret ") else { return false };
    let digits = rest.split_once(')').filter(|(digits, _)| digits.len() == 8);
    let is_fingerprint = digits.is_some_and(|(digits, _)| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let is_whole = before.is_empty() && digits.is_some_and(|(_, behind)| behind.is_empty());
    is_fingerprint && (is_whole || before.contains("://"))
}

/// The first field of a spec in which a secret is written down, as a path: `auth.password`. References are none.
#[must_use]
pub fn written_secret(kind: ObjectKind, spec: &Value) -> Option<String> {
    let masks = SecretMasks { key: [0; 32], may_hold_secrets: may_hold_secrets(kind), also: BTreeSet::new() };
    let found = first_secret(spec, &mut Vec::new(), &masks)?;
    Some(found.join("."))
}

/// The first field of a spec that holds the fingerprint of a secret, as a path: `auth.password`, `hosts[0]`.
#[must_use]
pub fn masked_field(spec: &Value) -> Option<String> {
    match spec {
        Value::String(text) => is_masked(text).then(String::new),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let below = masked_field(value)?;
            Some(if below.is_empty() || below.starts_with('[') {
                format!("{name}{below}")
            } else {
                format!("{name}.{below}")
            })
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| {
            let below = masked_field(item)?;
            Some(if below.is_empty() || below.starts_with('[') {
                format!("[{at}]{below}")
            } else {
                format!("[{at}].{below}")
            })
        }),
        _ => None,
    }
}

fn first_secret<'v>(value: &'v Value, place: &mut Vec<&'v str>, masks: &SecretMasks<'_>) -> Option<Vec<&'v str>> {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                place.push(name);
                let found = first_secret(value, place, masks);
                if found.is_some() {
                    return found;
                }
                place.pop();
            }
            None
        }
        Value::Array(items) => items.iter().find_map(|item| first_secret(item, place, masks)),
        Value::String(text) if is_masked(text) || text.starts_with(SECRET_REFERENCE) => None,
        _ => (masks.shown(value, place) != *value).then(|| place.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(kind: ObjectRefKind, document: Value) -> Value {
        let masks = SpecMasks { key: [7; 32], secret_settings: &|_| vec!["webhook".to_owned()] };
        masks.spec(&FolderDocument { kind, key: "crm".to_owned(), document })
    }

    #[test]
    fn a_secret_that_is_written_down_is_a_fingerprint_in_the_spec_and_stays_the_same_one() {
        let document = json!({
            "kind": "plugin", "password": "hunter2-hunter2", "token": "${TOKEN}",
            "url": "postgres://ann:hunter2@db.example/shop?sslpassword=hunter2",
            "settings": {"webhook": "https://far.example/hunter2", "channel": "general"},
        });
        let once = spec(ObjectRefKind::Destination, document);
        assert!(!once.to_string().contains("hunter2"), "{once}");
        assert!(is_masked(once["password"].as_str().unwrap()));
        assert_eq!((&once["token"], &once["settings"]["channel"]), (&json!("${TOKEN}"), &json!("general")));
        assert_eq!(spec(ObjectRefKind::Destination, once.clone()), once);
    }

    #[test]
    fn a_secret_in_a_spec_is_found_by_its_field_and_a_reference_is_none() {
        let found = |spec: Value| written_secret(ObjectKind::Destination, &spec);
        assert_eq!(found(json!({"auth": {"password": "hunter2"}})), Some("auth.password".to_owned()));
        assert_eq!(found(json!({"dsn": ["host=db password=x"]})), Some("dsn".to_owned()));
        assert_eq!(found(json!({"auth": {"password": "secret:db"}, "token": "${TOKEN}", "path": "data/x.db"})), None);
        assert_eq!(written_secret(ObjectKind::Event, &json!({"schema": {"password": "text"}})), None);
    }

    #[test]
    fn a_fingerprint_is_found_by_its_field() {
        let found = |spec: Value| masked_field(&spec);
        let masked = "(secret 0123abcd)";
        assert_eq!(found(json!({"auth": {"password": masked}})), Some("auth.password".to_owned()));
        assert_eq!(found(json!({"hosts": ["a", {"key": masked}]})), Some("hosts[1].key".to_owned()));
        assert_eq!(found(json!({"url": "postgres://ann:(secret 0123abcd)@db/x"})), Some("url".to_owned()));
        assert_eq!(found(json!({"password": "secret:db", "token": "${TOKEN}", "n": 1})), None);
    }

    #[test]
    fn files_of_contracts_are_domains_components_and_events() {
        let kind = |path: &str| catalog_kind(ObjectRefKind::ContractFile, path);
        assert_eq!(kind("domains/shop/domain.yaml"), ObjectKind::Domain);
        assert_eq!(kind("domains/shop/components/price.yaml"), ObjectKind::Component);
        assert_eq!(kind("domains/shop/order-completed.yaml"), ObjectKind::Event);
        assert_eq!(kind("contracts/shop.yaml"), ObjectKind::Domain);
        assert_eq!(folder_file(ObjectKind::Sync, "a-to-b").as_deref(), Some("syncs/a-to-b.yaml"));
        let file = folder_file(ObjectKind::Domain, "domains/shop/domain.yaml");
        assert_eq!(file.as_deref(), Some("events/domains/shop/domain.yaml"));
    }
}
