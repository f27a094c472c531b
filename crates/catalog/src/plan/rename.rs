//! Which wanted objects are there under another name.

use std::collections::{BTreeMap, BTreeSet};

use super::WantedObject;
use crate::object::{CatalogObject, ObjectKind};

type NameKey<'a> = (ObjectKind, &'a str);

/// Names that go round: whether that was done already cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} {name:?} takes a name that goes round to its own; rename in two applies")]
pub struct RenameCycle {
    pub kind: ObjectKind,
    pub name: String,
}

/// By kind and new name, the old name of each object that is renamed.
///
/// `was` counts as long as the old name is there for it (nobody wants an object of that name as it is) and the new name is not taken
/// by an object that stays. So a chain A→B, B→C is carried out once, and planned a second time it is done.
pub(super) fn renames<'w>(
    there: &BTreeMap<NameKey<'_>, &CatalogObject>,
    wanted: &[&'w WantedObject],
) -> Result<BTreeMap<NameKey<'w>, &'w str>, RenameCycle> {
    let mut renames: BTreeMap<NameKey<'w>, &'w str> = BTreeMap::new();
    for want in wanted {
        let was = want.was.as_deref().filter(|was| *was != want.name);
        if let Some(was) = was.filter(|was| there.contains_key(&(want.kind, was))) {
            renames.insert((want.kind, &want.name), was);
        }
    }
    let names: BTreeSet<NameKey<'w>> = wanted.iter().map(|want| (want.kind, &*want.name)).collect();
    loop {
        let leaving: BTreeMap<NameKey<'w>, NameKey<'w>> =
            renames.iter().map(|(key, was)| ((key.0, *was), *key)).collect();
        let stays = |key: &NameKey<'w>, was: &'w str| {
            let old = (key.0, was);
            let is_wanted_as_it_is = names.contains(&old) && !renames.contains_key(&old);
            let is_new_name_taken = there.contains_key(key) && !leaving.contains_key(key);
            // Two want the same object: the last one in order gets it.
            is_wanted_as_it_is || is_new_name_taken || leaving.get(&old) != Some(key)
        };
        let ended: Vec<NameKey<'w>> =
            renames.iter().filter(|(key, was)| stays(key, was)).map(|(key, _)| *key).collect();
        if ended.is_empty() {
            break;
        }
        for key in ended {
            renames.remove(&key);
        }
    }
    match renames.keys().find(|key| goes_round(&renames, key)) {
        Some((kind, name)) => Err(RenameCycle { kind: *kind, name: (*name).to_owned() }),
        None => Ok(renames),
    }
}

fn goes_round(renames: &BTreeMap<NameKey<'_>, &str>, start: &NameKey<'_>) -> bool {
    let mut name = start.1;
    for _ in 0..=renames.len() {
        match renames.get(&(start.0, name)) {
            Some(was) if *was == start.1 => return true,
            Some(was) => name = was,
            None => return false,
        }
    }
    false
}
