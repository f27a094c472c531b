//! Reading: one object, lists, all of a workspace now or then, the history of an object.

mod history;
mod list;
mod rows;

pub use history::{HistoryPage, ObjectVersion};
pub use list::{ListPage, ListQuery, ManagedFilter};
pub(crate) use rows::{OBJECT_COLUMNS, object, object_cells};

use crate::catalog::{Catalog, revision};
use crate::error::CatalogError;
use crate::object::{CatalogObject, CatalogSnapshot, ObjectId, ObjectKind};
use crate::rights::{Directory, GroupSpec};
use crate::store::{CatalogTransaction, StoreAccess};

impl Catalog {
    /// The living object of an id.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn get(&self, workspace: &str, id: &ObjectId) -> Result<CatalogObject, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE id = $1 AND workspace = $2");
        let found = transaction.run(&sql, vec![id.as_str().into(), workspace.into()]).await?;
        let absent = || CatalogError::Absent { workspace: workspace.to_owned(), id: id.clone() };
        object(found.first().ok_or_else(absent)?)
    }

    /// The living object of a name, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn find(
        &self,
        workspace: &str,
        kind: ObjectKind,
        name: &str,
    ) -> Result<Option<CatalogObject>, CatalogError> {
        named(self.begin(StoreAccess::Read).await?.as_mut(), workspace, kind, name).await
    }

    /// All living objects of a workspace, as they are now or as they were in a revision.
    ///
    /// # Errors
    /// They cannot be read, or the revision is yet to come.
    pub async fn snapshot(&self, workspace: &str, at: Option<u64>) -> Result<CatalogSnapshot, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let newest = revision(transaction.as_mut()).await?;
        match at {
            None => snapshot(transaction.as_mut(), workspace).await,
            Some(at) if at > newest => Err(CatalogError::Nothing { what: format!("revision {at} yet") }),
            Some(at) => snapshot_at(transaction.as_mut(), workspace, at).await,
        }
    }

    /// The user or token that made a revision; none for the server itself and the admin token.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn maker_of(&self, revision: u64) -> Result<Option<ObjectId>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT changed_by FROM version WHERE revision = $1 AND changed_by IS NOT NULL LIMIT 1";
        let found = transaction.run(sql, vec![revision.into()]).await?;
        let by = found.first().map(|row| row.text_or_null(0)).transpose()?.flatten();
        Ok(by.map(|by| ObjectId::parse(&by)).transpose()?)
    }

    /// Users, groups, roles and tokens as they are now, for [`crate::rights::authorise`].
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn directory(&self) -> Result<Directory, CatalogError> {
        directory(self.begin(StoreAccess::Read).await?.as_mut()).await
    }

    /// The objects whose specs name this one, in the order of kind and name. Those of a role are groups of the server.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn used_by(
        &self,
        workspace: &str,
        kind: ObjectKind,
        name: &str,
    ) -> Result<Vec<CatalogObject>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = format!(
            "SELECT {OBJECT_COLUMNS} FROM object WHERE id IN \
             (SELECT id FROM reference WHERE workspace = $1 AND kind = $2 AND name = $3)"
        );
        let rows = transaction.run(&sql, vec![workspace.into(), kind.name().into(), name.into()]).await?;
        let mut users: Vec<CatalogObject> = rows.iter().map(object).collect::<Result<_, _>>()?;
        if kind == ObjectKind::Role {
            let groups = groups(transaction.as_mut()).await?;
            users.extend(groups.into_iter().filter(|group| GroupSpec::names(&group.content.spec, workspace, name)));
        }
        users.sort_by(|a, b| a.key().cmp(&b.key()));
        Ok(users)
    }
}

pub(crate) async fn named(
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
    kind: ObjectKind,
    name: &str,
) -> Result<Option<CatalogObject>, CatalogError> {
    let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE workspace = $1 AND kind = $2 AND name = $3");
    let found = transaction.run(&sql, vec![workspace.into(), kind.name().into(), name.into()]).await?;
    found.first().map(object).transpose()
}

pub(crate) async fn snapshot(
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
) -> Result<CatalogSnapshot, CatalogError> {
    let revision = revision(transaction).await?;
    let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE workspace = $1");
    let rows = transaction.run(&sql, vec![workspace.into()]).await?;
    let objects = rows.iter().map(object).collect::<Result<_, _>>()?;
    Ok(in_order(workspace, revision, objects))
}

async fn snapshot_at(
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
    at: u64,
) -> Result<CatalogSnapshot, CatalogError> {
    let sql = format!(
        "SELECT {OBJECT_COLUMNS} FROM version v WHERE workspace = $1 AND revision <= $2 AND is_deleted = 0 AND NOT EXISTS \
         (SELECT 1 FROM version w WHERE w.id = v.id AND w.revision > v.revision AND w.revision <= $2)"
    );
    let rows = transaction.run(&sql, vec![workspace.into(), at.into()]).await?;
    let objects = rows.iter().map(object).collect::<Result<_, _>>()?;
    Ok(in_order(workspace, at, objects))
}

fn in_order(workspace: &str, revision: u64, mut objects: Vec<CatalogObject>) -> CatalogSnapshot {
    objects.sort_by(|a, b| a.key().cmp(&b.key()));
    CatalogSnapshot { workspace: workspace.to_owned(), revision, objects }
}

/// All groups, which name roles of every workspace.
pub(crate) async fn groups(transaction: &mut dyn CatalogTransaction) -> Result<Vec<CatalogObject>, CatalogError> {
    let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE kind = 'group'");
    transaction.run(&sql, Vec::new()).await?.iter().map(object).collect()
}

pub(crate) async fn directory(transaction: &mut dyn CatalogTransaction) -> Result<Directory, CatalogError> {
    let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE kind IN ('user', 'group', 'role', 'token')");
    let rows = transaction.run(&sql, Vec::new()).await?;
    let objects: Vec<CatalogObject> = rows.iter().map(object).collect::<Result<_, _>>()?;
    Ok(Directory::of(&objects))
}
