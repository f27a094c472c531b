//! What is left to do after batches: many small files become few large ones, and what nobody needs is deleted.
//!
//! Merging is a commit like any other: the merged files take the place of theirs in one put, or not at all if somebody
//! else has replaced one of them. It moves no ledger. What a commit took out of a table stays for readers that looked
//! before ([`super::LakeSettings::keep`]); what never became part of the lake stays much longer, for it may be of a batch
//! under way ([`super::LakeSettings::orphan_age`]). Only names that the lake itself gives are ever deleted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_object_store::Replacement;
use tidegate_process::clock;

use super::data_file;
use super::error::LakeError;
use super::file;
use super::lay::{fetch, lay, pause};
use super::manifest::{Edit, FileEntry, Root, TableManifest};
use super::settings::{CheckedLake, LakeSettings};

/// Merges of one tidying; the next batch sees to the rest.
const MERGES_MAX: usize = 16;
const TRIES_MAX: u32 = 12;
/// The smallest class of sizes; each next is eight times as large.
const CLASS_BYTES: u64 = 64 << 10;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Files that were merged into others.
    pub merged: u64,
    /// Files deleted that were no part of the lake.
    pub deleted: u64,
}

/// How often a lake is searched for what nobody needs.
pub(super) fn sweep_interval_us(settings: &LakeSettings) -> i64 {
    i64::try_from(settings.keep.as_micros()).unwrap_or(i64::MAX).max(600_000_000)
}

/// Which files of a table are to become one: of one partition each, of one class of sizes, so that a row is written anew
/// a few times in its life at most. A partition that is over is merged as far as it can be.
pub(super) fn merges(files: &[FileEntry], settings: &LakeSettings) -> Vec<Vec<FileEntry>> {
    if settings.merge_files_min == 0 {
        return Vec::new();
    }
    let mut classes: BTreeMap<(Option<&str>, u32), Vec<&FileEntry>> = BTreeMap::new();
    let newest = files.iter().filter_map(|file| file.partition.as_deref()).max();
    for file in files.iter().filter(|file| file.bytes < settings.file_bytes / 2) {
        let partition = file.partition.as_deref();
        let class =
            if partition == newest { (file.bytes / CLASS_BYTES).checked_ilog(8).map_or(0, |at| at + 1) } else { 0 };
        classes.entry((partition, class)).or_default().push(file);
    }
    let mut merges = Vec::new();
    for files in classes.into_values().filter(|files| files.len() >= settings.merge_files_min) {
        let mut merge: Vec<FileEntry> = Vec::new();
        let mut bytes = 0;
        for file in files {
            if bytes + file.bytes > settings.file_bytes {
                merges.push(std::mem::take(&mut merge));
                bytes = 0;
            }
            bytes += file.bytes;
            merge.push(file.clone());
        }
        merges.push(merge);
    }
    merges.retain(|merge| merge.len() > 1);
    merges
}

/// Merges what is small in the tables of the sync's schema; deletes, when `sweep`, what nobody needs in the whole lake.
pub(super) async fn run(settings: &CheckedLake, sweep: bool) -> Result<Tidied, LakeError> {
    let mut tidied = Tidied::default();
    let mut manifests = HashMap::new();
    let (root, _) = settings.store.root().await?;
    let mut left = MERGES_MAX;
    for entry in root.of_schema(&settings.schema) {
        // One small file has nobody to merge with.
        if left == 0 || (entry.files as usize) < settings.settings.merge_files_min.max(2) {
            continue;
        }
        fetch(&settings.store, &mut manifests, std::iter::once(&entry.manifest)).await?;
        let Some(manifest) = manifests.get(&entry.manifest).cloned() else { continue };
        let mut merges = merges(&manifest.files, &settings.settings);
        merges.truncate(left);
        left -= merges.len();
        for files in merges {
            tidied.merged += merge(settings, &entry.manifest, &manifest, &files).await?;
        }
        manifests.clear();
    }
    if sweep {
        tidied.deleted = self::sweep(settings).await?;
    }
    Ok(tidied)
}

/// Replaces `files` by one; how many were.
async fn merge(
    settings: &CheckedLake,
    path: &str,
    manifest: &Arc<TableManifest>,
    files: &[FileEntry],
) -> Result<u64, LakeError> {
    let Some(first) = files.first() else { return Ok(0) };
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        match settings.store.get(&file.path).await {
            Ok(bytes) => inputs.push(bytes),
            // Somebody else has merged it.
            Err(LakeError::Vanished { .. }) => return Ok(0),
            Err(error) => return Err(error),
        }
    }
    let columns = manifest.columns.clone();
    let merged = tokio::task::spawn_blocking(move || file::merged(inputs, &columns));
    let merged = merged.await.map_err(|_| LakeError::Gone)?;
    let written = merged.map_err(|source| LakeError::Parquet { doing: "merging files", source })?;
    let folder = format!("{}/{}", manifest.schema, manifest.name);
    let start = data_file::start_of(&first.path);
    let entry = data_file::put(&settings.store, &folder, first.partition.clone(), written, start).await?;
    let edit = Edit {
        schema: manifest.schema.clone(),
        name: manifest.name.clone(),
        base: Some(path.to_owned()),
        columns: manifest.columns.clone(),
        widened: false,
        add: vec![entry],
        remove: files.iter().map(|file| file.path.clone()).collect(),
    };
    commit(settings, &edit, files.len() as u64).await
}

