//! Writing what a change comes to: versions, the living, what is looked up by, audit entries.

use serde_json::json;

use super::edit::{Authority, CatalogChange};
use super::settle::SettledEdit;
use crate::audit::{AuditRecord, AuditResult, append, masked};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::fields::field_changes;
use crate::object::{CatalogObject, ObjectKind};
use crate::read::{OBJECT_COLUMNS, object_cells};
use crate::references::references;
use crate::store::{CatalogTransaction, StoreCell};

pub(super) async fn write(
    catalog: &Catalog,
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    changed: &[&SettledEdit],
    revision: u64,
) -> Result<(), CatalogError> {
    transaction.run("UPDATE head SET revision = $1 WHERE id = 1", vec![revision.into()]).await?;
    write_versions(transaction, change, changed, revision).await?;
    // All that is replaced goes first, so that names can change hands.
    let ids: Vec<Vec<StoreCell>> =
        changed.iter().filter_map(|edit| Some(vec![edit.before.as_ref()?.id.as_str().into()])).collect();
    for table in ["living", "label", "reference"] {
        transaction.run_each(&format!("DELETE FROM {table} WHERE id = $1"), ids.clone()).await?;
    }
    let after: Vec<&CatalogObject> = changed.iter().filter_map(|edit| edit.after.as_ref()).collect();
    write_living(transaction, &after).await?;
    forget_deleted(transaction, changed).await?;
    let records = changed.iter().filter_map(|edit| record(catalog, change, edit, revision)).collect();
    append(transaction, catalog.keys(), &change.actor, change.at_us, records).await
}

async fn write_versions(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    changed: &[&SettledEdit],
    revision: u64,
) -> Result<(), CatalogError> {
    let by: StoreCell = match &change.authority {
        Authority::Program => StoreCell::Null,
        Authority::Principal(id) => id.as_str().into(),
    };
    let mut rows = Vec::with_capacity(changed.len());
    for edit in changed {
        // A deletion is a version too: what it had last, marked.
        let gone = edit.before.as_ref().filter(|_| edit.after.is_none());
        let gone = gone.map(|last| CatalogObject { revision, updated_at_us: change.at_us, ..last.clone() });
        let Some(object) = edit.after.as_ref().or(gone.as_ref()) else { continue };
        let mut cells = object_cells(object)?;
        cells.extend([edit.after.is_none().into(), by.clone()]);
        rows.push(cells);
    }
    let insert = format!(
        "INSERT INTO version ({OBJECT_COLUMNS}, is_deleted, changed_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    );
    Ok(transaction.run_each(&insert, rows).await?)
}

async fn write_living(transaction: &mut dyn CatalogTransaction, after: &[&CatalogObject]) -> Result<(), CatalogError> {
    let (mut living, mut labels, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for object in after {
        let (id, workspace) = (object.id.as_str(), object.workspace.as_str());
        let (kind, name) = object.key();
        living.push(vec![id.into(), workspace.into(), kind.name().into(), name.into(), object.revision.into()]);
        let pairs = object.content.labels.iter();
        labels.extend(pairs.map(|(key, value)| vec![id.into(), key.as_str().into(), value.as_str().into()]));
        named.extend(
            references(&object.content).into_iter().map(|reference| {
                vec![id.into(), workspace.into(), reference.kind.name().into(), reference.name.into()]
            }),
        );
    }
    let insert = "INSERT INTO living (id, workspace, kind, name, revision) VALUES ($1, $2, $3, $4, $5)";
    transaction.run_each(insert, living).await?;
    transaction.run_each("INSERT INTO label (id, name, value) VALUES ($1, $2, $3)", labels).await?;
    let insert = "INSERT INTO reference (id, workspace, kind, name) VALUES ($1, $2, $3, $4)";
    Ok(transaction.run_each(insert, named).await?)
}

/// Of what is deleted, the sealed value, the hash, the password and the sessions go as well.
async fn forget_deleted(
    transaction: &mut dyn CatalogTransaction,
    changed: &[&SettledEdit],
) -> Result<(), CatalogError> {
    for object in changed.iter().filter(|edit| edit.after.is_none()).filter_map(|edit| edit.before.as_ref()) {
        let id = || vec![StoreCell::from(object.id.as_str())];
        match object.content.kind {
            ObjectKind::Secret => {
                let cells = vec![object.workspace.as_str().into(), object.content.name.as_str().into()];
                transaction.run("DELETE FROM secret WHERE workspace = $1 AND name = $2", cells).await?;
            }
            ObjectKind::Token | ObjectKind::WriteKey => {
                transaction.run("DELETE FROM credential WHERE id = $1", id()).await?;
            }
            ObjectKind::User => {
                transaction.run("DELETE FROM password WHERE id = $1", id()).await?;
                transaction.run("DELETE FROM session WHERE id = $1", id()).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn record(catalog: &Catalog, change: &CatalogChange, edit: &SettledEdit, revision: u64) -> Option<AuditRecord> {
    let object = edit.object()?;
    let (before, after) = (edit.before.as_ref(), edit.after.as_ref());
    let fields = field_changes(before.map(|object| &object.content), after.map(|object| &object.content));
    Some(AuditRecord {
        workspace: change.workspace.clone(),
        action: edit.done.to_owned(),
        kind: Some(object.content.kind),
        object: Some(object.id.clone()),
        name: Some(object.content.name.clone()),
        result: AuditResult::Done,
        revision: Some(revision),
        detail: json!({ "fields": masked(fields, catalog.keys()), "managed": object.is_managed() }),
    })
}
