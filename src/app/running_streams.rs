//! The streams of one environment while it runs: each source that reads one has a task of its own, which is begun, ended and begun anew as
//! what runs changes.
//!
//! A stream that changes ends first: what it has read is in the log and acknowledged, or comes again to the one that takes its
//! place. Two of one source never read at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_api_types::stream::ShownStream;
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_log::LogPartitions;
use tidegate_process::clock;
use tidegate_source::http::Entrance;
use tidegate_source::streams::{SeekOrder, StreamBoard, StreamOrders, StreamRunner, StreamSources};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::shared_leases::EnvironmentLeases;
use super::stream_checkpoints::StateCheckpoints;
use super::{paths, stream_report};
use crate::api::shown_stream;
use crate::config::{SpecHash, StreamSourceConfig, Workspace};

/// How long what a stream has read may take into the log when it ends while the server goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when the server stops.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);
/// Between two reports for `tidegate status`.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// Orders to go on elsewhere that may wait.
const SEEKS_MAX: usize = 4;

type StreamTurn = Arc<tokio::sync::Mutex<()>>;

/// Clones are the same streams.
#[derive(Clone)]
pub(super) struct RunningStreams(Arc<SharedStreams>);

struct SharedStreams {
    log: LogPartitions,
    entrance: watch::Receiver<Arc<Entrance>>,
    data: PathBuf,
    leases: Option<EnvironmentLeases>,
    cores: usize,
    background: Handle,
    /// For whoever asks.
    sources: StreamSources,
    running: Mutex<StreamsInPlace>,
}

#[derive(Default)]
struct StreamsInPlace {
    streams: BTreeMap<String, StreamInPlace>,
    /// Of each source that ever read a stream: whoever has its turn, nobody else reads.
    turns: BTreeMap<String, StreamTurn>,
    /// Nothing runs before the engine does, and nothing after its end.
    runs: bool,
}

/// A source that reads a stream, whether it does so now or not.
struct StreamInPlace {
    board: Arc<StreamBoard>,
    /// Held by the task that reads.
    turn: StreamTurn,
    task: Option<StreamTask>,
}

/// A task that reads.
struct StreamTask {
    spec: SpecHash,
    stop: watch::Sender<Option<Duration>>,
}

/// What the streams of an environment need.
pub(super) struct StreamParts {
    pub(super) log: LogPartitions,
    /// Where rates and lanes are.
    pub(super) entrance: watch::Receiver<Arc<Entrance>>,
    pub(super) data: PathBuf,
    /// Where servers share streams.
    pub(super) leases: Option<EnvironmentLeases>,
    pub(super) cores: usize,
    /// Where they run.
    pub(super) background: Handle,
}

impl RunningStreams {
    /// None runs yet.
    pub(super) fn new(parts: StreamParts) -> Self {
        let StreamParts { log, entrance, data, leases, cores, background } = parts;
        let (sources, running) = (StreamSources::default(), Mutex::default());
        Self(Arc::new(SharedStreams { log, entrance, data, leases, cores, background, sources, running }))
    }

    /// For whoever asks how they are, or has one go on elsewhere.
    pub(super) fn sources(&self) -> StreamSources {
        self.0.sources.clone()
    }

    /// Begins those of `workspace`. They end when `stop` turns true, and what they say of themselves is kept for `tidegate status` until
    /// then.
    pub(super) fn begin(&self, workspace: &Workspace, stop: watch::Receiver<bool>) {
        self.0.running.lock().runs = true;
        self.put(workspace, &HashSet::new());
        self.0.background.spawn(self.clone().keep_report(stop));
    }

    /// They are as `workspace` says from now on; those of `held` sources read nothing. It is not waited for what ends.
    pub(super) fn put(&self, workspace: &Workspace, held: &HashSet<Arc<str>>) {
        let mut running = self.0.running.lock();
        if !running.runs {
            return;
        }
        let wanted: BTreeMap<&String, &StreamSourceConfig> = workspace
            .sources
            .iter()
            .filter(|(name, _)| !workspace.ending.sources.contains(*name))
            .filter_map(|(name, source)| Some((name, source.stream.as_ref()?)))
            .collect();
        // One that cannot run for now keeps what it has counted.
        let is_known = |name: &String| wanted.contains_key(name) || workspace.left_out_sources.contains_key(name);
        let gone: Vec<String> = running.streams.keys().filter(|name| !is_known(name)).cloned().collect();
        for name in gone {
            if let Some(mut stream) = running.streams.remove(&name) {
                stream.end(PATIENCE);
                self.0.sources.remove(&name);
            }
        }
        let left_out: Vec<String> = running.streams.keys().filter(|name| !wanted.contains_key(name)).cloned().collect();
        for name in left_out {
            if let Some(stream) = running.streams.get_mut(&name) {
                stream.end(PATIENCE);
                self.0.sources.list(&name, Arc::clone(&stream.board), None);
            }
        }
        for (name, config) in wanted {
            let turn = Arc::clone(running.turns.entry(name.clone()).or_default());
            let stream = running.streams.entry(name.clone()).or_insert_with(|| StreamInPlace::of(config, turn));
            let is_paused = workspace.is_paused(ObjectRefKind::Source, name);
            let is_open = !is_paused && !held.contains(name.as_str());
            stream.board.pause(is_paused);
            let spec = workspace.specs.get(&ObjectRef::new(ObjectRefKind::Source, name.as_str()));
            let spec = spec.map(|spec| spec.hash).filter(|_| is_open);
            if stream.task.as_ref().map(|task| task.spec) == spec {
                if spec.is_none() {
                    self.0.sources.list(name, Arc::clone(&stream.board), None);
                }
                continue;
            }
            stream.end(PATIENCE);
            let seeks = spec.map(|spec| self.start(stream, (name.as_str(), spec), (config, workspace)));
            self.0.sources.list(name, Arc::clone(&stream.board), seeks);
        }
    }

