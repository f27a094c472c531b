//! The living objects that a change is about: those that it edits, and those that specs name.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::CatalogError;
use crate::object::{CatalogObject, ObjectId, ObjectKind};
use crate::read::{OBJECT_COLUMNS, named, object, snapshot};
use crate::store::CatalogTransaction;

/// With more edits than this the whole workspace is read at once.
const ONE_BY_ONE_MAX: usize = 16;

/// Living objects of one workspace, read when they are asked for.
pub(super) struct LoadedObjects {
    workspace: String,
    by_id: BTreeMap<ObjectId, CatalogObject>,
    by_key: BTreeMap<(ObjectKind, String), ObjectId>,
    /// Names that were looked for and are not there.
    absent: BTreeSet<(ObjectKind, String)>,
    has_all: bool,
}

impl LoadedObjects {
    pub(super) async fn of(
        transaction: &mut dyn CatalogTransaction,
        workspace: &str,
        edits: usize,
    ) -> Result<Self, CatalogError> {
        let mut loaded = Self {
            workspace: workspace.to_owned(),
            by_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            absent: BTreeSet::new(),
            has_all: edits > ONE_BY_ONE_MAX,
        };
        if loaded.has_all {
            let all = snapshot(transaction, workspace).await?;
            all.objects.into_iter().for_each(|object| loaded.add(object));
        }
        Ok(loaded)
    }

    fn add(&mut self, object: CatalogObject) {
        self.by_key.insert((object.content.kind, object.content.name.clone()), object.id.clone());
        self.by_id.insert(object.id.clone(), object);
    }

    /// Reads the object of an id, if it lives in the workspace.
    pub(super) async fn id(
        &mut self,
        transaction: &mut dyn CatalogTransaction,
        id: &ObjectId,
    ) -> Result<Option<CatalogObject>, CatalogError> {
        if !self.has_all && !self.by_id.contains_key(id) {
            let sql = format!("SELECT {OBJECT_COLUMNS} FROM object WHERE id = $1 AND workspace = $2");
            let cells = vec![id.as_str().into(), self.workspace.as_str().into()];
            if let Some(row) = transaction.run(&sql, cells).await?.first() {
                self.add(object(row)?);
            }
        }
        Ok(self.by_id.get(id).cloned())
    }

    /// Reads the object of a name, if it lives in the workspace.
    pub(super) async fn name(
        &mut self,
        transaction: &mut dyn CatalogTransaction,
        kind: ObjectKind,
        name: &str,
    ) -> Result<Option<&CatalogObject>, CatalogError> {
        let key = (kind, name.to_owned());
        if !self.has_all && !self.by_key.contains_key(&key) && !self.absent.contains(&key) {
            match named(transaction, &self.workspace, kind, name).await? {
                Some(object) => self.add(object),
                None => _ = self.absent.insert(key),
            }
        }
        Ok(self.known(kind, name))
    }

    /// Of what was read, the object of a name.
    pub(super) fn known(&self, kind: ObjectKind, name: &str) -> Option<&CatalogObject> {
        self.by_key.get(&(kind, name.to_owned())).and_then(|id| self.by_id.get(id))
    }
}
