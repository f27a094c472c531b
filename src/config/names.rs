//! The names by which the objects of a workspace refer to each other, once all are read.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_document::problem::Problem;

use super::destinations::{DestinationConfig, DestinationKind};
use super::documents::WorkspaceDocuments;
use super::functions::{Borrowed, FunctionConfig, NOTHING};
use super::lookups::{KINDS, LookupConfig};
use super::sources::{SourceConfig, WriteKeyConfig};
use super::streams::read_by_both;
use super::syncs::SyncConfig;
use crate::warehouses::WarehouseSettings;

/// What names may refer to.
pub(super) struct ObjectNames<'a> {
    /// What stands in a file that cannot be read has its own problem noted.
    pub(super) documents: &'a WorkspaceDocuments,
    pub(super) sources: &'a BTreeMap<String, SourceConfig>,
    pub(super) functions: &'a BTreeMap<String, FunctionConfig>,
    pub(super) destinations: &'a BTreeMap<String, DestinationConfig>,
}

/// Notes names that lead nowhere, and syncs that would write into each other's tables.
pub(super) fn check(
    dir: &Path,
    names: &ObjectNames<'_>,
    syncs: &BTreeMap<String, SyncConfig>,
    problems: &mut Vec<Problem>,
) {
    let mut note = |file: PathBuf, line, message: String, fix: String| {
        problems.push(Problem::of_file(file, line, message, fix));
    };
    let mut keys: BTreeMap<&str, Vec<(&str, &WriteKeyConfig)>> = BTreeMap::new();
    for (name, source) in names.sources {
        let file = names.documents.file_of(dir, ObjectRefKind::Source, name);
        for key in &source.write_keys {
            keys.entry(&key.key).or_default().push((name, key));
        }
        names.unknown(&file, ObjectRefKind::Function, &source.functions, &mut note);
    }
    let streams = names.sources.iter().filter_map(|(name, source)| Some((name, source.stream.as_ref()?)));
    let streams: Vec<_> = streams.collect();
    for (at, (name, stream)) in streams.iter().enumerate() {
        let mut before = streams.iter().take(at);
        let taken = before.find_map(|(other, theirs)| Some((other, read_by_both(stream, theirs)?)));
        if let Some((other, read)) = taken {
            let message =
                format!("this source and source {other} read {read}, and each would get a part of the messages");
            let fix = "give one of them a `group`, or a subscription, of its own";
            note(names.documents.file_of(dir, ObjectRefKind::Source, name), 0, message, fix.to_owned());
        }
    }
    for named in keys.into_values() {
        let &[_, .., (source, key)] = named.as_slice() else { continue };
        let each: Vec<String> = named.iter().map(|(source, key)| format!("{} of source {source}", key.name)).collect();
        let message = format!("several write keys are the same: {}", each.join(", "));
        let fix = "a client is known by its key alone: keep one of them, or give each a random one of its own";
        let file = names.documents.file_of(dir, ObjectRefKind::Source, source);
        note(file, key.line, message, fix.to_owned());
    }
    let mut targets: BTreeMap<(&str, Option<&str>), (&str, &str)> = BTreeMap::new();
    let mut ledgers: BTreeMap<String, &str> = BTreeMap::new();
    for (name, sync) in syncs {
        let file = names.documents.file_of(dir, ObjectRefKind::Sync, name);
        names.unknown(&file, ObjectRefKind::Source, std::slice::from_ref(&sync.source), &mut note);
        names.unknown(&file, ObjectRefKind::Destination, std::slice::from_ref(&sync.destination), &mut note);
        names.unknown(&file, ObjectRefKind::Function, &sync.functions, &mut note);
        let kind = names.destinations.get(&sync.destination.0).map(|destination| &destination.kind);
        if kind.is_none() {
            continue;
        }
        if let Some(DestinationKind::Stream(stream)) = kind
            && let Some(ledger) = stream.ledger_place(name)
            && let Some(other) = ledgers.insert(ledger, name)
        {
            let message =
                format!("this sync and sync {other} have one ledger at one stream, and would go on where the other is");
            let fix = "write another `ledger` into the destination of one of them";
            note(file.clone(), sync.destination.1, message, fix.to_owned());
        }
        if let Some(DestinationKind::Plugin(_) | DestinationKind::Stream(_)) = kind {
            if sync.schema.is_some() {
                let message = format!("a schema is for tables, and {} has none", sync.destination.0);
                note(file, 0, message, "take `schema` away".to_owned());
            }
            continue;
        }
        let target = (sync.destination.0.as_str(), sync.schema.as_deref());
        if let Some((other, source)) = targets.insert(target, (name, &sync.source.0)) {
            let message = format!(
                "this sync and sync {other} (source {source}) write into the same tables of {}, where one event could take the place of another",
                target.0
            );
            note(file, sync.destination.1, message, format!("add `schema: {name}` to one of them"));
        }
    }
}

