//! The workers that a server begins with, and what the log keeps for syncs that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_state::StateError;
use tokio::runtime::Handle;

use super::destinations::OpenedDestination;
use super::partitions::OpenPartition;
use super::running_syncs::{ReadyWorker, RunningSyncs, SyncPlace, SyncSpec, WorkerStart};
use super::{AppError, paths};
use crate::config::Workspace;

/// The workers of all syncs that run, each with its destination in each partition. For those that are paused the log keeps what waits.
pub(super) fn ready(
    workspace: &Workspace,
    partitions: &mut [OpenPartition],
    mut destinations: Vec<BTreeMap<String, OpenedDestination>>,
    background: Handle,
) -> Result<(RunningSyncs, Vec<Vec<ReadyWorker>>), AppError> {
    let state = paths::state(&workspace.data);
    let place = |one: &OpenPartition| SyncPlace {
        log: Arc::clone(&one.log),
        refiner: one.handle.clone(),
        state: state.clone(),
    };
    let mut syncs = RunningSyncs::new(partitions.iter().map(place).collect(), background);
    let mut workers = Vec::new();
    for spec in SyncSpec::all(workspace) {
        if workspace.is_sync_paused(spec.name()) {
            let cursor = |one: &OpenPartition| {
                let first = one.starts.get(spec.name()).map_or(0, |start| start.read_from);
                Ok::<u64, StateError>(one.state.cursor(spec.name())?.unwrap_or(first))
            };
            let cursors: Vec<u64> = partitions.iter().map(cursor).collect::<Result<_, _>>()?;
            syncs.hold(spec.name(), &cursors);
            continue;
        }
        let start = |(partition, destinations): (&mut OpenPartition, &mut BTreeMap<String, OpenedDestination>)| {
            let opened = destinations.remove(spec.name())?;
            let start = partition.starts.remove(spec.name()).unwrap_or_default();
            Some(WorkerStart::first(opened.destination, start))
        };
        let starts: Option<Vec<WorkerStart>> = partitions.iter_mut().zip(&mut destinations).map(start).collect();
        if let Some(starts) = starts {
            workers.push(syncs.open(&spec, starts)?);
        }
    }
    Ok((syncs, workers))
}

/// Has the log keep what waits for syncs that ran before and cannot run now, until they can again or end.
pub(super) fn hold_left_out(
    syncs: &mut RunningSyncs,
    left_out: &BTreeMap<ObjectRef, String>,
    workspace: &Workspace,
    partitions: &[OpenPartition],
) -> Result<(), StateError> {
    let is_held =
        |object: &&ObjectRef| object.kind == ObjectRefKind::Sync && !workspace.syncs.contains_key(&object.key);
    for ObjectRef { key, .. } in left_out.keys().filter(is_held) {
        let next = |one: &OpenPartition| {
            let (cursor, first) = (one.state.cursor(key)?, one.state.starts()?.get(key).copied());
            Ok::<Option<u64>, StateError>(cursor.max(first))
        };
        let cursors: Vec<Option<u64>> = partitions.iter().map(next).collect::<Result<_, _>>()?;
        if cursors.iter().any(Option::is_some) {
            let cursors: Vec<u64> = cursors.into_iter().map(Option::unwrap_or_default).collect();
            syncs.hold(key, &cursors);
        }
    }
    Ok(())
}
