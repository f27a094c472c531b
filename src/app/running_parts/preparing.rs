//! What comes before a change: loading all that is different, and making way for what goes. Nothing that runs is another one by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join;
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind, SyncEnding};
use tidegate_process::{clock, telemetry};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{LOADING_MAX, NextParts, RunningParts, WantedWorkspace, destination_ref, plugin};
use crate::api::ReloadRefusal;
use crate::app::change_plan::{ChangePlan, SyncChange};
use crate::app::live::NextLive;
use crate::app::removals::{self, AskedEndings, Removals};
use crate::app::unloadable::UnloadedRules;
use crate::config::differences::{ReadWorkspace, WorkspaceDifferences};
use crate::config::{SpecInput, Workspace, fingerprint};

impl RunningParts {
    /// Loads and opens all that is different. Nothing changes by this.
    pub(super) async fn prepare(
        &self,
        mut wanted: WantedWorkspace,
        asked: &AskedEndings,
    ) -> Result<NextParts, ReloadRefusal> {
        wanted = self.loadable(wanted).await?;
        let mut plan = self.plan(&wanted);
        let mut removals = Removals::of(&self.workspace, &wanted.whole.1, &plan);
        let decided = self.decide(&removals, asked, &wanted)?;
        let drained = decided.iter().filter(|(_, ending)| **ending == SyncEnding::Drain);
        let drained: BTreeSet<String> = drained.map(|(name, _)| name.clone()).collect();
        if !drained.is_empty() {
            let kept = self.kept_with(&wanted.kept, &drained, &wanted.whole.1);
            wanted = self.reader.keeping(wanted, kept).await?;
            plan = self.plan(&wanted);
            removals = Removals::of(&self.workspace, &wanted.whole.1, &plan);
        }
        let workspace = Arc::clone(&wanted.whole.1);
        let differences = WorkspaceDifferences::between(
            ReadWorkspace { documents: &self.overlaid, workspace: &self.workspace },
            ReadWorkspace { documents: &wanted.overlaid, workspace: &workspace },
            clock::random(),
        );
        let undecided = removals.without(|name| decided.contains_key(name) || wanted.drained.contains(name));
        self.refuse_what_waits(&undecided.while_open()).await?;
        let refused = |error: UnloadedRules| telemetry::with_causes(&error.into_error(&wanted.may));
        let live = self.load(&workspace, &plan).await?;
        let live = live.map_err(|error| ReloadRefusal::Failed(refused(error)))?;
        let mut opened: BTreeSet<String> = plan.runtimes.clone();
        opened.retain(|name| !follows_releases_alone(&differences, name));
        opened.extend(self.runtimes.idle());
        let open = opened.into_iter().filter_map(|name| {
            let config = plugin(&workspace, &name)?;
            let runtimes = Arc::clone(&self.runtimes);
            Some(async move {
                let next = runtimes.next(&name, config).await;
                (name, next)
            })
        });
        let runtimes = futures_util::future::join_all(open).await;
        Ok(NextParts { wanted, plan, differences, live, runtimes, removals, decided })
    }

    /// The same without what was left out before and cannot be loaded still.
    async fn loadable(&self, mut wanted: WantedWorkspace) -> Result<WantedWorkspace, ReloadRefusal> {
        while wanted.tries_again() {
            let loaded = self.load(&wanted.whole.1, &self.plan(&wanted)).await?;
            let Err(UnloadedRules::Objects(objects)) = loaded else { break };
            let may_go = |object: &ObjectRef| wanted.may.contains(object) && !wanted.unloadable.contains_key(object);
            // What must run and cannot is told with everything else.
            if !objects.are_all(may_go) {
                break;
            }
            wanted = self.reader.without(wanted, objects.reasons()).await?;
        }
        Ok(wanted)
    }

