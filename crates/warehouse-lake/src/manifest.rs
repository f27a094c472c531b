//! What a lake says of itself: which files make up which table.
//!
//! The **root** (`_tidegate/latest.json`) names for each table one **manifest**, which never changes, and holds the
//! ledger. Replacing the root is the commit. A manifest names the table's files and columns; a commit writes new ones
//! for the tables it touches, and leaves the others. An **edit** is what a commit does to one table; it can be laid onto
//! a manifest that somebody else has replaced meanwhile, unless the two do not go together.
//!
//! Paths are relative to the lake, so that it can be moved. This room does no I/O.

use serde::{Deserialize, Serialize};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Column;

/// Where the root is.
pub(super) const ROOT: &str = "_tidegate/latest.json";

/// Bumped when older programs must not write to the lake any more.
pub const FORMAT: u32 = 1;
/// What was replaced and is kept for readers, by table; older ones are found by their age.
const RETIRED_MAX: usize = 1_000;

/// `_tidegate/latest.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Root {
    pub format: u32,
    /// One more with each commit.
    pub version: u64,
    /// Which commit made it.
    pub commit: String,
    pub written_at: String,
    /// Sorted by schema and name.
    pub tables: Vec<TableEntry>,
    pub ledger: Vec<LedgerEntry>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    pub schema: String,
    pub name: String,
    /// Path of its manifest.
    pub manifest: String,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub sync: String,
    pub log_offset: u64,
    pub updated_at: String,
}

/// One table as of one commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableManifest {
    pub schema: String,
    pub name: String,
    pub columns: Vec<ColumnEntry>,
    pub files: Vec<FileEntry>,
    /// Files that this table no longer needs, and readers of an older root still may.
    pub retired: Vec<Retired>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnEntry {
    pub name: String,
    #[serde(rename = "type", with = "kind")]
    pub kind: Type,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: String,
    /// Day or hour of `received_at`; none where the table is not partitioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Retired {
    pub path: String,
    pub at_us: i64,
}

mod kind {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use tidegate_warehouse::evolve::Type;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(kind: &Type, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Type, D::Error> {
        let word = String::deserialize(deserializer)?;
        let kind = Type::ALL.into_iter().find(|kind| kind.as_str() == word);
        kind.ok_or_else(|| D::Error::custom(format!("{word:?} is no type")))
    }
}

impl Root {
    #[must_use]
    pub fn table(&self, schema: &str, name: &str) -> Option<&TableEntry> {
        let found = self.tables.binary_search_by(|entry| (&*entry.schema, &*entry.name).cmp(&(schema, name)));
        found.ok().map(|at| &self.tables[at])
    }

    /// The tables of one schema.
    pub fn of_schema<'r>(&'r self, schema: &'r str) -> impl Iterator<Item = &'r TableEntry> {
        self.tables.iter().filter(move |entry| entry.schema == schema)
    }

    pub fn put(&mut self, entry: TableEntry) {
        let key = (entry.schema.clone(), entry.name.clone());
        match self.tables.binary_search_by(|other| (&other.schema, &other.name).cmp(&(&key.0, &key.1))) {
            Ok(at) => self.tables[at] = entry,
            Err(at) => self.tables.insert(at, entry),
        }
    }

    /// How far the sync has come.
    #[must_use]
    pub fn durable_to(&self, sync: &str) -> Option<u64> {
        self.ledger.iter().find(|entry| entry.sync == sync).map(|entry| entry.log_offset)
    }

    pub fn advance(&mut self, sync: &str, log_offset: u64, updated_at: &str) {
        let entry = LedgerEntry { sync: sync.to_owned(), log_offset, updated_at: updated_at.to_owned() };
        match self.ledger.iter_mut().find(|other| other.sync == sync) {
            Some(other) => *other = entry,
            None => self.ledger.push(entry),
        }
    }
}

impl TableManifest {
    /// The columns as the general rooms know them.
    #[must_use]
    pub fn found(&self) -> Vec<Column> {
        self.columns.iter().map(|column| Column::found(&column.name, column.kind, false, true)).collect()
    }

    /// Its line in the root, when it is stored at `path`.
    #[must_use]
    pub fn entry(&self, path: String) -> TableEntry {
        TableEntry {
            schema: self.schema.clone(),
            name: self.name.clone(),
            manifest: path,
            files: self.files.len() as u64,
            rows: self.files.iter().map(|file| file.rows).sum(),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
        }
    }
}

/// What a commit does to one table.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub schema: String,
    pub name: String,
    /// Path of the manifest that it was made for; none when there was no such table.
    pub base: Option<String>,
    /// All columns that the added files may have, with their types.
    pub columns: Vec<ColumnEntry>,
    /// Some column is wider than in the base; the files that had it are among those removed.
    pub widened: bool,
    pub add: Vec<FileEntry>,
    pub remove: Vec<String>,
}

/// Somebody else changed the table so that the edit does not fit any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict;

