//! Every value that an object had.

use super::rows::{OBJECT_COLUMNS, object};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::fields::{FieldChange, field_changes};
use crate::object::{CatalogObject, ObjectId};
use crate::store::{CatalogTransaction, StoreAccess, StoredRow};

/// Versions of one page.
const PAGE_MAX: usize = 1_000;

/// An object as one revision left it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectVersion {
    pub object: CatalogObject,
    /// That revision deleted it; the content is what it had last.
    pub is_deleted: bool,
    /// The user or token that made it so; none for the program.
    pub changed_by: Option<String>,
}

/// Versions, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    pub versions: Vec<ObjectVersion>,
    /// The revision to go on before, when there are more.
    pub next: Option<u64>,
}

impl Catalog {
    /// The versions of an object, also of one that was deleted, newest first; `before` is the `next` of the page before.
    ///
    /// # Errors
    /// There never was such an object, or it cannot be read.
    pub async fn history(
        &self,
        workspace: &str,
        id: &ObjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, CatalogError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let limit_and_one = limit + 1;
        let sql = format!(
            "SELECT {OBJECT_COLUMNS}, is_deleted, changed_by FROM version \
             WHERE id = $1 AND workspace = $2 AND revision < $3 ORDER BY revision DESC LIMIT {limit_and_one}"
        );
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let before = before.unwrap_or(u64::MAX);
        let rows = transaction.run(&sql, vec![id.as_str().into(), workspace.into(), before.into()]).await?;
        if rows.is_empty() && before == u64::MAX {
            return Err(CatalogError::Absent { workspace: workspace.to_owned(), id: id.clone() });
        }
        let versions: Vec<ObjectVersion> = rows.iter().take(limit).map(version).collect::<Result<_, _>>()?;
        let next = versions.last().filter(|_| rows.len() > limit).map(|version| version.object.revision);
        Ok(HistoryPage { versions, next })
    }

    /// What differs between two versions of an object, field by field. A revision stands for the last version up to it; 0 for nothing.
    ///
    /// # Errors
    /// There never was such an object, or it cannot be read.
    pub async fn diff(
        &self,
        workspace: &str,
        id: &ObjectId,
        from: u64,
        to: u64,
    ) -> Result<Vec<FieldChange>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let old = version_at(transaction.as_mut(), workspace, id, from).await?;
        let new = version_at(transaction.as_mut(), workspace, id, to).await?;
        if old.is_none() && new.is_none() {
            return Err(CatalogError::Absent { workspace: workspace.to_owned(), id: id.clone() });
        }
        let living = |version: Option<ObjectVersion>| {
            version.filter(|version| !version.is_deleted).map(|version| version.object.content)
        };
        Ok(field_changes(living(old).as_ref(), living(new).as_ref()))
    }
}

async fn version_at(
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
    id: &ObjectId,
    at: u64,
) -> Result<Option<ObjectVersion>, CatalogError> {
    let sql = format!(
        "SELECT {OBJECT_COLUMNS}, is_deleted, changed_by FROM version \
         WHERE id = $1 AND workspace = $2 AND revision <= $3 ORDER BY revision DESC LIMIT 1"
    );
    let found = transaction.run(&sql, vec![id.as_str().into(), workspace.into(), at.into()]).await?;
    found.first().map(version).transpose()
}

fn version(row: &StoredRow) -> Result<ObjectVersion, CatalogError> {
    Ok(ObjectVersion { object: object(row)?, is_deleted: row.integer(13)? != 0, changed_by: row.text_or_null(14)? })
}
