//! Files written anew because a column of theirs has a wider type now: one by one, in the commit of the batch that needs it.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::task::JoinSet;

use super::data_file;
use super::error::LakeError;
use super::file;
use super::gather::Filled;
use super::manifest::{ColumnEntry, Edit, FileEntry, TableManifest};
use super::settings::CheckedLake;
use super::store::LakeStore;

/// Files being written anew at once: each is in memory twice.
const REWRITES_MAX: usize = 2;
/// Where a footer usually fits.
const FOOTER_BYTES: u64 = 64 << 10;
const TAIL_BYTES: usize = 8;

/// Writes anew the files of `base` in which a column has a narrower type than it shall have; notes them in `edit`.
pub(super) async fn widened(
    settings: &Arc<CheckedLake>,
    base: &Arc<TableManifest>,
    filled: &Filled,
    edit: &mut Edit,
) -> Result<(), LakeError> {
    let columns: Arc<[ColumnEntry]> = filled.columns.clone().into();
    let folder = format!("{}/{}", settings.schema, filled.name);
    let mut rewriting: JoinSet<Result<Option<(String, FileEntry)>, LakeError>> = JoinSet::new();
    let mut files = base.files.iter().cloned();
    loop {
        while rewriting.len() < REWRITES_MAX
            && let Some(entry) = files.next()
        {
            let (store, columns, folder) = (settings.store.clone(), Arc::clone(&columns), folder.clone());
            let widened = filled.widened.clone();
            rewriting.spawn(async move {
                let footer = footer(&store, &entry).await?;
                if !file::columns(&footer).iter().any(|column| widened.contains(&column.name)) {
                    return Ok(None);
                }
                let bytes = store.get(&entry.path).await?;
                let merged = tokio::task::spawn_blocking(move || file::merged(vec![bytes], &columns)).await;
                let merged = merged.map_err(|_| LakeError::Gone)?;
                let written = merged
                    .map_err(|source| LakeError::Parquet { doing: "writing a file with a wider column", source })?;
                let start = data_file::start_of(&entry.path);
                Ok(Some((entry.path, data_file::put(&store, &folder, entry.partition, written, start).await?)))
            });
        }
        let Some(rewritten) = rewriting.join_next().await else { return Ok(()) };
        if let Some((old, new)) = rewritten.map_err(|_| LakeError::Gone)?? {
            edit.remove.push(old);
            edit.add.push(new);
        }
    }
}

/// What a file says of itself, without the rows.
async fn footer(store: &LakeStore, entry: &FileEntry) -> Result<ParquetMetaData, LakeError> {
    let reading = |source| LakeError::Parquet { doing: "reading a footer", source };
    let mut tail = store.get_end(&entry.path, entry.bytes, FOOTER_BYTES).await?;
    let len = |tail: &[u8]| -> Option<usize> {
        let at = tail.len().checked_sub(TAIL_BYTES)?;
        usize::try_from(u32::from_le_bytes(tail.get(at..at + 4)?.try_into().ok()?)).ok()?.checked_add(TAIL_BYTES)
    };
    let short = || reading(ParquetError::EOF("the file has no footer".to_owned()));
    let needed = len(&tail).ok_or_else(short)?;
    if needed > tail.len() {
        tail = store.get_end(&entry.path, entry.bytes, needed as u64).await?;
    }
    let start = tail.len().checked_sub(needed).ok_or_else(short)?;
    ParquetMetaDataReader::decode_metadata(&tail[start..tail.len() - TAIL_BYTES]).map_err(reading)
}
