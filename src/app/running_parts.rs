//! What runs, in one pair of hands: it reads the workspace again when it is asked to, or resolves it with the catalog as a change would leave
//! that, finds what is different, and changes part by part.
//!
//! The order of a change: everything new is loaded and opened first, and what is wrong is refused whole, so that all goes on as it was.
//! What ends by it is written down. Then the catalog is changed, if that is what was ordered: from there on the change is made, and a start
//! that follows runs it. Then the rules change, the runtimes of destinations, the syncs (each in a task of its own), and the door; what is
//! gone goes last. From the rules on nothing refuses the whole: an object that does not follow says why in its status, and is tried again.

mod draining;
mod preparing;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::reload::Reloaded;
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{CatalogOrder, Committed};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::active_runtimes::{self, ActiveRuntimes, NextRuntime};
use super::change_plan::{self, ChangePlan, SyncChange};
use super::door;
use super::endings::DrainingSyncs;
use super::followers::{FollowedFolder, Followers};
use super::live::{Live, NextLive};
use super::removals::{AskedEndings, Removals};
use super::running_door::RunningDoor;
use super::running_environments::RunningEnvironments;
use super::running_report::{RunningReport, differing_objects};
use super::running_streams::RunningStreams;
use super::running_syncs::RunningSyncs;
use super::sync_restart::{RestartedSync, SyncRestart, SyncsUnderWay};
use super::told_changes::tell;
use super::what_runs::{ToldWorkspace, WantedWorkspace, WorkspaceReader};
use crate::api::{OrderDone, OrderedChange, ReloadRefusal, ReloadRequest};
use crate::config::differences::WorkspaceDifferences;
use crate::config::{DestinationKind, Workspace, WorkspaceDocuments};

/// Compiling and trying functions.
const LOADING_MAX: Duration = Duration::from_secs(90);
/// For a release that is being put in place.
const HOLD_MAX: Duration = Duration::from_secs(60);
/// How long an answer waits for syncs to change hands. What takes longer goes on, and the status shows it.
const ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// Between two looks at what does not run as it shall.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks at what drains.
const DRAINING_INTERVAL: Duration = Duration::from_millis(500);
/// For changes that a stop cuts off.
const CUT_MAX: Duration = Duration::from_millis(300);

/// Everything that runs and that a change may touch.
pub(super) struct RunningParts {
    /// Of the environment.
    name: String,
    environments: RunningEnvironments,
    /// As it was at the start: some settings count from there.
    started: Arc<Workspace>,
    /// What the files of the folder and the catalog say.
    told: Arc<ToldWorkspace>,
    /// The same, without what cannot run.
    overlaid: Arc<WorkspaceDocuments>,
    /// The same with what drains beside it.
    documents: Arc<WorkspaceDocuments>,
    workspace: Arc<Workspace>,
    draining: DrainingSyncs,
    /// Syncs that drain and read no further.
    settled: BTreeSet<String>,
    /// When it is looked again whether what drains can be ended.
    drained_again_at: Instant,
    /// Objects that cannot run, each with the reason.
    left_out: BTreeMap<ObjectRef, String>,
    /// Those of them that cannot be loaded.
    unloadable: BTreeMap<ObjectRef, String>,
    /// What fingerprints are made under.
    key: String,
    live: Arc<Live>,
    runtimes: Arc<ActiveRuntimes>,
    syncs: RunningSyncs,
    door: RunningDoor,
    streams: RunningStreams,
    followers: Followers,
    reader: WorkspaceReader,
    report: RunningReport,
    report_file: PathBuf,
    state_file: PathBuf,
    under_way: SyncsUnderWay,
}

/// What a change needs to know of what runs.
pub(super) struct PartsAtStart {
    pub(super) name: String,
    pub(super) environments: RunningEnvironments,
    pub(super) wanted: WantedWorkspace,
    pub(super) draining: DrainingSyncs,
    pub(super) key: String,
    pub(super) live: Arc<Live>,
    pub(super) runtimes: Arc<ActiveRuntimes>,
    pub(super) syncs: RunningSyncs,
    pub(super) door: RunningDoor,
    pub(super) streams: RunningStreams,
    pub(super) followers: Followers,
    pub(super) reader: WorkspaceReader,
    /// `running.json` and the state.
    pub(super) files: (PathBuf, PathBuf),
}

