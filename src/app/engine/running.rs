//! An engine at work: its parts begin, and end in the order in which events flow, so that whatever was accepted has a place to go.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tidegate_log::LogPartitions;
use tidegate_state::{Identity, State};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task;

use super::WorkspaceEngine;
use crate::app::keeper::{self, Keeper};
use crate::app::live::Live;
use crate::app::partitions::{KeptPartition, OpenPartition};
use crate::app::running_streams::RunningStreams;
use crate::app::running_syncs::RunningSyncs;
use crate::app::stop::{self, Budget, join};
use crate::app::{paths, startup, traces};

/// An engine that runs.
pub(in crate::app) struct RunningEngine {
    log: LogPartitions,
    streams: RunningStreams,
    keeping: task::JoinHandle<Option<Keeper>>,
    writers: Vec<JoinHandle<()>>,
    refiners: Vec<JoinHandle<()>>,
    parts: task::JoinHandle<RunningSyncs>,
    /// Kept until the last batch is through: the far end of the rules.
    live: Arc<Live>,
    state: State,
    identity: (Identity, PathBuf),
}

/// An engine through which nothing flows any more.
pub(in crate::app) struct EndedEngine {
    state: State,
    identity: (Identity, PathBuf),
    /// The disk failed.
    pub(in crate::app) is_poisoned: bool,
    /// The most records that any sync leaves in the log.
    pub(in crate::app) records_waiting: u64,
}

impl WorkspaceEngine {
    /// Lets everything work until `stop` turns true, and reads the folder again as often as `hung_up` asks for it. With it the
    /// partitions of the log, which somebody has to watch over.
    pub(in crate::app) fn run(
        self,
        background: &Handle,
        hung_up: mpsc::Receiver<()>,
        stop: &watch::Receiver<bool>,
    ) -> (RunningEngine, Vec<KeptPartition>) {
        let Self {
            log,
            archive,
            partitions,
            streams,
            parts,
            state,
            live,
            runtimes,
            builder,
            identity,
            keeper,
            retries,
            forgets,
            replays,
            alerts,
            rebuilds,
            retention,
            to_check,
        } = self;
        let (mut parts, ready, asked) = parts;
        let data = &identity.1;
        if let Err(error) = keeper::check_in_background(data, to_check.0, to_check.1) {
            tracing::warn!(error = %error, "large files of the data directory are not checked");
        }
        background.spawn(builder.run(stop.clone()));
        // Whoever was told that a version is live may send its first event at once: this gives way to nobody.
        tokio::spawn(Arc::clone(&live).follow(stop.clone()));
        tokio::spawn(runtimes.follow(stop.clone()));
        let keeping = background.spawn(keeper.run(stop.clone()));
        background.spawn(retries.run(stop.clone()));
        background.spawn(traces::keep_indexed(log.clone(), stop.clone()));
        background.spawn(forgets.run(stop.clone()));
        background.spawn(replays.run(stop.clone()));
        background.spawn(alerts.run(stop.clone()));
        if let Some(archive) = &archive {
            background.spawn(Arc::clone(archive).run(stop.clone()));
        }
        background.spawn(rebuilds.run(stop.clone()));
        background.spawn(retention.run(stop.clone()));
        let (mut kept, mut writers, mut refiners) = (Vec::new(), Vec::new(), Vec::new());
        for OpenPartition { log, writer, refiner, state, .. } in partitions {
            let dedup = paths::dedup(data, state.partition());
            let (cursors, archive) = (parts.syncs().cursors(), archive.clone());
            kept.push(KeptPartition { dedup, log, cursors, state, unkept: 0, archive });
            writers.push(writer);
            refiners.push(refiner);
        }
        ready.into_iter().for_each(|workers| parts.syncs().run(workers));
        parts.begin_streams(stop.clone());
        let parts = background.spawn(parts.serve(asked, hung_up, stop.clone()));
        (RunningEngine { log, streams, keeping, writers, refiners, parts, live, state, identity }, kept)
    }
}

impl RunningEngine {
    /// Ends it, once no request comes any more: what was accepted is delivered while the time lasts, and the log keeps the rest.
    pub(in crate::app) async fn end(self, mut time: Budget) -> EndedEngine {
        let Self { log, streams, keeping, writers, refiners, parts, live, state, identity } = self;
        time.step("the streams of sources", stop::STREAMS_MAX, streams.end()).await;
        time.step("what write keys were used for", stop::KEEPER_MAX, Keeper::end(keeping)).await;
        log.close();
        let is_poisoned = log.is_poisoned();
        time.step("the writer of the log", stop::WRITER_MAX, join(writers)).await;
        // They change no more since the order to stop.
        let syncs = tokio::time::timeout(stop::PARTS_MAX, parts).await.ok().and_then(Result::ok);
        if let Some(syncs) = syncs.as_ref().filter(|_| !is_poisoned) {
            time.drain(&syncs.delivering()).await;
        }
        // With the last handle of the refiners, which end then.
        let records_waiting = match syncs {
            Some(syncs) => time.end(syncs).await,
            None => {
                tracing::warn!(
                    "left behind at the stop: a change of what runs did not end in time; what was not delivered waits in the log"
                );
                0
            }
        };
        time.step("the refiner", stop::REFINER_MAX, join(refiners)).await;
        drop(live);
        EndedEngine { state, identity, is_poisoned, records_waiting }
    }
}

impl EndedEngine {
    /// A copy of the state that was made while this process ran is an older one from now on.
    pub(in crate::app) fn advance(mut self) {
        let (identity, data) = &mut self.identity;
        if let Err(error) = startup::advance(&mut self.state, identity, data) {
            tracing::warn!(error = %error, "could not mark the state as the latest");
        }
    }
}
