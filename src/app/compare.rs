//! Gathers how far log, state and warehouses have come, at the start, and says what does not fit together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_log::{self as intake, Log};
use tidegate_state::{State, SyncReport};

use super::continuity::{self, ContinuityLine, Ledger, Past, Stand, SyncStand};
use super::{AppError, paths};
use crate::config::Workspace;

/// How far each has come, before the log is opened.
pub(super) fn stand<'w>(
    workspace: &'w Workspace,
    state: &State,
    past: Past,
    ledgers: &BTreeMap<String, Ledger>,
) -> Result<Stand<'w>, AppError> {
    let cursors = cursors(state)?;
    let cursor = |name: &str| cursors.get(name).copied();
    // Who was not asked is as good as away.
    let ledger = |name: &str| ledgers.get(name).copied().unwrap_or(Ledger::Away);
    let of_sync = |name: &'w String| SyncStand { name, ledger: ledger(name), cursor: cursor(name) };
    let syncs = workspace.syncs.keys().map(of_sync).collect();
    // A log that cannot be read says so itself when it is opened.
    let dir = intake::partition_dir(&paths::log(&workspace.data), state.partition());
    let end = intake::end(&dir).unwrap_or(u64::MAX);
    Ok(Stand { past, refined_to: state.refined_to()?, log: 0..end, next: end, syncs })
}

/// Of each sync in the partition that the state is for.
fn cursors(state: &State) -> Result<HashMap<String, u64>, AppError> {
    let own = |report: SyncReport| {
        let cursor = report.cursors.iter().find(|cursor| cursor.partition == state.partition())?.offset;
        Some((report.sync, cursor))
    };
    Ok(state.reports()?.into_iter().filter_map(own).collect())
}

/// No new record may get an offset below this: somebody has seen one there.
pub(super) fn floor(stand: &Stand<'_>, state: &State) -> Result<u64, AppError> {
    let durable = stand.syncs.iter().filter_map(|sync| match sync.ledger {
        Ledger::At(at) => Some(at),
        _ => None,
    });
    let cursors = cursors(state)?.into_values();
    Ok(durable.chain(cursors).chain([stand.refined_to]).max().unwrap_or(0))
}

/// Syncs whose ledgers could not be asked: any of them may be ahead of all that is known here.
pub(super) fn unasked<'s>(workspace: &Workspace, stand: &Stand<'s>) -> Vec<&'s str> {
    let is_in_state = |name: &str| {
        let destination = workspace.syncs.get(name).and_then(|sync| workspace.destinations.get(&sync.destination.0));
        destination.is_some_and(|found| found.kind.has_cursor_in_state())
    };
    let unasked = stand.syncs.iter().filter(|sync| sync.ledger == Ledger::Away && !is_in_state(sync.name));
    unasked.map(|sync| sync.name).collect()
}

/// How far the events of each source were handed out without functions. Of a state that is not the last one nobody knows
/// which functions they went through; they go through those that are live now, rather than through none.
pub(super) fn handed_to(workspace: &Workspace, stand: &Stand<'_>) -> HashMap<Arc<str>, u64> {
    let mut handed_to: HashMap<Arc<str>, u64> = HashMap::new();
    if matches!(stand.past, Past::Lost | Past::Older) {
        return handed_to;
    }
    for sync in &stand.syncs {
        let Some(config) = workspace.syncs.get(sync.name) else { continue };
        let durable = match sync.ledger {
            Ledger::At(at) => at,
            _ => 0,
        };
        // A ledger without a cursor is of an earlier life of the name, and perhaps of another source.
        let handed = sync.cursor.filter(|cursor| *cursor > 0).map_or(0, |cursor| cursor.max(durable));
        let furthest = handed_to.entry(config.source.0.as_str().into()).or_default();
        *furthest = handed.max(*furthest);
    }
    handed_to
}

/// Says what does not fit together, of a partition if there are several, and lets a new state begin where the log does.
pub(super) fn settle(
    stand: &mut Stand<'_>,
    log: &dyn Log,
    state: &mut State,
    partition: Option<u16>,
) -> Result<(), AppError> {
    let (oldest, next) = (log.oldest(), log.committed());
    stand.log = oldest.min(stand.log.end)..stand.log.end.min(next);
    stand.next = next;
    let of = partition.map_or_else(String::new, |partition| format!("partition {partition} of the log: "));
    for line in continuity::lines(stand) {
        match line {
            ContinuityLine::Warn(text) => tracing::warn!("{of}{text}"),
            ContinuityLine::Error(text) => tracing::error!("{of}{text}"),
        }
    }
    if matches!(stand.past, Past::Lost | Past::New) && oldest > 0 && stand.refined_to == 0 {
        state.begin_at(oldest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_no_cursor_goes_with_says_nothing_of_a_source() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["sources", "destinations", "syncs"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("tidegate.yaml", "{}");
        write("sources/app.yaml", "kind: http\nwrite_key: key-0123456789abcdef\n");
        write("destinations/db.yaml", "kind: sqlite\n");
        write("syncs/crm.yaml", "source: app\ndestination: db\n");
        let workspace = Workspace::read(dir.path(), None, |_, _| Ok(None)).unwrap();
        let handed = |cursor: Option<u64>| {
            let syncs = vec![SyncStand { name: "crm", ledger: Ledger::At(7), cursor }];
            let stand = Stand { past: Past::Known, refined_to: 9, log: 0..9, next: 9, syncs };
            handed_to(&workspace, &stand).get("app").copied()
        };
        assert_eq!([handed(Some(5)), handed(Some(0)), handed(None)], [Some(7), Some(0), Some(0)]);
    }
}
