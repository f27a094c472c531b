//! Sources and syncs that go: only where nothing waits for them, or where somebody says what becomes of it. What is accepted before a change
//! counts, what comes after it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_api_types::workspace::SyncEnding;
use tokio::time::{Instant, timeout_at};

use super::change_plan::ChangePlan;
use super::destinations;
use super::running_syncs::Delivering;
use crate::api::ALL_THAT_END;
use crate::config::Workspace;

/// For requests that are under way.
pub(super) const REQUESTS_MAX: Duration = Duration::from_secs(5);
/// For a stream to bring what it has read into the log, and to leave.
pub(super) const STREAMS_MAX: Duration = Duration::from_secs(15);
/// For syncs to deliver what was accepted just now, beside the time for which their events may wait for company.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// Of that time, no more than this.
const COMPANY_MAX: Duration = Duration::from_secs(60);

/// What becomes of what waits, by the name of a sync, or of a source for all its syncs.
pub(super) type AskedEndings = BTreeMap<String, SyncEnding>;

/// What is there and will not be, or will be another under the same name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Removals {
    pub(super) sources: BTreeSet<String>,
    /// Each with how long its events may wait for company.
    pub(super) syncs: BTreeMap<String, Duration>,
}

impl Removals {
    pub(super) fn of(old: &Workspace, new: &Workspace, plan: &ChangePlan) -> Self {
        let is_open = |of: &Workspace, name: &str| of.sources.contains_key(name) && !of.ending.sources.contains(name);
        let sources = old.sources.keys().filter(|name| is_open(old, name) && !is_open(new, name)).cloned();
        let company = |name: &str| {
            let config = old.syncs.get(name)?;
            Some(destinations::settings(old, config).company.age_max.min(COMPANY_MAX))
        };
        let syncs = plan.syncs.iter().filter(|(_, change)| change.ends());
        let syncs = syncs.map(|(name, _)| (name.clone(), company(name).unwrap_or_default()));
        Self { sources: sources.collect(), syncs: syncs.collect() }
    }

    /// Those that can be looked at while the door is open: where a source goes, a sync that waits for company is looked at once nothing
    /// comes any more, and then once.
    pub(super) fn while_open(&self) -> Self {
        let mut removals = self.clone();
        if !self.sources.is_empty() {
            removals.syncs.retain(|_, company| *company <= CATCH_UP_MAX);
        }
        removals
    }

    /// The same without these syncs.
    pub(super) fn without(&self, is_decided: impl Fn(&str) -> bool) -> Self {
        let mut removals = self.clone();
        removals.syncs.retain(|name, _| !is_decided(name));
        removals
    }

    /// What somebody says becomes of each sync that goes; a sync of a source that goes, or has gone, may be named by it.
    ///
    /// # Errors
    /// A name is neither that of a sync nor that of a source that goes: a sentence.
    pub(super) fn decided(&self, asked: &AskedEndings, old: &Workspace) -> Result<AskedEndings, String> {
        let goes = |source: &str| self.sources.contains(source) || old.ending.sources.contains(source);
        let is_draining = |name: &str| old.ending.syncs.contains(name);
        let is_known =
            |name: &str| name == ALL_THAT_END || self.syncs.contains_key(name) || goes(name) || is_draining(name);
        let strange = asked.keys().find(|name| !is_known(name));
        if let Some(name) = strange {
            return Err(format!("{name:?} is named, and neither a sync nor a source of this name would be taken away"));
        }
        let ending = |name: &String| {
            let source = old.syncs.get(name).map(|sync| sync.source.0.as_str()).filter(|source| goes(source));
            let ending = asked.get(name).or_else(|| asked.get(source?)).or_else(|| asked.get(ALL_THAT_END))?;
            Some((name.clone(), *ending))
        };
        Ok(self.syncs.keys().filter_map(ending).collect())
    }

