//! Where each sync begins, settled when a server first runs it.
//!
//! A new sync to a tool would send people the messages of last week; one to a warehouse is made to hold everything. Which
//! it is is written down once: from then on the sync has every event from there, whatever its file says later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_log::Log;
use tidegate_pipeline::sync::Start;
use tidegate_state::{State, StateError};

use super::continuity::Past;
use super::{AppError, log_times};
use crate::config::{StartConfig, SyncConfig, Workspace};

/// Where the sync `name` begins in a partition while the server runs: its source was handed out up to `handed`. A sync that is new
/// begins with what is accepted from now on, or with all that the log keeps, and that is recorded.
pub(super) fn settle_one(
    workspace: &Workspace,
    name: &str,
    handed: u64,
    log: &dyn Log,
    state: &mut State,
) -> Result<Start, StateError> {
    let start = workspace.start_of(name);
    let recorded = state.starts()?.get(name).copied();
    let first = match recorded {
        Some(first) => first,
        None => {
            let first = first_of(name, start, log);
            state.record_starts(&[(name, first)])?;
            first
        }
    };
    let first = if start == StartConfig::Beginning { 0 } else { first };
    Ok(Start { first, read_from: first.min(handed) })
}

/// The first offset of a sync that is new.
fn first_of(sync: &str, start: StartConfig, log: &dyn Log) -> u64 {
    match start {
        StartConfig::Now => log.committed(),
        StartConfig::Beginning => 0,
        StartConfig::Since(at_us) => log_times::first_since(log, at_us).unwrap_or_else(|error| {
            // Rather more than less.
            tracing::error!(sync, error = %error, "where the log is at the `start` of a new sync cannot be read: it gets all that the log keeps");
            0
        }),
    }
}

/// Where each sync of `workspace` begins; what is new is recorded. `handed_to` is how far each source was handed out.
pub(super) fn settle(
    workspace: &Workspace,
    past: Past,
    handed_to: &HashMap<Arc<str>, u64>,
    log: &dyn Log,
    state: &mut State,
) -> Result<BTreeMap<String, Start>, AppError> {
    // Of a state that is not the last one, and of one from before, nobody knows which syncs have run: they get what the
    // log keeps rather than lose what waits for them.
    let all_are_known = !matches!(past, Past::Lost | Past::Older) && !state.starts_are_unknown()?;
    let mut recorded = state.starts()?;
    let mut new: Vec<(&str, u64)> = Vec::new();
    for name in workspace.syncs.keys().filter(|name| !recorded.contains_key(*name)) {
        let start = workspace.start_of(name);
        let first = if start == StartConfig::Now && !all_are_known { 0 } else { first_of(name, start, log) };
        new.push((name, first));
        let passed_over = log.records(log.oldest(), first);
        if passed_over > 0 {
            tracing::info!(
                sync = &**name,
                passed_over,
                "a new sync: it gets events from its `start` on, and not those that the log holds of before (`start: beginning` in a \
                 new sync sends them too)"
            );
        }
    }
    state.record_starts(&new)?;
    recorded.extend(new.into_iter().map(|(name, first)| (name.to_owned(), first)));
    let of_sync = |(name, config): (&String, &SyncConfig)| {
        let first = match workspace.start_of(name) {
            StartConfig::Now | StartConfig::Since(_) => recorded.get(name).copied().unwrap_or(0),
            StartConfig::Beginning => 0,
        };
        let read_from = handed_to.get(config.source.0.as_str()).map_or(0, |handed| first.min(*handed));
        (name.clone(), Start { first, read_from })
    };
    Ok(workspace.syncs.iter().map(of_sync).collect())
}
