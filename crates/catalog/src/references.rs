//! What the spec of an object names: other objects of its workspace.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::object::{ObjectContent, ObjectKind};

/// An object that a spec names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectReference {
    pub kind: ObjectKind,
    pub name: String,
}

/// How a reference to a secret begins, wherever in a spec: `secret:warehouse-password`.
pub const SECRET_REFERENCE: &str = "secret:";

/// Fields that name objects: of which kind of object, under which field, objects of which kind.
const FIELDS: [(ObjectKind, &str, ObjectKind); 17] = [
    (ObjectKind::Sync, "source", ObjectKind::Source),
    (ObjectKind::Sync, "destination", ObjectKind::Destination),
    (ObjectKind::Sync, "functions", ObjectKind::Function),
    (ObjectKind::Sync, "lookups", ObjectKind::Lookup),
    (ObjectKind::Source, "functions", ObjectKind::Function),
    (ObjectKind::Source, "lookups", ObjectKind::Lookup),
    (ObjectKind::Source, "domains", ObjectKind::Domain),
    (ObjectKind::Function, "lookups", ObjectKind::Lookup),
    (ObjectKind::Destination, "lookups", ObjectKind::Lookup),
    (ObjectKind::Event, "domain", ObjectKind::Domain),
    (ObjectKind::Event, "components", ObjectKind::Component),
    (ObjectKind::Component, "components", ObjectKind::Component),
    (ObjectKind::WriteKey, "source", ObjectKind::Source),
    (ObjectKind::Alert, "source", ObjectKind::Source),
    (ObjectKind::Alert, "destination", ObjectKind::Destination),
    (ObjectKind::Alert, "function", ObjectKind::Function),
    (ObjectKind::Alert, "channels_of", ObjectKind::Alert),
];

/// Everything that a spec names, each once, in order.
#[must_use]
pub fn references(content: &ObjectContent) -> BTreeSet<ObjectReference> {
    let mut found = BTreeSet::new();
    for (_, field, kind) in FIELDS.iter().filter(|(of, ..)| *of == content.kind) {
        match content.spec.get(*field) {
            Some(Value::Array(items)) => found.extend(items.iter().filter_map(|item| named(item, *kind))),
            Some(Value::Object(pairs)) if *kind == ObjectKind::Lookup => found.extend(borrowed(pairs)),
            Some(value) => found.extend(named(value, *kind)),
            None => {}
        }
    }
    collect_secrets(&content.spec, &mut found);
    found
}

/// The sources whose events a domain judges: those that it names, or all of them, which has the name `*`. To name one takes `connect`, but
/// a domain may name sources that are not there.
#[must_use]
pub(crate) fn judged_sources(content: &ObjectContent) -> BTreeSet<ObjectReference> {
    if content.kind != ObjectKind::Domain {
        return BTreeSet::new();
    }
    let source = |name: &str| ObjectReference { kind: ObjectKind::Source, name: name.to_owned() };
    match content.spec.get("sources").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).map(source).collect(),
        None => BTreeSet::from([source(EVERY_SOURCE)]),
    }
}

/// No source has this name, so that grants for every source count for it, and no others.
const EVERY_SOURCE: &str = "*";

/// The word that says that a name of a manifest stands for no table.
const NO_TABLE: &str = "none";

/// The tables of `lookups: {geo: places}`, where names of a function's manifest come first.
fn borrowed(pairs: &Map<String, Value>) -> impl Iterator<Item = ObjectReference> {
    let tables = pairs.values().filter(|table| table.as_str() != Some(NO_TABLE));
    tables.filter_map(|table| named(table, ObjectKind::Lookup))
}

/// A name alone, or a mapping that has it under `name` or under the name of the kind.
fn named(value: &Value, kind: ObjectKind) -> Option<ObjectReference> {
    let name = value.as_str().or_else(|| value.get("name")?.as_str()).or_else(|| value.get(kind.name())?.as_str())?;
    Some(ObjectReference { kind, name: name.to_owned() })
}

fn collect_secrets(value: &Value, found: &mut BTreeSet<ObjectReference>) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(SECRET_REFERENCE) {
                found.insert(ObjectReference { kind: ObjectKind::Secret, name: name.to_owned() });
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| collect_secrets(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_names_its_ends_its_functions_its_lookups_and_secrets_anywhere() {
        let spec = serde_json::json!({
            "source": "web", "destination": "warehouse", "lookups": ["plans"],
            "functions": ["redact", { "function": "enrich", "settings": { "key": ["secret:api"] } }],
        });
        let content =
            ObjectContent { kind: ObjectKind::Sync, name: "s".into(), labels: Default::default(), owner: None, spec };
        let found: Vec<String> = references(&content).iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
        let expected =
            ["secret api", "lookup plans", "function enrich", "function redact", "source web", "destination warehouse"];
        assert_eq!(found, expected);
        let spec = serde_json::json!({"lookups": {"geo": "places", "name": "names", "left": "none"}});
        let content = ObjectContent { kind: ObjectKind::Function, spec, ..content };
        let found: Vec<String> = references(&content).iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
        assert_eq!(found, ["lookup names", "lookup places"]);
    }
}
