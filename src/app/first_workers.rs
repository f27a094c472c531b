//! The workers that a server begins with.

use std::collections::BTreeMap;
use std::sync::Arc;

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
