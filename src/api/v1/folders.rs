//! Documents of a folder as what they want of the catalog, for plans and for what is applied.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_api_types::control::PlannedObject;
use tidegate_api_types::workspace::{FolderDocument, ObjectChangeKind};
use tidegate_catalog::{CatalogSnapshot, ManagingFolder, PlannedChange, WantedObject, field_changes};

use super::shown::fields;
use crate::api::CatalogSettings;

/// The documents of a folder.
pub(super) const FOLDER_BYTES_MAX: usize = 32 << 20;

/// What documents want of the catalog, with the hashes of the files that they name. What the server's own folder manages is compared
/// without: its files lie there.
pub(super) fn wanted(
    settings: &CatalogSettings,
    snapshot: &CatalogSnapshot,
    (documents, files): (&[FolderDocument], &BTreeMap<String, String>),
    take_over: bool,
) -> Vec<WantedObject> {
    let with_files = |document: &FolderDocument| {
        let mut wanted = (settings.wanted)(&snapshot.workspace, document);
        let there = snapshot.named(wanted.kind, &wanted.name).filter(|_| !take_over);
        let is_of_server = there.is_some_and(|object| object.folder() == Some(ManagingFolder::Server));
        let named = (settings.named_file)(wanted.kind, &wanted.spec).filter(|_| !is_of_server);
        let sent = named.and_then(|path| Some((files.get(&path)?, path)));
        if let (Some((sha256, path)), Value::Object(fields)) = (sent, &mut wanted.spec) {
            fields.insert(settings.files_field.to_owned(), json!({ path: sha256 }));
        }
        wanted
    };
    documents.iter().map(with_files).collect()
}

/// A planned change as an answer.
pub(super) fn planned_object(change: PlannedChange) -> PlannedObject {
    match change {
        PlannedChange::Create { content } => PlannedObject {
            fields: fields(field_changes(None, Some(&content))),
            kind: content.kind.name().to_owned(),
            name: content.name,
            change: ObjectChangeKind::Added,
            takes_over: false,
            drifted: false,
        },
        PlannedChange::Update { content, fields: changed, takes_over, had_drifted, .. } => PlannedObject {
            kind: content.kind.name().to_owned(),
            name: content.name,
            change: ObjectChangeKind::Changed,
            fields: fields(changed),
            takes_over,
            drifted: had_drifted,
        },
        PlannedChange::Delete { kind, name, .. } => PlannedObject {
            kind: kind.name().to_owned(),
            name,
            change: ObjectChangeKind::Removed,
            fields: Vec::new(),
            takes_over: false,
            drifted: false,
        },
    }
}