/// What is new and open, and seen by nobody yet.
struct NextParts {
    wanted: WantedWorkspace,
    plan: ChangePlan,
    differences: WorkspaceDifferences,
    live: NextLive,
    runtimes: Vec<(String, NextRuntime)>,
    /// Sources and syncs that go.
    removals: Removals,
    /// What becomes of those, where somebody says.
    decided: AskedEndings,
}

impl RunningParts {
    /// What runs after a start.
    pub(super) fn new(parts: PartsAtStart) -> Self {
        let PartsAtStart { name, environments, wanted, draining, key, live, .. } = parts;
        let PartsAtStart { runtimes, syncs, door, streams, followers, reader, files, .. } = parts;
        let WantedWorkspace { told, overlaid, whole: (documents, workspace), left_out, unloadable, .. } = wanted;
        let of_catalog = wanted.revision;
        let revision = live.rules().borrow().revision;
        let (report_file, state_file) = files;
        environments.settle(&name, &workspace);
        let mut running = Self {
            name,
            environments,
            started: Arc::clone(&workspace),
            report: RunningReport::begin(&workspace, revision),
            told,
            overlaid,
            documents,
            workspace,
            draining,
            settled: BTreeSet::new(),
            drained_again_at: Instant::now(),
            left_out,
            unloadable,
            key,
            live,
            runtimes,
            syncs,
            door,
            streams,
            followers,
            reader,
            report_file,
            state_file,
            under_way: SyncsUnderWay::default(),
        };
        running.report.catalog_revision = of_catalog;
        running.tell_folder();
        running.note_errors();
        running.keep_report();
        running
    }

    pub(super) fn syncs(&mut self) -> &mut RunningSyncs {
        &mut self.syncs
    }

    /// Begins to read what sources read that are streams; it ends when `stop` turns true.
    pub(super) fn begin_streams(&self, stop: watch::Receiver<bool>) {
        self.streams.begin(&self.workspace, stop);
    }

    /// Nothing comes of a change: sources take in what they took in before.
    fn open_as_before(&self) {
        self.door.put(&self.workspace, HashSet::new());
        self.streams.put(&self.workspace, &HashSet::new());
    }

