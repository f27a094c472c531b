//! Objects of the catalog as answers.

use std::collections::{BTreeMap, BTreeSet};

use hyper::header::HeaderValue;
use tidegate_api_types::object::{ChangeDone, ManagingFile, ObjectDone, ObjectName, ShownObject, ShownObjectVersion};
use tidegate_api_types::workspace::FieldDifference;
use tidegate_catalog::{
    CatalogObject, Committed, EditDone, FieldChange, ManagedBy, ManagingFolder, ObjectId, ObjectKind, ObjectVersion,
};
use tidegate_event::time;

use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;

/// Names of users and tokens by their ids.
pub(super) struct PeopleNames(BTreeMap<String, String>);

impl PeopleNames {
    pub(super) fn of(&self, id: Option<&str>) -> Option<String> {
        self.0.get(id?).cloned()
    }
}

/// Who has asked for what an answer is about, and where their name goes.
pub(super) type AskerOf<T> = fn(&mut T) -> (&str, &mut Option<String>);

/// Objects or entries of a page, when nobody says how many.
const LIMIT_DEFAULT: usize = 100;

/// How many a page may have; the catalog has a bound of its own.
pub(super) fn limit(asked: Option<u64>) -> usize {
    asked.map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// `"12"`.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

impl SharedApi {
    pub(super) fn shown(&self, object: CatalogObject) -> ShownObject {
        let drifted = object.is_drifted();
        let CatalogObject { id, workspace, content, created_at_us, updated_at_us, revision, managed_by, is_paused } =
            object;
        let managed_by = match managed_by {
            ManagedBy::Nobody => None,
            ManagedBy::Folder { applied_revision, folder } => {
                let file = (self.settings.catalog.folder_file)(content.kind, &content.name);
                let applied = folder == ManagingFolder::Applied;
                Some(ManagingFile { file, applied_revision, drifted, applied })
            }
        };
        ShownObject {
            id: id.to_string(),
            kind: content.kind.name().to_owned(),
            name: content.name,
            workspace,
            labels: content.labels,
            owner: content.owner.map(String::from),
            owner_name: None,
            spec: content.spec,
            revision,
            created_at: time::format(created_at_us),
            updated_at: time::format(updated_at_us),
            managed_by,
            paused: is_paused,
        }
    }

    pub(super) fn shown_version(&self, version: ObjectVersion) -> ShownObjectVersion {
        let ObjectVersion { object, is_deleted, changed_by } = version;
        ShownObjectVersion { object: self.shown(object), deleted: is_deleted, changed_by, changed_by_name: None }
    }

    /// What users and tokens are called, by their ids; of anything else nothing.
    pub(super) async fn names_of(&self, ids: Vec<&str>) -> Result<PeopleNames, ApiRefusal> {
        let ids: BTreeSet<ObjectId> = ids.into_iter().filter_map(|id| ObjectId::parse(id).ok()).collect();
        let names = self.settings.catalog.catalog.names_of(&ids).await.map_err(|error| self.refused(error))?;
        Ok(PeopleNames(names.into_iter().map(|(id, name)| (id.to_string(), name)).collect()))
    }

    /// Answers that say by name who has asked for what they are about.
    pub(super) async fn with_askers<T: Send>(
        &self,
        mut answers: Vec<T>,
        asker: AskerOf<T>,
    ) -> Result<Vec<T>, ApiRefusal> {
        let ids: BTreeSet<String> = answers.iter_mut().map(|answer| asker(answer).0.to_owned()).collect();
        let names = self.names_of(ids.iter().map(String::as_str).collect()).await?;
        for answer in &mut answers {
            let (id, name) = asker(answer);
            *name = names.of(Some(id));
        }
        Ok(answers)
    }

    /// The same of one.
    pub(super) async fn with_asker<T: Send>(&self, mut answer: T, asker: AskerOf<T>) -> Result<T, ApiRefusal> {
        let id = asker(&mut answer).0.to_owned();
        let names = self.names_of(vec![id.as_str()]).await?;
        *asker(&mut answer).1 = names.of(Some(&id));
        Ok(answer)
    }
}

pub(super) fn name(kind: ObjectKind, name: &str) -> ObjectName {
    ObjectName { kind: kind.name().to_owned(), name: name.to_owned() }
}

pub(super) fn fields(changes: Vec<FieldChange>) -> Vec<FieldDifference> {
    let field = |FieldChange { path, before, after }| FieldDifference { field: path, before, after };
    changes.into_iter().map(field).collect()
}

pub(super) fn done(committed: Committed, dry_run: bool) -> ChangeDone {
    let Committed { revision, objects, is_repeated } = committed;
    let done = |done: EditDone| match done {
        EditDone::Created => "created",
        EditDone::Updated => "updated",
        EditDone::Deleted => "deleted",
        EditDone::Unchanged => "unchanged",
    };
    let objects = objects.into_iter().map(|object| ObjectDone {
        id: ObjectId::to_string(&object.id),
        kind: object.kind.name().to_owned(),
        name: object.name,
        revision: object.revision,
        done: done(object.done).to_owned(),
    });
    ChangeDone { revision, dry_run, repeated: is_repeated, objects: objects.collect() }
}
