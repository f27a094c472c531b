//! A change, step by step, within a transaction of the caller.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::{Authority, CatalogChange, Committed};
use super::idempotency;
use super::loaded::LoadedObjects;
use super::settle::{SettledEdit, check, settle};
use super::write::write;
use crate::catalog::{Catalog, revision};
use crate::error::CatalogError;
use crate::object::{CatalogObject, ObjectContent, ObjectKind, check_workspace};
use crate::read::{directory, groups};
use crate::references::{ObjectReference, judged_sources, references};
use crate::rights::{ChangedObject, GroupSpec, authorise_change};
use crate::store::CatalogTransaction;

/// Edits of one change.
const EDITS_MAX: usize = 100_000;
/// Other objects that one spec names.
const NAMED_MAX: usize = 1_000;

/// A change that was found to be in order and is not written yet.
pub(crate) struct PreparedChange {
    /// The revision that it goes out from.
    pub(crate) base: u64,
    pub(crate) settled: Vec<SettledEdit>,
}

/// Makes a change without committing.
pub(crate) async fn apply(
    catalog: &Catalog,
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
) -> Result<Committed, CatalogError> {
    if let Some(answer) = idempotency::answered(transaction, change).await? {
        return Ok(answer);
    }
    let PreparedChange { base, settled } = prepare(transaction, change, false).await?;
    let changed: Vec<&SettledEdit> = settled.iter().filter(|edit| edit.differs()).collect();
    let had_admin = touches_people(&changed) && directory(transaction).await?.has_admin();
    if !changed.is_empty() {
        write(catalog, transaction, change, &changed, base + 1).await?;
    }
    if had_admin && !directory(transaction).await?.has_admin() {
        return Err(CatalogError::LastAdmin);
    }
    let revision = if changed.is_empty() { base } else { base + 1 };
    let objects = settled.iter().filter_map(|edit| edit.committed(revision)).collect();
    let committed = Committed { revision, objects, is_repeated: false };
    idempotency::keep(transaction, change, &committed).await?;
    Ok(committed)
}

/// Holds a change against everything that it must meet. Rights come first: who may not see an object learns nothing of it.
pub(crate) async fn prepare(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    is_proposal: bool,
) -> Result<PreparedChange, CatalogError> {
    check_workspace(&change.workspace)?;
    let found = change.edits.len();
    if found > EDITS_MAX {
        return Err(CatalogError::TooMany { what: "edits of one change", found, max: EDITS_MAX });
    }
    let base = revision(transaction).await?;
    let mut loaded = LoadedObjects::of(transaction, &change.workspace, found).await?;
    let settled = settle(transaction, change, &mut loaded, base + 1).await?;
    load_named(transaction, &mut loaded, &settled).await?;
    check_rights(transaction, change, &settled, &loaded, is_proposal).await?;
    if let Some(expected) = change.expected_revision.filter(|expected| *expected != base) {
        return Err(CatalogError::Moved { expected, found: base });
    }
    settled.iter().try_for_each(|edit| check(change, edit))?;
    check_names(transaction, &mut loaded, &settled).await?;
    check_references(transaction, change, &loaded, &settled).await?;
    Ok(PreparedChange { base, settled })
}

/// Reads what the specs name, before and after.
async fn load_named(
    transaction: &mut dyn CatalogTransaction,
    loaded: &mut LoadedObjects,
    settled: &[SettledEdit],
) -> Result<(), CatalogError> {
    let mut named = BTreeSet::new();
    for object in settled.iter().flat_map(|edit| edit.before.iter().chain(&edit.after)) {
        let mut of_object = references(&object.content);
        of_object.extend(judged_sources(&object.content));
        let found = of_object.len();
        if found > NAMED_MAX {
            return Err(CatalogError::TooMany { what: "objects that one spec names", found, max: NAMED_MAX });
        }
        named.extend(of_object);
    }
    for reference in named {
        loaded.name(transaction, reference.kind, &reference.name).await?;
    }
    Ok(())
}

async fn check_rights(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    settled: &[SettledEdit],
    loaded: &LoadedObjects,
    is_proposal: bool,
) -> Result<(), CatalogError> {
    let Authority::Principal(id) = &change.authority else { return Ok(()) };
    let directory = directory(transaction).await?;
    let principal = directory.principal(id, change.at_us)?;
    // What the same change makes can be named as well, by its new name.
    let made: BTreeMap<(ObjectKind, &str), &CatalogObject> =
        settled.iter().filter_map(|edit| edit.after.as_ref()).map(|object| (object.key(), object)).collect();
    let named = |kind, name: &str| loaded.known(kind, name).or_else(|| made.get(&(kind, name)).copied());
    for edit in settled {
        let changed = ChangedObject {
            workspace: &change.workspace,
            before: edit.before.as_ref(),
            after: edit.after.as_ref().map(|object| &object.content),
            is_adoption: matches!(edit.done, "adopted" | "released"),
            is_proposal,
        };
        authorise_change(&principal, &directory, &changed, named)?;
    }
    Ok(())
}

