//! A sync that does not go on as it was: its workers end, and others take their places. It is a task of its own, so that a destination
//! that does not answer holds up nobody else, and it may be dropped wherever it waits and begun again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_pipeline::sync::Start;
use tidegate_state::StateError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::active_runtimes::ActiveRuntimes;
use super::change_plan::SyncChange;
use super::running_syncs::{
    EndBounds, RunningSync, SyncPlace, SyncSpec, WorkerEnd, WorkerNeeds, WorkerPlaces, WorkerStart,
};
use super::{destinations, endings, starts};
use crate::config::Workspace;

/// The end of a worker in a change: the batch in hand has time, a pause between two tries has none.
const BOUNDS: EndBounds = EndBounds {
    patience: Duration::from_secs(10),
    ending_max: Duration::from_secs(2),
    cut_max: Duration::from_secs(2),
};
/// For a destination with which nobody goes on; a round of its retries may be under way.
const CLOSING_MAX: Duration = Duration::from_secs(15);
/// For all of it.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// What is done to one sync.
pub(super) struct SyncRestart {
    pub(super) name: String,
    pub(super) change: SyncChange,
    pub(super) sync: Arc<RunningSync>,
    pub(super) places: WorkerPlaces,
    /// What it shall be.
    pub(super) workspace: Arc<Workspace>,
    pub(super) runtimes: Arc<ActiveRuntimes>,
    /// Of a sync that ends, where it is known.
    pub(super) source: Option<String>,
}

impl SyncRestart {
    /// Does it. The error is a sentence for the status; doing it again goes on from there.
    async fn run(self) -> Result<(), String> {
        let late = |_| format!("its change was not done within {} seconds", RESTART_MAX.as_secs());
        timeout(RESTART_MAX, self.within_bounds()).await.map_err(late)?
    }

    async fn within_bounds(&self) -> Result<(), String> {
        let ends = self.sync.end(BOUNDS).await;
        if ends.contains(&WorkerEnd::Stuck) {
            return Err("its batch in hand does not end, and nobody may take its place until it has".to_owned());
        }
        if self.change == SyncChange::Settle {
            return self.settle(ends.contains(&WorkerEnd::Cut)).await;
        }
        if self.change != SyncChange::Regather && timeout(CLOSING_MAX, self.sync.close()).await.is_err() {
            return Err("the destination that it had does not close".to_owned());
        }
        if self.change.ends() && !self.sync.has_ended() {
            self.end_in_state().await?;
            self.sync.forget().await;
        }
        if self.change == SyncChange::End {
            return Ok(());
        }
        let stays = if self.workspace.is_sync_paused(&self.name) { self.hold().await } else { self.go_on().await };
        stays.map_err(|error| error.to_string())
    }

    /// It reads no further, and its destination goes on with what is pending; one that was cut off with its worker does not.
    async fn settle(&self, is_cut: bool) -> Result<(), String> {
        if !is_cut {
            return Ok(());
        }
        self.go_on().await.map_err(|error| error.to_string())?;
        Err("its batch in hand was cut off, and it goes on with it".to_owned())
    }

    async fn end_in_state(&self) -> Result<(), String> {
        let (places, name, source) = (Arc::clone(&self.places.places), self.name.clone(), self.source.clone());
        let end = move || endings::end_sync(&places, &name, source.as_deref());
        let ended = tokio::task::spawn_blocking(end).await.map_err(|error| error.to_string())?;
        ended.map_err(|error| error.to_string())
    }

    /// It does not run, and the log keeps what waits for it. What its workers have left stays in their places.
    async fn hold(&self) -> Result<(), StateError> {
        if self.sync.has_workers().await {
            return Ok(());
        }
        let Some(spec) = SyncSpec::of(&self.workspace, &self.name) else { return Ok(()) };
        let cursor = |place: &SyncPlace| {
            let mut state = place.state()?;
            let handed = place.refiner.handed_to(spec.source());
            let start = starts::settle_one(&self.workspace, &self.name, handed, &*place.log, &mut state)?;
            Ok::<u64, StateError>(state.cursor(&self.name)?.unwrap_or(start.read_from))
        };
        let cursors: Vec<u64> = self.places.places.iter().map(cursor).collect::<Result<_, StateError>>()?;
        self.sync.hold(&self.places, &self.name, &cursors);
        Ok(())
    }