    /// Loads what `plan` says is different.
    async fn load(
        &self,
        workspace: &Arc<Workspace>,
        plan: &ChangePlan,
    ) -> Result<Result<NextLive, UnloadedRules>, ReloadRefusal> {
        let print = fingerprint(&workspace.specs, &self.key);
        let (live, whole, differs) = (Arc::clone(&self.live), Arc::clone(workspace), plan.clone());
        // Compiling is nothing for a thread that others need.
        let load = move || Handle::current().block_on(live.next(&whole, &differs, print));
        let loading = tokio::task::spawn_blocking(load);
        let late = |_| {
            let seconds = LOADING_MAX.as_secs();
            ReloadRefusal::Failed(format!("the functions were not loaded within {seconds} seconds"))
        };
        let loaded = timeout(LOADING_MAX, loading).await.map_err(late)?;
        loaded.map_err(|error| ReloadRefusal::Failed(format!("loading broke off: {error}")))
    }

    /// What it takes to run `wanted`. A sync for which the log keeps something though it cannot run, and that is not there any more,
    /// ends as well.
    fn plan(&self, wanted: &WantedWorkspace) -> ChangePlan {
        let mut plan = ChangePlan::between(&self.workspace, &wanted.whole.1, &self.live.releases());
        let is_gone = |object: &&ObjectRef| {
            let runs = |of: &Workspace| of.syncs.contains_key(&object.key);
            object.kind == ObjectRefKind::Sync
                && !wanted.left_out.contains_key(*object)
                && !runs(&self.workspace)
                && !runs(&wanted.whole.1)
                && !self.syncs.delivering_of(&object.key).is_empty()
        };
        let gone = self.left_out.keys().filter(is_gone);
        plan.syncs.extend(gone.map(|object| (object.key.clone(), SyncChange::End)));
        plan
    }

    /// Shuts the door for sources that go, and waits until everything that came through it has been delivered. Where something waits
    /// all the same, the door opens again.
    pub(super) async fn make_way_for(&mut self, next: &NextParts) -> Result<(), ReloadRefusal> {
        if next.removals.sources.is_empty() {
            return Ok(());
        }
        let paused = next.removals.sources.iter().map(|name| name.as_str().into()).collect();
        self.door.put(&self.workspace, paused);
        let sources = &next.removals.sources;
        let (door, streams) = join(
            self.door.earlier_are_gone(removals::REQUESTS_MAX),
            self.streams.hold(&self.workspace, sources, removals::STREAMS_MAX),
        )
        .await;
        let made = match door {
            true if !streams => {
                let told = "a stream of a source that goes has not ended yet; order it once more";
                Err(ReloadRefusal::NeedsEnding(vec![told.to_owned()]))
            }
            true => {
                let is_decided = |name: &str| next.decided.contains_key(name) || next.wanted.drained.contains(name);
                self.refuse_what_waits(&next.removals.without(is_decided)).await
            }
            false => {
                Err(ReloadRefusal::NeedsEnding(vec!["a request to a source that goes is still under way".to_owned()]))
            }
        };
        if made.is_err() {
            self.open_as_before();
        }
        made
    }

    /// Only syncs that have everything which is accepted by now may go.
    async fn refuse_what_waits(&self, removals: &Removals) -> Result<(), ReloadRefusal> {
        if removals.syncs.is_empty() {
            return Ok(());
        }
        let marks = removals::marks(self.syncs.delivering(), removals);
        removals::catch_up(&marks).await;
        let mut pending = self.pending().await?;
        pending.retain(|sync, _| removals.syncs.contains_key(sync));
        let waiting = removals::waiting(&marks, &pending);
        if waiting.is_empty() { Ok(()) } else { Err(ReloadRefusal::NeedsEnding(waiting)) }
    }
}

/// Whether nothing of a destination is different but the version that is live: what runs has followed that by itself.
fn follows_releases_alone(differences: &WorkspaceDifferences, name: &str) -> bool {
    let object = destination_ref(name);
    let live = SpecInput::LiveVersion.to_string();
    let found = differences.objects.iter().find(|found| found.object == object);
    found.is_some_and(|found| found.fields.is_empty() && found.inputs == [live])
}
