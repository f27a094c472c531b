//! The manifests of a lake: read, and new ones laid onto a root.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_process::clock;

use super::encode;
use super::error::LakeError;
use super::manifest::{Conflict, Edit, FORMAT, Root, TableManifest};
use super::store::LakeStore;

/// Requests under way at once.
const REQUESTS_MAX: usize = 8;

/// The next root: `edits` laid onto the tables of `root`, their new manifests written.
pub(super) async fn lay(
    store: &LakeStore,
    manifests: &mut HashMap<String, Arc<TableManifest>>,
    root: &Root,
    edits: &[Edit],
) -> Result<Result<Root, Conflict>, LakeError> {
    let now_us = clock::now_us();
    let version = root.version + 1;
    let commit = clock::uuid();
    let current = |edit: &Edit| root.table(&edit.schema, &edit.name).map(|entry| entry.manifest.clone());
    let paths: Vec<String> = edits.iter().filter_map(current).collect();
    fetch(store, manifests, paths.iter()).await?;
    let mut next = Root {
        format: FORMAT,
        version,
        written_at: encode::instant_text(now_us - now_us.rem_euclid(1_000)),
        ..root.clone()
    };
    let mut puts = tokio::task::JoinSet::new();
    for edit in edits {
        let path = current(edit);
        let before = path.as_deref().and_then(|path| Some((path, &**manifests.get(path)?)));
        let Ok(manifest) = edit.apply(before, now_us) else { return Ok(Err(Conflict)) };
        let path = format!("_tidegate/tables/{}/{}/{version:012}-{}.json", edit.schema, edit.name, &commit[..8]);
        let text =
            serde_json::to_vec(&manifest).map_err(|source| LakeError::Manifest { path: path.clone(), source })?;
        next.put(manifest.entry(path.clone()));
        let (store, at) = (store.clone(), path.clone());
        manifests.insert(path, Arc::new(manifest));
        puts.spawn(async move { store.put(&at, text.into()).await });
        if puts.len() >= REQUESTS_MAX
            && let Some(put) = puts.join_next().await
        {
            put.map_err(|_| LakeError::Gone)??;
        }
    }
    while let Some(put) = puts.join_next().await {
        put.map_err(|_| LakeError::Gone)??;
    }
    next.commit = commit;
    Ok(Ok(next))
}

/// Reads the manifests at `paths` that are not known yet.
pub(super) async fn fetch(
    store: &LakeStore,
    manifests: &mut HashMap<String, Arc<TableManifest>>,
    paths: impl Iterator<Item = &String>,
) -> Result<(), LakeError> {
    let missing: Vec<String> = paths.filter(|path| !manifests.contains_key(*path)).cloned().collect();
    let mut gets = tokio::task::JoinSet::new();
    let mut left = missing.into_iter();
    loop {
        while gets.len() < REQUESTS_MAX
            && let Some(path) = left.next()
        {
            let store = store.clone();
            gets.spawn(async move {
                let bytes = store.get(&path).await?;
                let read = serde_json::from_slice::<TableManifest>(&bytes);
                let manifest = read.map_err(|source| LakeError::Manifest { path: path.clone(), source })?;
                Ok::<_, LakeError>((path, manifest))
            });
        }
        let Some(got) = gets.join_next().await else { return Ok(()) };
        let (path, manifest) = got.map_err(|_| LakeError::Gone)??;
        manifests.insert(path, Arc::new(manifest));
    }
}

/// Lets others go first, longer each time, and never in step with them.
pub(super) async fn pause(attempt: u32) {
    let most_ms = 10_u64 << attempt.min(7);
    let share = u64::from(u16::from_le_bytes(clock::random()));
    tokio::time::sleep(Duration::from_micros(most_ms * 1_000 * share / u64::from(u16::MAX))).await;
}