    /// A sync goes over its source in order. With another one it begins anew, and only where somebody says what becomes of the old one.
    pub(super) fn refuse_other_sources(&self, old: &Workspace, new: &Workspace) -> Result<(), Vec<String>> {
        let source = |of: &'_ Workspace, name: &str| of.syncs.get(name).map(|sync| sync.source.0.clone());
        let told = self.syncs.keys().filter_map(|name| {
            let (before, after) = (source(old, name)?, source(new, name)?);
            (before != after).then(|| {
                format!(
                    "sync {name} would read from {after} instead of {before}, in which it would pass over what is there: it ends, and \
                     begins anew, with `--drain {name}` or `--abandon {name}`; or make a sync under another name"
                )
            })
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { Ok(()) } else { Err(told) }
    }

    /// What is paused does not drain, nor what cannot run.
    pub(super) fn refuse_paused(&self, drained: &BTreeSet<String>, old: &Workspace) -> Result<(), Vec<String>> {
        let told = drained.iter().filter(|name| self.syncs.contains_key(*name)).filter_map(|name| {
            let why = match old.syncs.contains_key(name) {
                false => "cannot run",
                true if old.is_sync_paused(name) => "is paused, itself or by its destination,",
                true => return None,
            };
            Some(format!(
                "sync {name} {why} and would never drain: let it go on first, or give up what waits for it with `--abandon {name}`"
            ))
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { Ok(()) } else { Err(told) }
    }
}

/// How far a sync must come in one partition.
pub(super) struct SyncMark {
    delivering: Delivering,
    end: u64,
    patience: Duration,
}

/// Everything that is accepted now, for the syncs that go.
pub(super) fn marks(delivering: Vec<Delivering>, removals: &Removals) -> Vec<SyncMark> {
    let mark = |delivering: Delivering| {
        let patience = CATCH_UP_MAX + *removals.syncs.get(&*delivering.sync)?;
        Some(SyncMark { end: delivering.log.committed(), delivering, patience })
    };
    delivering.into_iter().filter_map(mark).collect()
}

/// Waits until the syncs have come so far, but not for long.
pub(super) async fn catch_up(marks: &[SyncMark]) {
    let began = Instant::now();
    for SyncMark { delivering, end, patience } in marks {
        let (mut cursor, until) = (delivering.cursor.clone(), began + *patience);
        // A worker that has ended comes no further.
        let _ = timeout_at(until, cursor.wait_for(|cursor| cursor >= end)).await;
    }
}

/// Of each sync that has not come so far, or has events pending, what waits for it.
pub(super) fn waiting(marks: &[SyncMark], pending: &BTreeMap<String, u64>) -> Vec<String> {
    let mut records: BTreeMap<&str, u64> = pending.keys().map(|sync| (sync.as_str(), 0)).collect();
    for SyncMark { delivering, end, .. } in marks {
        *records.entry(&delivering.sync).or_default() += delivering.log.records(*delivering.cursor.borrow(), *end);
    }
    let told = records.into_iter().filter_map(|(sync, records)| {
        let pending = pending.get(sync).copied().unwrap_or(0);
        (records + pending > 0).then(|| {
            format!(
                "{records} records of the log and {pending} pending events wait for sync {sync}, which would be taken away \
                 (`--drain {sync}` or `--abandon {sync}`)"
            )
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use tidegate_registry::Releases;

    use super::*;

    /// A workspace with these syncs, each from a source to a SQLite file.
    fn workspace(syncs: &[(&str, &str)]) -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("tidegate.yaml", "{}");
        write("destinations/db.yaml", "kind: sqlite\n");
        for (name, source) in syncs {
            let key = format!("kind: http\nwrite_key: {source}-0123456789abcdef\n");
            write(&format!("sources/{source}.yaml"), &key);
            write(&format!("syncs/{name}.yaml"), &format!("source: {source}\ndestination: db\nschema: {name}\n"));
        }
        let read = Workspace::read(dir.path(), None, |_, _| Ok(None)).unwrap();
        (dir, read)
    }

    #[test]
    fn what_goes_is_told_from_what_would_be_another_under_its_name() {
        let (_first, old) = workspace(&[("one", "web"), ("two", "app"), ("three", "web")]);
        let (_second, new) = workspace(&[("one", "web"), ("three", "shop")]);
        let plan = ChangePlan::between(&old, &new, &Releases::default());
        let removals = Removals::of(&old, &new, &plan);
        assert_eq!(removals.sources, BTreeSet::from(["app".to_owned()]));
        assert_eq!(removals.syncs.keys().collect::<Vec<_>>(), ["three", "two"]);
        assert_eq!(removals.while_open(), removals, "events for a SQLite file wait for nobody");
        let refused = removals.refuse_other_sources(&old, &new).unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("sync three would read from shop"), "{refused:?}");
        assert_eq!(removals.without(|name| name == "three").syncs.keys().collect::<Vec<_>>(), ["two"]);
        let asked = |names: &[(&str, SyncEnding)]| names.iter().map(|(name, how)| ((*name).to_owned(), *how)).collect();
        // By its own name, or by that of its source where that goes.
        let both =
            removals.decided(&asked(&[("three", SyncEnding::Drain), ("app", SyncEnding::Abandon)]), &old).unwrap();
        assert_eq!(both, asked(&[("three", SyncEnding::Drain), ("two", SyncEnding::Abandon)]));
        let all = removals.decided(&asked(&[("three", SyncEnding::Drain), ("*", SyncEnding::Abandon)]), &old).unwrap();
        assert_eq!(all, both);
        let nobody = BTreeSet::from(["gone".to_owned(), "three".to_owned()]);
        let mut with_gone = removals.clone();
        with_gone.syncs.insert("gone".to_owned(), Duration::ZERO);
        let refused = with_gone.refuse_paused(&nobody, &old).unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("sync gone cannot run"), "{refused:?}");
        for stays in ["one", "web", "absent"] {
            let refused = removals.decided(&asked(&[(stays, SyncEnding::Drain)]), &old).unwrap_err();
            assert!(refused.contains(stays) && refused.contains("taken away"), "{refused}");
        }
        let nothing = Removals::of(&old, &old, &ChangePlan::between(&old, &old, &Releases::default()));
        assert_eq!(nothing, Removals::default());
        assert!(nothing.refuse_other_sources(&old, &old).is_ok());
    }

    #[test]
    fn events_that_are_pending_wait_too() {
        let pending = BTreeMap::from([("crm".to_owned(), 3), ("ads".to_owned(), 0)]);
        let told = waiting(&[], &pending);
        let wanted = "0 records of the log and 3 pending events wait for sync crm, which would be taken away";
        assert_eq!(told, [format!("{wanted} (`--drain crm` or `--abandon crm`)")]);
    }
}