/// No two living objects of a kind have one name, once all edits are made.
async fn check_names(
    transaction: &mut dyn CatalogTransaction,
    loaded: &mut LoadedObjects,
    settled: &[SettledEdit],
) -> Result<(), CatalogError> {
    let edited: BTreeSet<&str> = settled.iter().filter_map(|edit| Some(edit.before.as_ref()?.id.as_str())).collect();
    let mut taken = BTreeSet::new();
    for object in settled.iter().filter_map(|edit| edit.after.as_ref()) {
        let (kind, name) = object.key();
        let there = loaded.name(transaction, kind, name).await?;
        // Who has the name now and is edited as well has the name that the edit gives.
        let is_free = there.is_none_or(|there| edited.contains(there.id.as_str()));
        if !taken.insert((kind, name)) || !is_free {
            return Err(CatalogError::NameTaken { kind, name: name.to_owned() });
        }
    }
    Ok(())
}

/// What is named is there, and nothing that is named goes away.
async fn check_references(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    loaded: &LoadedObjects,
    settled: &[SettledEdit],
) -> Result<(), CatalogError> {
    let after = || settled.iter().filter_map(|edit| edit.after.as_ref());
    let made: BTreeSet<(ObjectKind, &str)> = after().map(CatalogObject::key).collect();
    let before = settled.iter().filter_map(|edit| edit.before.as_ref()).map(CatalogObject::key);
    let gone: BTreeSet<(ObjectKind, &str)> = before.filter(|key| !made.contains(key)).collect();
    for object in after() {
        for ObjectReference { kind, name } in references(&object.content) {
            let is_there = made.contains(&(kind, &name))
                || (loaded.known(kind, &name).is_some() && !gone.contains(&(kind, &*name)));
            if !is_there {
                let (of_kind, of_name) = (kind, name);
                let (kind, name) = (object.content.kind, object.content.name.clone());
                return Err(CatalogError::Dangling { kind, name, of_kind, of_name });
            }
        }
    }
    check_roles(transaction, change, settled, &gone).await?;
    let edited: BTreeSet<&str> = settled.iter().filter_map(|edit| Some(edit.before.as_ref()?.id.as_str())).collect();
    let users = "SELECT l.id, l.kind, l.name FROM reference r JOIN living l ON l.id = r.id \
         WHERE r.workspace = $1 AND r.kind = $2 AND r.name = $3";
    for (kind, name) in gone {
        let rows =
            transaction.run(users, vec![change.workspace.as_str().into(), kind.name().into(), name.into()]).await?;
        for row in rows {
            // Those that are edited as well were looked at above.
            if !edited.contains(row.text(0)?.as_str()) {
                let by = format!("the {} {:?}", row.text(1)?.replace('_', " "), row.text(2)?);
                return Err(CatalogError::InUse { kind, name: name.to_owned(), by });
            }
        }
    }
    Ok(())
}

/// No group names a role that goes away: whoever made another role of its name would give that to all members. Groups are the server's, and
/// so they are in no list of what an object of another workspace names.
async fn check_roles(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    settled: &[SettledEdit],
    gone: &BTreeSet<(ObjectKind, &str)>,
) -> Result<(), CatalogError> {
    let gone: Vec<&str> = gone.iter().filter(|(kind, _)| *kind == ObjectKind::Role).map(|(_, name)| *name).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let living = groups(transaction).await?;
    let is_edited = |group: &&CatalogObject| {
        settled.iter().filter_map(|edit| edit.before.as_ref()).any(|before| before.id == group.id)
    };
    let after = settled.iter().filter_map(|edit| edit.after.as_ref());
    let after = after.filter(|object| object.content.kind == ObjectKind::Group);
    for group in living.iter().filter(|group| !is_edited(group)).chain(after) {
        let ObjectContent { name: group, spec, .. } = &group.content;
        if let Some(role) = gone.iter().find(|role| GroupSpec::names(spec, &change.workspace, role)) {
            let by = format!("the group {group:?}");
            return Err(CatalogError::InUse { kind: ObjectKind::Role, name: (*role).to_owned(), by });
        }
    }
    Ok(())
}

fn touches_people(changed: &[&SettledEdit]) -> bool {
    let kinds = changed.iter().filter_map(|edit| edit.object()).map(|object| object.content.kind);
    kinds.into_iter().any(|kind| matches!(kind, ObjectKind::User | ObjectKind::Group | ObjectKind::Role))
}
