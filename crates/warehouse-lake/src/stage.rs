//! The files of a batch, written before anybody can see them.
//!
//! Parts are encoded on blocking threads and written at once as they are ready; both are bounded, so that a few encoded
//! files are in memory, not all.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::data_file;
use super::error::LakeError;
use super::file;
use super::gather::{ColumnRows, Filled};
use super::manifest::{ColumnEntry, Edit, FileEntry, TableManifest};
use super::rewrite;
use super::settings::{CheckedLake, Partition};
use super::store::LakeStore;

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
            rewrite::widened(settings, base, filled, edit).await?;
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
    let name = key.and_then(|key| data_file::partition_name(key, partition));
    let written = tokio::task::spawn_blocking(move || file::written(&columns, rows, chunks)).await;
    let written = written.map_err(|_| LakeError::Gone)?;
    let written = written.map_err(|source| LakeError::Parquet { doing: "writing a file", source })?;
    data_file::put(store, &folder, name, written, start).await
}
