//! What is different between two workspaces, object by object and field by field, for people and programs. Documents are compared, not
//! what they resolve to: a secret that is a reference stays one. One that is written down is shown as a fingerprint under a key of the
//! caller's, which tells two of them apart and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_api_types::workspace::{FieldDifference, ObjectChangeKind, ObjectDifference, ObjectRef, ObjectRefKind};
use tidegate_document::node::DocumentNode;

use super::Workspace;
use super::destinations::DestinationKind;
use super::documents::{WorkspaceDocuments, as_written};
use super::secret_masks::SecretMasks;

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
        DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => None,
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