async fn commit(settings: &CheckedLake, edit: &Edit, merged: u64) -> Result<u64, LakeError> {
    for attempt in 0..TRIES_MAX {
        let (root, tag) = settings.store.root().await?;
        let mut manifests = HashMap::new();
        let Ok(next) = lay(&settings.store, &mut manifests, &root, std::slice::from_ref(edit)).await? else {
            return Ok(0);
        };
        fail::fail_point!("warehouse_before_merge", |_| std::process::abort());
        if let Replacement::Done(_) = settings.store.put_root(&next, &tag).await? {
            return Ok(merged);
        }
        pause(attempt).await;
    }
    // Others have more urgent business; the files stay as they are.
    Ok(0)
}

/// Deletes what no reader and no batch can need; how many files.
async fn sweep(settings: &CheckedLake) -> Result<u64, LakeError> {
    let (root, _) = settings.store.root().await?;
    let mut manifests = HashMap::new();
    fetch(&settings.store, &mut manifests, root.tables.iter().map(|entry| &entry.manifest)).await?;
    let useless = useless(settings, &root, &manifests).await?;
    let mut deleted = 0;
    for path in useless {
        settings.store.delete(&path).await?;
        deleted += 1;
    }
    Ok(deleted)
}

async fn useless(
    settings: &CheckedLake,
    root: &Root,
    manifests: &HashMap<String, Arc<TableManifest>>,
) -> Result<Vec<String>, LakeError> {
    let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let (keep_us, orphan_us) = (micros(settings.settings.keep), micros(settings.settings.orphan_age));
    let now_us = clock::now_us();
    let mut needed: HashSet<&str> = root.tables.iter().map(|entry| &*entry.manifest).collect();
    let mut retired: HashMap<&str, i64> = HashMap::new();
    for manifest in manifests.values() {
        needed.extend(manifest.files.iter().map(|file| &*file.path));
        retired.extend(manifest.retired.iter().map(|retired| (&*retired.path, retired.at_us)));
    }
    let schemas: HashSet<&str> = root.tables.iter().map(|entry| &*entry.schema).chain([&*settings.schema]).collect();
    let folders = schemas.into_iter().map(str::to_owned).chain(["_tidegate/tables".to_owned()]);
    let mut useless = Vec::new();
    for folder in folders {
        let look = |path: String, written_us: i64| {
            let over = match retired.get(&*path) {
                Some(at_us) => now_us.saturating_sub(*at_us) >= keep_us,
                None => now_us.saturating_sub(written_us) >= orphan_us,
            };
            if over && !needed.contains(&*path) && is_ours(&path) {
                useless.push(path);
            }
        };
        settings.store.list(&folder, look).await?;
    }
    Ok(useless)
}

/// Whether the lake gives such names: so many digits, a dash, so many hex digits. On a disk, `#` and a number stand behind
/// the name of a file that is still being written.
fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = match name.rsplit_once('#') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    };
    let (stem, digits, hex) = match (name.strip_suffix(".parquet"), name.strip_suffix(".json")) {
        (Some(stem), _) => (stem, 20, 16),
        (_, Some(stem)) if path.starts_with("_tidegate/tables/") => (stem, 12, 8),
        _ => return false,
    };
    let Some((number, unique)) = stem.split_once('-') else { return false };
    number.len() == digits
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && unique.len() == hex
        && unique.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectPlace;

    fn file(partition: &str, bytes: u64) -> FileEntry {
        FileEntry { path: format!("{partition}-{bytes}"), partition: Some(partition.to_owned()), rows: 1, bytes }
    }

    #[test]
    fn files_of_one_partition_and_size_are_merged_and_large_ones_left_alone() {
        let settings = LakeSettings { merge_files_min: 3, ..LakeSettings::new(ObjectPlace::Folder("/x".into())) };
        let sizes = |merges: Vec<Vec<FileEntry>>| {
            merges.iter().map(|merge| merge.iter().map(|file| file.bytes).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let mut files: Vec<_> = [1_000, 2_000, 5 << 20, 3_000].map(|bytes| file("2024-05-07", bytes)).into();
        assert_eq!(sizes(merges(&files, &settings)), [[1_000, 2_000, 3_000]], "the large one is of another class");
        assert_eq!(sizes(merges(&files[1..], &settings)), Vec::<Vec<u64>>::new());
        files.push(file("2024-05-08", 7));
        assert_eq!(sizes(merges(&files, &settings)), [[1_000, 2_000, 5 << 20, 3_000]], "the day is over");
        let large: Vec<_> = (0..9).map(|_| file("2024-05-07", 60 << 20)).collect();
        assert_eq!(merges(&large, &settings), Vec::<Vec<FileEntry>>::new());
        let halves: Vec<_> = (0..5).map(|_| file("2024-05-07", 31 << 20)).collect();
        assert_eq!(sizes(merges(&halves, &settings)), [vec![31 << 20; 2], vec![31 << 20; 2]], "none is too large");
    }

    #[test]
    fn only_names_that_the_lake_gives_are_deleted() {
        assert!(is_ours("events/e/received__day=2024-05-06/00000000000000000007-0123456789abcdef.parquet"));
        assert!(is_ours("events/e/00000000000000000007-0123456789abcdef.parquet#1"));
        assert!(is_ours("_tidegate/tables/events/e/000000000003-0a1b2c3d.json"));
        for other in [
            "_tidegate/latest.json",
            "_tidegate/duckdb.sql",
            "events/e/export.parquet",
            "events/e/000000000003-0a1b2c3d.json",
            "events/e/2024-05-06.parquet",
            "events/notes-1.txt",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
