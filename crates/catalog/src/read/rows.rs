//! Objects as rows of the table of versions.

use crate::error::CatalogError;
use crate::object::{CatalogObject, ManagedBy, ManagingFolder, ObjectContent, ObjectId};
use crate::store::{StoreCell, StoredRow};

/// The columns that [`object`] reads and [`object_cells`] writes, in order.
pub(crate) const OBJECT_COLUMNS: &str = "id, revision, workspace, kind, name, labels, owner, spec, created_at_us, updated_at_us, is_managed, \
     applied_revision, is_paused";

/// In the column `is_managed`: nobody, the folder of the server, one that was applied from elsewhere.
const NOBODY: i64 = 0;
const OF_SERVER: i64 = 1;
const APPLIED: i64 = 2;

/// Reads a row of [`OBJECT_COLUMNS`].
pub(crate) fn object(row: &StoredRow) -> Result<CatalogObject, CatalogError> {
    let content = ObjectContent {
        kind: row.text(3)?.parse()?,
        name: row.text(4)?,
        labels: serde_json::from_str(&row.text(5)?)?,
        owner: row.text_or_null(6)?.map(|owner| ObjectId::parse(&owner)).transpose()?,
        spec: serde_json::from_str(&row.text(7)?)?,
    };
    let managed_by = match (row.integer(10)?, row.integer_or_null(11)?) {
        (NOBODY, _) | (_, None) => ManagedBy::Nobody,
        (how, Some(applied)) => ManagedBy::Folder {
            applied_revision: u64::try_from(applied).unwrap_or(0),
            folder: if how == APPLIED { ManagingFolder::Applied } else { ManagingFolder::Server },
        },
    };
    Ok(CatalogObject {
        id: ObjectId::parse(&row.text(0)?)?,
        workspace: row.text(2)?,
        content,
        created_at_us: row.integer(8)?,
        updated_at_us: row.integer(9)?,
        revision: row.unsigned(1)?,
        managed_by,
        is_paused: row.integer(12)? != 0,
    })
}

/// The cells of [`OBJECT_COLUMNS`].
pub(crate) fn object_cells(object: &CatalogObject) -> Result<Vec<StoreCell>, CatalogError> {
    let ObjectContent { kind, name, labels, owner, spec } = &object.content;
    let (is_managed, applied_revision) = match object.managed_by {
        ManagedBy::Nobody => (NOBODY, None),
        ManagedBy::Folder { applied_revision, folder: ManagingFolder::Server } => (OF_SERVER, Some(applied_revision)),
        ManagedBy::Folder { applied_revision, folder: ManagingFolder::Applied } => (APPLIED, Some(applied_revision)),
    };
    Ok(vec![
        object.id.as_str().into(),
        object.revision.into(),
        object.workspace.as_str().into(),
        kind.name().into(),
        name.as_str().into(),
        serde_json::to_string(labels)?.into(),
        owner.as_ref().map(ObjectId::as_str).into(),
        spec.to_string().into(),
        object.created_at_us.into(),
        object.updated_at_us.into(),
        is_managed.into(),
        applied_revision.into(),
        object.is_paused.into(),
    ])
}
