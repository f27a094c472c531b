//! What comes before what: an object after all that it names, and the other way round when they are deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::PlannedChange;
use crate::object::{CatalogObject, ObjectContent, ObjectKind};
use crate::references::references;

type OrderKey = (ObjectKind, String);

/// Creations and updates, what is named first. Where nothing decides, by kind and name.
pub(super) fn made(changes: Vec<PlannedChange>) -> Vec<PlannedChange> {
    let mut by_key: BTreeMap<OrderKey, PlannedChange> = BTreeMap::new();
    let mut contents: BTreeMap<OrderKey, ObjectContent> = BTreeMap::new();
    for change in changes {
        if let PlannedChange::Create { content } | PlannedChange::Update { content, .. } = &change {
            let key = (content.kind, content.name.clone());
            contents.insert(key.clone(), content.clone());
            by_key.insert(key, change);
        }
    }
    let order = named_first(&contents);
    order.into_iter().filter_map(|key| by_key.remove(&key)).collect()
}

/// Deletions, what is named last.
pub(super) fn deleted(objects: Vec<&CatalogObject>) -> Vec<PlannedChange> {
    let key = |object: &CatalogObject| (object.content.kind, object.content.name.clone());
    let contents = objects.iter().map(|object| (key(object), object.content.clone())).collect();
    let by_key: BTreeMap<OrderKey, &CatalogObject> = objects.iter().map(|object| (key(object), *object)).collect();
    let order = named_first(&contents).into_iter().rev();
    let delete = |key: OrderKey| {
        let object = by_key.get(&key)?;
        let (id, revision) = (object.id.clone(), object.revision);
        Some(PlannedChange::Delete { id, revision, kind: key.0, name: key.1 })
    };
    order.filter_map(delete).collect()
}

/// The keys, each behind those that its content names; of a circle the first by kind and name comes first.
fn named_first(contents: &BTreeMap<OrderKey, ObjectContent>) -> Vec<OrderKey> {
    let mut waits_for: BTreeMap<&OrderKey, usize> = BTreeMap::new();
    let mut waiting: BTreeMap<OrderKey, Vec<&OrderKey>> = BTreeMap::new();
    for (key, content) in contents {
        let named = references(content).into_iter().map(|reference| (reference.kind, reference.name));
        let named: Vec<OrderKey> = named.filter(|other| other != key && contents.contains_key(other)).collect();
        waits_for.insert(key, named.len());
        named.into_iter().for_each(|other| waiting.entry(other).or_default().push(key));
    }
    let mut ready: BTreeSet<&OrderKey> =
        waits_for.iter().filter(|(_, count)| **count == 0).map(|(key, _)| *key).collect();
    let mut order = Vec::with_capacity(contents.len());
    while !waits_for.is_empty() {
        let Some(key) = ready.pop_first().or_else(|| waits_for.keys().next().copied()) else { break };
        waits_for.remove(key);
        order.push(key.clone());
        for next in waiting.get(key).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(*next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    order
}
