//! Syncs that drain: they go on beside what the folder and the catalog say, until everything is delivered that was accepted for them.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use tidegate_api_types::workspace::SyncEnding;
use tidegate_catalog::Committed;
use tidegate_event::Position;
use tidegate_process::clock;
use tidegate_state::{EndingKind, State};
use tokio::time::{Instant, timeout};

use super::{LOOK_INTERVAL, NextParts, RunningParts, SyncsUnderWay, WantedWorkspace, destination_ref};
use crate::api::ReloadRefusal;
use crate::app::change_plan::SyncChange;
use crate::app::endings::{BegunEndings, MarkedChange};
use crate::app::removals::{AskedEndings, Removals};
use crate::app::running_syncs::SyncPlace;
use crate::app::what_runs::READING_MAX;
use crate::config::{DestinationKind, KeptDocuments, KeptNeeds, Workspace};

/// How many times longer than counting what is pending the pause after it is.
const COUNTING_SHARE: u32 = 20;

impl RunningParts {
    /// What is kept once those drain as well that somebody wants to, of a change to `workspace`.
    pub(super) fn kept_with(
        &self,
        kept: &KeptDocuments,
        drained: &BTreeSet<String>,
        workspace: &Workspace,
    ) -> KeptDocuments {
        let kind_of = |of: &Workspace, destination: &str| {
            let kind = of.destinations.get(destination).map(|it| &it.kind);
            kind.map(std::mem::discriminant::<DestinationKind>)
        };
        let closed_key = HEXLOWER.encode(&clock::random::<32>());
        let mut kept = kept.clone();
        for name in drained {
            let Some(sync) = self.workspace.syncs.get(name) else { continue };
            let destination = sync.destination.0.as_str();
            let (before, after) = (kind_of(&self.workspace, destination), kind_of(workspace, destination));
            let replaced = (after.is_some() && before != after).then(|| destination_ref(destination));
            let needs = KeptNeeds { closed_key: &closed_key, replaced: replaced.into_iter().collect() };
            kept.insert(name.clone(), self.workspace.kept_for(&self.documents, name, &needs));
        }
        kept
    }

    /// What is kept without the syncs that somebody wants given up.
    pub(super) fn kept_but(&self, asked: &AskedEndings) -> KeptDocuments {
        let is_given_up = |sync: &&String| {
            let source = self.workspace.syncs.get(*sync).map(|sync| &sync.source.0);
            let named = asked.get(*sync).or_else(|| asked.get(source?));
            named == Some(&SyncEnding::Abandon)
        };
        let given_up = self.draining.kept().keys().filter(is_given_up).cloned().collect();
        self.draining.without(&given_up)
    }

    /// Writes down which syncs end by a change, before anything of it is in place. Where the catalog is to be changed by it, to what
    /// `preview` says, that counts once the catalog has that change.
    pub(super) fn begin_endings(
        &self,
        next: &NextParts,
        preview: Option<&Committed>,
    ) -> Result<BegunEndings, ReloadRefusal> {
        let places = self.syncs.places();
        let end = |place: &SyncPlace| Position::new(place.refiner.partition(), place.log.committed());
        let kind = |name: &String| match next.decided.get(name) {
            Some(SyncEnding::Abandon) => EndingKind::Abandon,
            _ => EndingKind::Drain,
        };
        let drained = next.wanted.kept.keys().filter(|name| !self.draining.kept().contains_key(*name));
        let begun = BegunEndings {
            kept: next.wanted.kept.clone(),
            syncs: next.removals.syncs.keys().chain(drained).map(|name| (name.clone(), kind(name))).collect(),
            ends: places.places.iter().map(end).collect(),
            change: preview.and_then(MarkedChange::of),
        };
        if begun.syncs.is_empty() {
            return Ok(begun);
        }
        // A transaction that waits for the disk, and no more than that.
        self.draining.begin(&begun, &self.state_file).map_err(|error| {
            self.draining.take_back(&begun, &self.state_file);
            ReloadRefusal::Failed(format!("that syncs end could not be written down: {error}"))
        })?;
        Ok(begun)
    }