    /// Begins to read, once whoever read before has ended.
    fn start(
        &self,
        stream: &mut StreamInPlace,
        (name, spec): (&str, SpecHash),
        (config, workspace): (&StreamSourceConfig, &Workspace),
    ) -> mpsc::Sender<SeekOrder> {
        let (stop, stops) = watch::channel(None);
        let (seeks, asked) = mpsc::channel(SEEKS_MAX);
        stream.board.moves(config.origin.kind(), config.origin.place());
        let runner = StreamRunner {
            source: name.into(),
            origin: Arc::clone(&config.origin),
            settings: Arc::clone(&config.settings),
            limits: workspace.limits.clone(),
            log: self.0.log.clone(),
            entrance: self.0.entrance.clone(),
            checkpoints: Arc::new(StateCheckpoints::new(paths::state(&self.0.data), name, self.0.leases.clone())),
            board: Arc::clone(&stream.board),
            cores: self.0.cores,
        };
        let (turn, mut ended) = (Arc::clone(&stream.turn), stops.clone());
        self.0.background.spawn(async move {
            let turn = tokio::select! {
                biased;
                _ = ended.wait_for(Option::is_some) => return,
                turn = turn.lock_owned() => turn,
            };
            runner.run(StreamOrders { stop: stops, seeks: asked }).await;
            drop(turn);
        });
        stream.task = Some(StreamTask { spec, stop });
        seeks
    }

    /// Has the streams of `sources` end, and waits until they have; false when that takes longer than `most`. Another [`Self::put`] lets
    /// them go on.
    pub(super) async fn hold(&self, workspace: &Workspace, sources: &BTreeSet<String>, most: Duration) -> bool {
        self.put(workspace, &sources.iter().map(|name| name.as_str().into()).collect());
        let turns: Vec<_> = {
            let running = self.0.running.lock();
            sources.iter().filter_map(|name| running.turns.get(name).map(Arc::clone)).collect()
        };
        all_are_over(turns, most).await
    }

    /// Waits until every stream has ended, which the stop of the server has told it to.
    pub(super) async fn end(&self) {
        let turns = self.stop();
        all_are_over(turns, STOP_PATIENCE * 2).await;
    }

    /// Tells all of them to end, and lets none begin any more.
    fn stop(&self) -> Vec<StreamTurn> {
        let mut running = self.0.running.lock();
        running.runs = false;
        running.streams.values_mut().for_each(|stream| stream.end(STOP_PATIENCE));
        running.turns.values().map(Arc::clone).collect()
    }

    /// Keeps what the streams say of themselves in a file, until `stop` turns true; then they end.
    async fn keep_report(self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(REPORT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => true,
                _ = tick.tick() => false,
            };
            if is_over {
                break;
            }
            self.write_report().await;
        }
        let turns = self.stop();
        all_are_over(turns, STOP_PATIENCE * 2).await;
        self.write_report().await;
    }

    async fn write_report(&self) {
        let now_us = clock::now_us();
        let reports = self.0.sources.reports(now_us);
        let streams: Vec<ShownStream> =
            reports.into_iter().map(|(source, report)| shown_stream(&source, report)).collect();
        let path = paths::streams(&self.0.data);
        let write = move || stream_report::write(&path, now_us, streams);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            let file = paths::streams(&self.0.data);
            tracing::warn!(file = %file.display(), error = %error, "how streams are could not be kept for the status");
        }
    }
}

/// Waits until nobody reads any more; false when that takes longer than `most`.
async fn all_are_over(turns: Vec<StreamTurn>, most: Duration) -> bool {
    let over = async {
        for turn in turns {
            drop(turn.lock().await);
        }
    };
    timeout(most, over).await.is_ok()
}

impl StreamInPlace {
    fn of(config: &StreamSourceConfig, turn: StreamTurn) -> Self {
        let board = Arc::new(StreamBoard::new(config.origin.kind(), config.origin.place()));
        Self { board, turn, task: None }
    }

    /// Tells the task that reads to end; what it has read may take so long.
    fn end(&mut self, patience: Duration) {
        if let Some(task) = self.task.take() {
            task.stop.send_replace(Some(patience));
        }
    }
}