impl ObjectNames<'_> {
    fn of_kind(&self, kind: ObjectRefKind) -> Vec<&str> {
        match kind {
            ObjectRefKind::Source => self.sources.keys().map(String::as_str).collect(),
            ObjectRefKind::Function => self.functions.keys().map(String::as_str).collect(),
            ObjectRefKind::Destination => self.destinations.keys().map(String::as_str).collect(),
            ObjectRefKind::Lookup | ObjectRefKind::Sync | ObjectRefKind::Alert | ObjectRefKind::ContractFile => {
                Vec::new()
            }
        }
    }

    fn unknown(
        &self,
        file: &Path,
        kind: ObjectRefKind,
        asked: &[(String, usize)],
        note: &mut impl FnMut(PathBuf, usize, String, String),
    ) {
        let (known, what) = (self.of_kind(kind), kind.one());
        let is_there = |name: &str| known.contains(&name) || self.documents.has(kind, name);
        for (name, line) in asked.iter().filter(|(name, _)| !is_there(name)) {
            let fix = if known.is_empty() {
                format!("make {what}s/{name}.yaml")
            } else {
                format!("use one of {}, or make {what}s/{name}.yaml", known.join(", "))
            };
            note(file.to_owned(), *line, format!("there is no {what} {name:?}"), fix);
        }
    }
}

/// Notes tables that are borrowed and do not exist.
pub(super) fn check_lookups(
    dir: &Path,
    documents: &WorkspaceDocuments,
    lookups: &BTreeMap<String, LookupConfig>,
    functions: &BTreeMap<String, FunctionConfig>,
    problems: &mut Vec<Problem>,
) {
    for (function, config) in functions {
        for Borrowed { name, table, line } in &config.lookups {
            let Some(table) = table.as_ref().filter(|table| !lookups.contains_key(*table)) else { continue };
            let known: Vec<_> = lookups.keys().map(String::as_str).collect();
            let others = if known.is_empty() { String::new() } else { format!("use one of {}, or ", known.join(", ")) };
            let file = documents.file_of(dir, ObjectRefKind::Function, function);
            let message = format!("there is no lookup {table:?}, which `lookups.{name}` asks for");
            let fix = format!(
                "{others}make lookups/{table}.yaml with {KINDS}, or write `{name}: {NOTHING}` to grant nothing"
            );
            problems.push(Problem::of_file(file, *line, message, fix));
        }
    }
}

/// Notes warehouses in a file that another destination has as well: syncs to both would take each other's tables for their own. Of two the
/// problem is that of the catalog's, for the folder is right by itself, or else that of the later name.
pub(super) fn check_warehouse_files(
    dir: &Path,
    told: &WorkspaceDocuments,
    destinations: &BTreeMap<String, DestinationConfig>,
    problems: &mut Vec<Problem>,
) {
    let is_of_catalog = |name: &str| {
        let document = told.objects.get(&ObjectRef::new(ObjectRefKind::Destination, name));
        document.is_some_and(|document| document.catalog.is_some())
    };
    let mut named: Vec<(bool, &str, PathBuf)> = Vec::new();
    for (name, config) in destinations.iter().filter(|(name, _)| told.has(ObjectRefKind::Destination, name)) {
        let DestinationKind::Warehouse(settings) = &config.kind else { continue };
        if let WarehouseSettings::Sqlite(settings) = &**settings {
            named.push((is_of_catalog(name), name, plain_path(&settings.path)));
        }
    }
    named.sort();
    let mut files: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (_, name, path) in named {
        if let Some(other) = files.get(&path) {
            let message = format!(
                "destination {name} and destination {other} have one file, in which their syncs would take each other's tables for their own"
            );
            let fix = format!(
                "give {name} a `path` of its own, or have its syncs name {other}, each with a `schema` of its own"
            );
            problems.push(Problem::of_file(told.file_of(dir, ObjectRefKind::Destination, name), 0, message, fix));
            continue;
        }
        files.insert(path, name);
    }
}

/// A path as it is written, with every `.` and `..` taken out.
fn plain_path(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        for written in ["/srv/data/x.db", "/srv/./data//x.db", "/srv/data/y/../x.db", "/../srv/data/x.db"] {
            assert_eq!(plain_path(Path::new(written)), Path::new("/srv/data/x.db"), "{written}");
        }
    }
}