    /// Events that are pending, by sync.
    pub(super) async fn pending(&self) -> Result<BTreeMap<String, u64>, ReloadRefusal> {
        let file = self.state_file.clone();
        let pending = tokio::task::spawn_blocking(move || {
            let counts = State::read(&file)?.pending_counts()?;
            let pending = counts.into_iter().map(|count| (count.sync, count.events)).collect::<BTreeMap<_, _>>();
            Ok::<_, tidegate_state::StateError>(pending)
        });
        let failed = |error: String| ReloadRefusal::Failed(format!("what is pending could not be counted: {error}"));
        let pending = timeout(READING_MAX, pending).await.map_err(|error| failed(error.to_string()))?;
        pending.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// Whether a sync that drains has come to its end in every partition.
    fn has_come(&self, sync: &str, ends: &[Position]) -> bool {
        let delivering = self.syncs.delivering_of(sync);
        let has_come = |end: &Position| {
            let of_partition = delivering.get(usize::from(end.partition));
            of_partition.is_some_and(|delivering| *delivering.cursor.borrow() >= end.offset)
        };
        ends.iter().all(has_come)
    }

    /// Looks how far the syncs are that drain: one that has come to its end reads no further, and ends when nothing is pending any more.
    pub(super) async fn look_at_draining(&mut self) {
        let come: Vec<String> = self
            .draining
            .ends()
            .filter(|(sync, ends)| !self.workspace.is_sync_paused(sync) && self.has_come(sync, ends))
            .map(|(sync, _)| sync.to_owned())
            .collect();
        let is_changing = |sync: &str, under_way: &SyncsUnderWay| under_way.names().any(|name| name == sync);
        for sync in come.iter().filter(|sync| !self.settled.contains(*sync)).cloned().collect::<Vec<_>>() {
            if !is_changing(&sync, &self.under_way) {
                self.restart(&sync, SyncChange::Settle, None);
            }
        }
        if self.settled.is_empty() || Instant::now() < self.drained_again_at {
            return;
        }
        let began = Instant::now();
        let Ok(pending) = self.pending().await else { return };
        // All that is pending is read for this.
        self.drained_again_at = Instant::now() + COUNTING_SHARE * began.elapsed();
        let drained = come.into_iter().filter(|sync| {
            let is_delivered = pending.get(sync).is_none_or(|events| *events == 0);
            is_delivered && self.settled.contains(sync) && !is_changing(sync, &self.under_way)
        });
        let drained: BTreeSet<String> = drained.collect();
        if !drained.is_empty() {
            self.end_drained(drained).await;
        }
    }

    /// Ends syncs that have delivered everything. What the folder or the catalog has in their places begins.
    async fn end_drained(&mut self, drained: BTreeSet<String>) {
        let names = drained.iter().cloned().collect::<Vec<_>>().join(", ");
        let (before, kept) = (self.draining.clone(), self.draining.without(&drained));
        let ended = async {
            let wanted = self.reader.again(&self.told, kept.clone(), &self.left_out).await?;
            let put = self.draining.put(kept);
            put.map_err(|error| ReloadRefusal::Failed(format!("endings.json could not be written: {error}")))?;
            self.put(WantedWorkspace { drained, ..wanted }, &AskedEndings::new(), None).await
        };
        let error = match ended.await {
            Ok(_) => {
                tracing::info!(syncs = names, "everything is delivered: what drained has ended");
                return;
            }
            Err(ReloadRefusal::Problems(problems)) => {
                problems.first().map_or_else(String::new, |first| first.message.clone())
            }
            Err(ReloadRefusal::NeedsEnding(told)) => told.join("; "),
            Err(ReloadRefusal::Failed(error) | ReloadRefusal::NotInPlace(error)) => error,
            Err(ReloadRefusal::Catalog(error)) => error.to_string(),
            Err(ReloadRefusal::Stopping) => return,
        };
        tracing::error!(syncs = names, error, "what has drained could not be ended; it is tried again");
        self.drained_again_at = Instant::now() + LOOK_INTERVAL;
        self.draining = before;
        if let Err(error) = self.draining.write_again() {
            tracing::error!(error = %error, "endings.json could not be written");
        }
    }

    /// What becomes of the syncs that go, as somebody says.
    pub(super) fn decide(
        &self,
        removals: &Removals,
        asked: &AskedEndings,
        wanted: &WantedWorkspace,
    ) -> Result<AskedEndings, ReloadRefusal> {
        let decided = removals.decided(asked, &self.workspace).map_err(ReloadRefusal::Failed)?;
        let open = removals.without(|name| decided.contains_key(name) || wanted.drained.contains(name));
        open.refuse_other_sources(&self.workspace, &wanted.whole.1).map_err(ReloadRefusal::NeedsEnding)?;
        let drained = decided.iter().filter(|(_, ending)| **ending == SyncEnding::Drain);
        let drained = drained.map(|(name, _)| name.clone()).collect();
        removals.refuse_paused(&drained, &self.workspace).map_err(ReloadRefusal::NeedsEnding)?;
        Ok(decided)
    }
}