impl Edit {
    /// The table after the edit. `current` is its manifest now, with its path.
    ///
    /// # Errors
    /// The edit was made for a table that is no longer so.
    pub fn apply(&self, current: Option<(&str, &TableManifest)>, now_us: i64) -> Result<TableManifest, Conflict> {
        let Some((path, current)) = current else {
            if self.base.is_some() || !self.remove.is_empty() {
                return Err(Conflict);
            }
            return Ok(TableManifest {
                schema: self.schema.clone(),
                name: self.name.clone(),
                columns: self.columns.clone(),
                files: self.add.clone(),
                retired: Vec::new(),
            });
        };
        let moved = self.base.as_deref() != Some(path);
        // Somebody's files may have the column with its narrower type.
        if moved && self.widened {
            return Err(Conflict);
        }
        let mut next = current.clone();
        for column in &self.columns {
            match next.columns.iter_mut().find(|other| other.name == column.name) {
                Some(other) if moved && other.kind != column.kind => return Err(Conflict),
                Some(other) => other.kind = column.kind,
                None => next.columns.push(column.clone()),
            }
        }
        let remove: std::collections::HashSet<&str> = self.remove.iter().map(String::as_str).collect();
        let before = next.files.len();
        next.files.retain(|file| !remove.contains(&*file.path));
        if before - next.files.len() != remove.len() {
            return Err(Conflict);
        }
        next.files.extend(self.add.iter().cloned());
        let retired = self.remove.iter().map(String::as_str).chain([path]);
        next.retired.extend(retired.map(|path| Retired { path: path.to_owned(), at_us: now_us }));
        let surplus = next.retired.len().saturating_sub(RETIRED_MAX.max(self.remove.len() + 1));
        next.retired.drain(..surplus);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Type) -> ColumnEntry {
        ColumnEntry { name: name.to_owned(), kind }
    }

    fn file(path: &str) -> FileEntry {
        FileEntry { path: path.to_owned(), rows: 1, ..FileEntry::default() }
    }

    fn edit(base: Option<&str>, columns: &[ColumnEntry], add: &[&str], remove: &[&str]) -> Edit {
        Edit {
            base: base.map(str::to_owned),
            columns: columns.to_vec(),
            add: add.iter().map(|path| file(path)).collect(),
            remove: remove.iter().map(|path| (*path).to_owned()).collect(),
            ..Edit::default()
        }
    }

    fn paths(manifest: &TableManifest) -> Vec<&str> {
        manifest.files.iter().map(|file| &*file.path).collect()
    }

    #[test]
    fn edits_that_go_together_are_both_kept() {
        let n = column("n", Type::Integer);
        let first = edit(None, std::slice::from_ref(&n), &["a", "b"], &[]).apply(None, 1).unwrap();
        // Two edits made for the same base: a load with a new column, and a compaction.
        let load = edit(Some("m1"), &[n.clone(), column("late", Type::Text)], &["c"], &[]);
        let compaction = edit(Some("m1"), std::slice::from_ref(&n), &["ab"], &["a", "b"]);
        let loaded = load.apply(Some(("m1", &first)), 2).unwrap();
        let both = compaction.apply(Some(("m2", &loaded)), 3).unwrap();
        assert_eq!(paths(&both), ["c", "ab"]);
        assert_eq!(both.columns.len(), 2);
        let retired: Vec<_> = both.retired.iter().map(|retired| (&*retired.path, retired.at_us)).collect();
        assert_eq!(retired, [("m1", 2), ("a", 3), ("b", 3), ("m2", 3)]);
        // And the other way round.
        let compacted = compaction.apply(Some(("m1", &first)), 2).unwrap();
        assert_eq!(paths(&load.apply(Some(("m3", &compacted)), 3).unwrap()), ["ab", "c"]);
    }

    #[test]
    fn edits_that_do_not_go_together_are_refused() {
        let n = column("n", Type::Integer);
        let first = edit(None, std::slice::from_ref(&n), &["a"], &[]).apply(None, 1).unwrap();
        let mut widening = edit(Some("m1"), &[column("n", Type::Text)], &["a2", "b"], &["a"]);
        widening.widened = true;
        let widened = widening.apply(Some(("m1", &first)), 2).unwrap();
        assert_eq!((widened.columns[0].kind, paths(&widened)), (Type::Text, vec!["a2", "b"]));
        let narrow = edit(Some("m1"), std::slice::from_ref(&n), &["c"], &[]);
        assert_eq!(narrow.apply(Some(("m2", &widened)), 3), Err(Conflict), "its files have the narrower type");
        let compaction = edit(Some("m1"), &[], &["x"], &["a"]);
        assert_eq!(compaction.apply(Some(("m2", &widened)), 3), Err(Conflict), "its files are gone");
        let loaded = narrow.apply(Some(("m1", &first)), 2).unwrap();
        assert_eq!(widening.apply(Some(("m2", &loaded)), 3), Err(Conflict), "a file with the narrower type came");
        assert_eq!(narrow.apply(None, 3), Err(Conflict), "the table is gone");
        let twin = edit(None, &[column("n", Type::Text)], &["t"], &[]);
        assert_eq!(twin.apply(Some(("m1", &first)), 3), Err(Conflict), "made at once with another type");
    }
}