    /// Changes what runs as often as it is asked to, one change at a time, until `stop` turns true; the syncs as they are then. No change
    /// is made after that, and one that was under way is left where it is.
    pub(super) async fn serve(
        mut self,
        mut asked: mpsc::Receiver<ReloadRequest>,
        mut hung_up: mpsc::Receiver<()>,
        mut stop: watch::Receiver<bool>,
    ) -> RunningSyncs {
        let mut rules = self.live.rules();
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look_at_draining = interval(DRAINING_INTERVAL);
        look_at_draining.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut is_look_due = false;
            // What comes at its time comes before orders, of which there may be one always.
            let request = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(done) = self.under_way.next() => {
                    self.note_restart(&done);
                    self.keep_report();
                    continue;
                }
                Ok(()) = rules.changed() => {
                    let revision = rules.borrow_and_update().revision;
                    if revision != self.report.revision {
                        self.report.follow(revision);
                        self.keep_report();
                    }
                    continue;
                }
                _ = look_at_draining.tick(), if !self.draining.kept().is_empty() => {
                    is_look_due = true;
                    None
                }
                _ = look.tick() => {
                    self.look();
                    continue;
                }
                Some(()) = hung_up.recv() => None,
                Some(request) = asked.recv() => Some(request),
            };
            if is_look_due {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = self.look_at_draining() => continue,
                }
            }
            let (what, endings, reply) = match request {
                Some(ReloadRequest { what, endings, reply }) => (what, endings, Some(reply)),
                None => (OrderedChange::Folder, AskedEndings::new(), None),
            };
            let answer = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Err(ReloadRefusal::Stopping),
                answer = self.change(&what, &endings) => answer,
            };
            tell(&self.name, &what, &answer);
            if let Some(reply) = reply {
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
        }
        // One that does not let go keeps its own sync alone.
        let _ = timeout(CUT_MAX, self.under_way.cut()).await;
        self.syncs
    }

    /// What an order leads to is resolved, and what is different is changed.
    async fn change(&mut self, what: &OrderedChange, asked: &AskedEndings) -> Result<OrderDone, ReloadRefusal> {
        let order = match what {
            OrderedChange::Folder => None,
            OrderedChange::Catalog { order, is_dry_run } => Some((&**order, *is_dry_run)),
        };
        let kept = self.kept_but(asked);
        let Some((order, is_dry_run)) = order else {
            let wanted = self.reader.of_folder(kept, &self.left_out).await?;
            return self.put(wanted, asked, None).await;
        };
        // Who may not do it is told before anything is read for them.
        let preview = self.reader.preview(order).await?;
        if preview.committed.is_repeated {
            return Ok(OrderDone { running: self.as_it_is(), committed: Some(preview.committed) });
        }
        let wanted = self.reader.of_order(&self.told.folder, kept, (order, &preview), &self.left_out).await?;
        if is_dry_run {
            self.claim(&wanted).await?;
            let prepared = self.prepare(wanted, asked).await;
            self.environments.settle(&self.name, &self.workspace);
            prepared?;
            return Ok(OrderDone { running: self.as_it_is(), committed: Some(preview.committed) });
        }
        self.put(wanted, asked, Some((order, &preview.committed))).await
    }

    /// What runs, of which nothing was changed.
    fn as_it_is(&self) -> Reloaded {
        Reloaded {
            revision: self.report.revision,
            settings: Vec::new(),
            changed: Vec::new(),
            syncs: BTreeMap::new(),
            draining: self.draining.kept().keys().cloned().collect(),
            needs_restart: self.report.needs_restart.clone(),
            behind: self.report.behind(),
        }
    }

    /// Puts another workspace in the place of the one that runs, and changes the catalog on the way, if that was `ordered`: the order,
    /// and what it would come to.
    async fn put(
        &mut self,
        wanted: WantedWorkspace,
        asked: &AskedEndings,
        ordered: Option<(&CatalogOrder, &Committed)>,
    ) -> Result<OrderDone, ReloadRefusal> {
        self.claim(&wanted).await?;
        let done = self.put_claimed(wanted, asked, ordered).await;
        self.environments.settle(&self.name, &self.workspace);
        done
    }

    /// Takes what `wanted` has, so that no other environment takes it meanwhile.
    async fn claim(&self, wanted: &WantedWorkspace) -> Result<(), ReloadRefusal> {
        let workspace = &wanted.whole.1;
        let keys = self.reader.write_keys().await?;
        let taken = door::keys_of_others(&keys, &self.name, workspace);
        if !taken.is_empty() {
            return Err(ReloadRefusal::Problems(taken));
        }
        self.environments.claim(&self.name, workspace).map_err(ReloadRefusal::Problems)
    }

    /// The same, where no other environment has anything of it.
    async fn put_claimed(
        &mut self,
        wanted: WantedWorkspace,
        asked: &AskedEndings,
        ordered: Option<(&CatalogOrder, &Committed)>,
    ) -> Result<OrderDone, ReloadRefusal> {
        let (live, runtimes) = (Arc::clone(&self.live), Arc::clone(&self.runtimes));
        let hold = async { (live.hold().await, runtimes.hold().await) };
        let busy = |_| ReloadRefusal::Failed("a release is being put in place, and that takes long".to_owned());
        let _held = timeout(HOLD_MAX, hold).await.map_err(busy)?;
        let next = self.prepare(wanted, asked).await?;
        self.make_way_for(&next).await?;
        let begun = match self.begin_endings(&next, ordered.map(|(_, preview)| preview)) {
            Ok(begun) => begun,
            Err(refusal) => {
                self.open_as_before();
                return Err(refusal);
            }
        };
        let committed = match self.commit(ordered.map(|(order, _)| order)).await {
            Ok(committed) => committed,
            Err(refusal) => {
                self.draining.take_back(&begun, &self.state_file);
                self.open_as_before();
                return Err(refusal);
            }
        };
        let revision = match self.live.put(next.live) {
            Ok(revision) => revision,
            Err(error) => {
                self.open_as_before();
                let error = error.to_string();
                if committed.is_some() {
                    // What ends by the change is written down, and a start goes by that.
                    return Err(ReloadRefusal::NotInPlace(error));
                }
                self.draining.take_back(&begun, &self.state_file);
                return Err(ReloadRefusal::Failed(error));
            }
        };
        // From here on nothing refuses the whole.
        let NextParts { wanted, plan, differences, runtimes, removals, .. } = next;
        let WantedWorkspace { told, overlaid, whole: (documents, workspace), left_out, unloadable, .. } = wanted;
        let of_catalog = wanted.revision;
        let before = std::mem::replace(&mut self.workspace, workspace);
        (self.told, self.overlaid, self.documents, self.left_out) = (told, overlaid, documents, left_out);
        self.unloadable = unloadable;
        self.tell_folder();
        if let Err(error) = self.draining.begun(begun) {
            tracing::error!(error = %error, "endings.json could not be written; the next start ends what it names and has no end");
        }
        self.settled.retain(|sync| self.draining.kept().contains_key(sync));
        self.report.catalog_revision = committed.as_ref().map_or(of_catalog, |committed| committed.revision);
        let workspace = Arc::clone(&self.workspace);
        self.followers.grants.send_replace(Arc::new(active_runtimes::grants(&workspace)));
        self.note_plugins(&workspace);
        for (name, next) in runtimes {
            self.runtimes.put(&name, next);
        }
        let mut changed = differing_objects(&before, &workspace);
        changed.extend(plan.syncs.keys().map(|name| ObjectRef::new(ObjectRefKind::Sync, name.as_str())));
        self.report.want(&workspace, revision, &changed);
        for (name, change) in &plan.syncs {
            let source = before.syncs.get(name).map(|sync| sync.source.0.clone()).filter(|_| change.ends());
            self.restart(name, *change, source);
        }
        self.settle_syncs().await;
        if plan.door || !removals.sources.is_empty() {
            self.door.put(&workspace, HashSet::new());
        }
        // Behind the door, where rates and lanes are.
        self.streams.put(&workspace, &HashSet::new());
        self.runtimes.retain(&used_plugins(&workspace));
        self.followers.runs(&workspace);
        let needs_restart = change_plan::needs_restart(&self.started, &workspace);
        self.report.paused = workspace.paused();
        self.report.needs_restart = needs_restart.into_iter().map(str::to_owned).collect();
        self.note_errors();
        self.reader.catalog.note(&workspace);
        if ordered.is_none()
            && let Some(revision) = self.reader.catalog.follow(&self.told.folder).await
        {
            self.report.catalog_revision = revision;
        }
        self.keep_report();
        let running = Reloaded {
            revision,
            settings: differences.settings,
            changed: differences.objects,
            syncs: plan.syncs.iter().map(|(name, change)| (name.clone(), change.as_str().to_owned())).collect(),
            draining: self.draining.kept().keys().cloned().collect(),
            needs_restart: self.report.needs_restart.clone(),
            behind: self.report.behind(),
        };
        Ok(OrderDone { running, committed })
    }

    /// Tells whoever tries objects out what they would run beside.
    fn tell_folder(&self) {
        let (left_out, unloadable) = (self.left_out.clone(), self.unloadable.clone());
        let documents = Arc::clone(&self.told.folder);
        self.followers.folder.send_replace(Some(Arc::new(FollowedFolder { documents, left_out, unloadable })));
    }

    /// Changes the catalog as it was ordered.
    async fn commit(&self, order: Option<&CatalogOrder>) -> Result<Option<Committed>, ReloadRefusal> {
        let Some(order) = order else { return Ok(None) };
        fail::fail_point!("endings_written");
        let committed = self.reader.catalog.execute(order).await;
        let committed = committed.map_err(|error| ReloadRefusal::Catalog(Box::new(error)))?;
        fail::fail_point!("catalog_committed");
        Ok(Some(committed))
    }

    /// What the files of destinations say, where no runtime is opened by it.
    fn note_plugins(&self, workspace: &Workspace) {
        for name in workspace.destinations.keys() {
            if let Some(config) = plugin(workspace, name) {
                self.runtimes.note(name, config);
            }
        }
    }

    /// Changes one sync in a task of its own, in the place of a change that is not done yet.
    fn restart(&mut self, name: &str, change: SyncChange, source: Option<String>) {
        self.settled.remove(name);
        self.under_way.begin(SyncRestart {
            name: name.to_owned(),
            change,
            source,
            sync: self.syncs.sync(name),
            places: self.syncs.places(),
            workspace: Arc::clone(&self.workspace),
            runtimes: Arc::clone(&self.runtimes),
        });
    }

    /// Waits for syncs that are changing hands, but not for long.
    async fn settle_syncs(&mut self) {
        let until = Instant::now() + ANSWER_MAX;
        while !self.under_way.is_settled() {
            match timeout_at(until, self.under_way.next()).await {
                Ok(Some(done)) => self.note_restart(&done),
                Ok(None) | Err(_) => break,
            }
        }
        let mut waiting: BTreeSet<ObjectRef> = self.under_way.names().map(sync_ref).collect();
        waiting.extend(self.runtimes.errors().keys().map(|name| destination_ref(name)));
        self.report.run_all_but(&waiting);
    }

    fn note_restart(&mut self, RestartedSync { name, change, done }: &RestartedSync) {
        match done {
            Ok(()) => {
                match change {
                    SyncChange::End => self.syncs.remove(name),
                    SyncChange::Settle => {
                        self.settled.insert(name.clone());
                    }
                    _ => {}
                }
                self.report.runs(&sync_ref(name));
                tracing::debug!(sync = &**name, change = change.as_str(), "a sync has changed");
            }
            Err(error) => {
                tracing::error!(sync = &**name, error = &**error, "a sync could not be changed; it is tried again");
                self.report.fails(&sync_ref(name), error);
            }
        }
    }

    /// Looks at what does not run as it shall, and tries it again.
    fn look(&mut self) {
        for (name, change) in self.under_way.failed() {
            self.restart(&name, change, None);
        }
        let before = self.report.behind();
        self.note_errors();
        if before != self.report.behind() {
            self.keep_report();
        }
    }

    /// Takes over what destinations say of themselves.
    fn note_errors(&mut self) {
        let errors = self.runtimes.errors();
        let failing: Vec<ObjectRef> = self.report.behind().into_iter().map(|one| one.object).collect();
        for object in failing.iter().filter(|object| object.kind == ObjectRefKind::Destination) {
            if !errors.contains_key(&object.key) && !self.left_out.contains_key(object) {
                self.report.runs(object);
            }
        }
        for (name, error) in &errors {
            self.report.fails(&destination_ref(name), error);
        }
        self.report.leave_out(&self.left_out);
    }

    fn keep_report(&self) {
        self.followers.report.send_replace(Arc::new(self.report.now()));
        if let Err(error) = self.report.write(&self.report_file) {
            tracing::warn!(file = %self.report_file.display(), error = %error, "what runs could not be kept for the status");
        }
    }
}

fn sync_ref(name: &str) -> ObjectRef {
    ObjectRef::new(ObjectRefKind::Sync, name)
}

fn destination_ref(name: &str) -> ObjectRef {
    ObjectRef::new(ObjectRefKind::Destination, name)
}

/// What the file of a destination says that is a plugin and that a sync uses.
fn plugin<'w>(workspace: &'w Workspace, name: &str) -> Option<&'w crate::config::PluginConfig> {
    let is_used = workspace.syncs.values().any(|sync| sync.destination.0 == name);
    match &workspace.destinations.get(name).filter(|_| is_used)?.kind {
        DestinationKind::Plugin(config) => Some(&**config),
        DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => None,
    }
}

fn used_plugins(workspace: &Workspace) -> BTreeSet<&str> {
    workspace.destinations.keys().map(String::as_str).filter(|name| plugin(workspace, name).is_some()).collect()
}