    async fn go_on(&self) -> Result<(), StateError> {
        let (workspace, name) = (&*self.workspace, &*self.name);
        let Some(spec) = SyncSpec::of(workspace, name) else { return Ok(()) };
        let places = &self.places.places;
        let start = |place: &SyncPlace| {
            let handed = place.refiner.handed_to(spec.source());
            starts::settle_one(workspace, name, handed, &*place.log, &mut place.state()?)
        };
        let starts: Vec<Start> = places.iter().map(start).collect::<Result<_, _>>()?;
        let prepare = |partition: usize, needs_destination: bool| {
            let place = &places[partition];
            let destination = || destinations::destination(workspace, &self.runtimes, name, place.state()?, None);
            let destination = needs_destination.then(destination).transpose()?;
            Ok(WorkerNeeds { state: place.state()?, destination })
        };
        let open = |partition: usize, state, from| {
            self.places.worker(&places[partition], &spec, WorkerStart { from, start: starts[partition] }, state)
        };
        self.sync.go_on(places.len(), prepare, open).await
    }
}

/// Syncs that are being changed, or could not be.
#[derive(Default)]
pub(super) struct SyncsUnderWay {
    tasks: JoinSet<Result<(), String>>,
    syncs: BTreeMap<String, SyncUnderWay>,
}

struct SyncUnderWay {
    change: SyncChange,
    source: Option<String>,
    task: AbortHandle,
    /// It could not be, and is to be tried again.
    has_failed: bool,
}

/// What came of the change of one sync.
pub(super) struct RestartedSync {
    pub(super) name: String,
    pub(super) change: SyncChange,
    /// Where it is not done, a sentence.
    pub(super) done: Result<(), String>,
}

impl SyncsUnderWay {
    /// Begins a change of a sync, in the place of one that is not done yet.
    pub(super) fn begin(&mut self, mut restart: SyncRestart) {
        if let Some(before) = self.syncs.remove(&restart.name) {
            before.task.abort();
            restart.change = both(before.change, restart.change);
            // It is the one that has not ended yet.
            restart.source = before.source.or(restart.source);
        }
        let (name, change, source) = (restart.name.clone(), restart.change, restart.source.clone());
        let task = self.tasks.spawn(restart.run());
        self.syncs.insert(name, SyncUnderWay { change, source, task, has_failed: false });
    }

    /// The next change that has come to an end; none when nothing is under way. It may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<RestartedSync> {
        loop {
            let (id, done) = match self.tasks.join_next_with_id().await? {
                Ok(done) => done,
                Err(error) if error.is_cancelled() => continue,
                Err(error) => (error.id(), Err(format!("its change broke off: {error}"))),
            };
            let found = self.syncs.iter_mut().find(|(_, one)| one.task.id() == id);
            let Some((name, one)) = found else { continue };
            let (name, change) = (name.clone(), one.change);
            one.has_failed = done.is_err();
            if done.is_ok() {
                self.syncs.remove(&name);
            }
            return Some(RestartedSync { name, change, done });
        }
    }

    /// Whether none is being changed just now.
    pub(super) fn is_settled(&self) -> bool {
        self.syncs.values().all(|one| one.has_failed)
    }

    /// Those that are being changed, or could not be.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.syncs.keys().map(String::as_str)
    }

    /// Those that could not be changed, and what is to be done to them.
    pub(super) fn failed(&self) -> Vec<(String, SyncChange)> {
        let failed = self.syncs.iter().filter(|(_, one)| one.has_failed);
        failed.map(|(name, one)| (name.clone(), one.change)).collect()
    }

    /// Cuts all of them off.
    pub(super) async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// What is to be done where one change was not done before the next.
fn both(before: SyncChange, next: SyncChange) -> SyncChange {
    match next {
        // Nothing has ended it yet: it is there, and another one of its name begins.
        SyncChange::Start if before == SyncChange::End => SyncChange::Replace,
        next => next.max(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_not_done_is_not_forgotten_by_the_next() {
        use SyncChange::{End, Pause, Regather, Reopen, Replace, Resume, Settle, Start};

        for (before, next, wanted) in [
            (Reopen, Regather, Reopen),
            (Regather, Reopen, Reopen),
            (Start, Regather, Regather),
            (Start, Start, Start),
            (Reopen, End, End),
            (End, Start, Replace),
            (Replace, Regather, Replace),
            (Replace, Pause, Replace),
            (Regather, Pause, Pause),
            (Pause, Resume, Pause),
            (Settle, Regather, Regather),
            (Settle, End, End),
            (End, End, End),
        ] {
            assert_eq!(both(before, next), wanted, "{before:?} {next:?}");
        }
    }
}
