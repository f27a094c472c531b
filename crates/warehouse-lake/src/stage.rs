//! The files of a batch, written before anybody can see them.
//!
//! Parts are encoded on blocking threads and written at once as they are ready; both are bounded, so that a few encoded
//! files are in memory, not all.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_process::clock;
use tokio::task::JoinSet;

use super::ddl;
use super::error::LakeError;
use super::file::{self, WrittenFile};
use super::gather::{ColumnRows, Filled};
use super::manifest::{ColumnEntry, Edit, FileEntry, TableManifest};
use super::settings::{CheckedLake, Partition};
use super::store::LakeStore;

/// Requests under way at once.
pub(super) const REQUESTS_MAX: usize = 8;
/// Files being encoded or written at once.
const FILES_MAX: usize = 4;

/// Writes the files of all tables, and anew those that a wider column asks for; notes them in `edits`, which are in the
/// order of `tables`.
pub(super) async fn stage(
    settings: &Arc<CheckedLake>,
    manifests: &HashMap<String, Arc<TableManifest>>,
    tables: Vec<Filled>,
    edits: &mut [Edit],
    start: u64,
) -> Result<(), LakeError> {
    for (filled, edit) in tables.iter().zip(edits.iter_mut()) {
        let base = edit.base.as_ref().and_then(|path| manifests.get(path));
        if let (true, Some(base)) = (edit.widened, base) {
            ddl::rewrite(settings, base, filled, edit).await?;
        }
    }
    let mut parts = tables.into_iter().enumerate().flat_map(|(at, filled)| {
        let columns: Arc<[ColumnEntry]> = filled.present.iter().map(|place| filled.columns[*place].clone()).collect();
        let folder = format!("{}/{}", settings.schema, filled.name);
        let present = filled.present;
        filled.parts.into_iter().map(move |mut rows| {
            let chunks = present.iter().map(|place| rows.chunks.get_mut(*place).and_then(Option::take)).collect();
            rows.chunks = chunks;
            (at, TablePart { folder: folder.clone(), columns: Arc::clone(&columns), rows })
        })
    });
    let mut writing: JoinSet<Result<(usize, FileEntry), LakeError>> = JoinSet::new();
    loop {
        while writing.len() < FILES_MAX
            && let Some((at, part)) = parts.next()
        {
            let (store, partition) = (settings.store.clone(), settings.settings.partition);
            writing.spawn(async move { Ok((at, write(&store, part, partition, start).await?)) });
        }
        let Some(written) = writing.join_next().await else { return Ok(()) };
        let (at, entry) = written.map_err(|_| LakeError::Gone)??;
        edits[at].add.push(entry);
    }
}

/// Rows of a table that become one file.
struct TablePart {
    /// The table's folder.
    folder: String,
    columns: Arc<[ColumnEntry]>,
    rows: ColumnRows,
}

async fn write(store: &LakeStore, part: TablePart, partition: Partition, start: u64) -> Result<FileEntry, LakeError> {
    let TablePart { folder, columns, rows: ColumnRows { partition: key, rows, chunks } } = part;
    let name = key.and_then(|key| partition_name(key, partition));
    let written = tokio::task::spawn_blocking(move || file::written(&columns, rows, chunks)).await;
    let written = written.map_err(|_| LakeError::Gone)?;
    let written = written.map_err(|source| LakeError::Parquet { doing: "writing a file", source })?;
    put(store, &folder, name, written, start).await
}

/// Stores a file in the table's folder, under a name of its own.
pub(super) async fn put(
    store: &LakeStore,
    folder: &str,
    partition: Option<String>,
    written: WrittenFile,
    start: u64,
) -> Result<FileEntry, LakeError> {
    let unique = u64::from_le_bytes(clock::random());
    let path = match &partition {
        Some(name) => format!("{folder}/{}/{start:020}-{unique:016x}.parquet", partition_folder(name)),
        None => format!("{folder}/{start:020}-{unique:016x}.parquet"),
    };
    let bytes = written.bytes.len() as u64;
    store.put(&path, written.bytes).await?;
    Ok(FileEntry { path, partition, rows: written.rows, bytes })
}

/// Two underscores: so is no column called, whatever properties there are.
fn partition_folder(name: &str) -> String {
    format!("received__{}={name}", if name.len() > 10 { "hour" } else { "day" })
}

/// `2024-05-06` or `2024-05-06-07`; none for an instant beyond the calendar.
fn partition_name(key: i64, partition: Partition) -> Option<String> {
    let (seconds, format) = match partition {
        Partition::None => return None,
        Partition::Day => (86_400, "%Y-%m-%d"),
        Partition::Hour => (3_600, "%Y-%m-%d-%H"),
    };
    let at = jiff::Timestamp::from_second(key.checked_mul(seconds)?).ok()?;
    Some(at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_day_or_hour() {
        assert_eq!(partition_name(19_849, Partition::Day).as_deref(), Some("2024-05-06"));
        assert_eq!(partition_name(19_849 * 24 + 7, Partition::Hour).as_deref(), Some("2024-05-06-07"));
        assert_eq!(partition_name(-1, Partition::Day).as_deref(), Some("1969-12-31"));
        assert_eq!(partition_name(i64::MAX, Partition::Day), None);
        assert_eq!(partition_folder("2024-05-06"), "received__day=2024-05-06");
        assert_eq!(partition_folder("2024-05-06-07"), "received__hour=2024-05-06-07");
    }
}
