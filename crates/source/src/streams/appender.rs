//! Appends batches in the order of the reads: one task hands mapped records to the log, another waits until they are durable. What the log has
//! no room for waits here, and is tried again.
//!
//! A log may say late that its disk is full, and take something smaller meanwhile. So each of its partitions is handed nothing before what it was
//! handed last is durable: the records of a user stay in their order. What was mapped for a partition by then goes in one append.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tidegate_log::{AppendError, Frames, Log, LogPartitions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::batch::{AppendedBatch, BATCHES_MAX, FramedAppend, FramedBatch, MappingBatch};
use super::board::StreamBoard;
use crate::http::{Entrance, Meter};

/// Between two tries of what the log has no room for: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Records that go to a partition at once, about.
const GATHERED_BYTES_MAX: usize = 2 << 20;

/// Hands batches to the log.
pub(super) struct Appender {
    pub(super) source: Arc<str>,
    pub(super) log: LogPartitions,
    /// Where the meter of the source is, with its lane.
    pub(super) entrance: watch::Receiver<Arc<Entrance>>,
    pub(super) board: Arc<StreamBoard>,
}

/// Batches go in at one end, and come out at the other when they are durable. Dropped it stops; what the log has by then, it has.
pub(super) struct AppendPipeline {
    batches: mpsc::Sender<MappingBatch>,
    appended: mpsc::Receiver<AppendedBatch>,
    tasks: [JoinHandle<()>; 2],
    has_lost_mapping: Arc<AtomicBool>,
}

/// Why a batch was not handed over.
enum SubmitProblem {
    Log(AppendError),
    /// What maps its messages has panicked.
    Mapping,
}

impl From<AppendError> for SubmitProblem {
    fn from(error: AppendError) -> Self {
        Self::Log(error)
    }
}

/// What the log has been handed, in order.
enum Submitted {
    Append(SubmittedAppend),
    /// Everything of this batch was handed over before.
    End(AppendedBatch),
}

type OwnedAppend = Pin<Box<dyn Future<Output = Result<(), AppendError>> + Send>>;

/// An append to one partition that the log has taken.
struct SubmittedAppend {
    log: Arc<dyn Log>,
    lane: u32,
    /// Kept until they are durable: a disk may be full.
    frames: Frames,
    /// None when they are durable already.
    append: Option<OwnedAppend>,
    /// Until they are durable, nothing else is handed to the partition.
    _turn: OwnedSemaphorePermit,
}

/// A partition of the log, and whose turn it is there.
struct AppendLane {
    log: Arc<dyn Log>,
    turn: Arc<Semaphore>,
    /// What waits for it.
    gathered: Frames,
}

/// What hands batches over, one after the other.
struct Submitter {
    appender: Appender,
    lanes: BTreeMap<u16, AppendLane>,
    submitted: mpsc::Sender<Submitted>,
}

impl Appender {
    /// Works until the pipeline is dropped, or the log takes nothing any more.
    pub(super) fn begin(self) -> AppendPipeline {
        let (batches, mapping) = mpsc::channel(BATCHES_MAX);
        let (submitted, appending) = mpsc::channel(BATCHES_MAX);
        let (done, appended) = mpsc::channel(BATCHES_MAX);
        let board = Arc::clone(&self.board);
        let has_lost_mapping = Arc::new(AtomicBool::new(false));
        let submitting = Submitter::new(self, submitted).submit_all(mapping, Arc::clone(&has_lost_mapping));
        let tasks = [tokio::spawn(submitting), tokio::spawn(finish_all(appending, done, board))];
        AppendPipeline { batches, appended, tasks, has_lost_mapping }
    }

    fn meter(&self) -> Arc<Meter> {
        Arc::clone(self.entrance.borrow().meter(Some(&*self.source)))
    }
}

impl Submitter {
    fn new(appender: Appender, submitted: mpsc::Sender<Submitted>) -> Self {
        let lane = |(number, log): (u16, &Arc<dyn Log>)| {
            let turn = Arc::new(Semaphore::new(1));
            (number, AppendLane { log: Arc::clone(log), turn, gathered: Frames::default() })
        };
        let lanes = appender.log.iter().map(lane).collect();
        Self { appender, lanes, submitted }
    }

    async fn submit_all(mut self, mut mapping: mpsc::Receiver<MappingBatch>, has_lost_mapping: Arc<AtomicBool>) {
        while let Some(batch) = mapping.recv().await {
            match self.submit(batch).await {
                Ok(()) => {}
                Err(SubmitProblem::Log(error)) => {
                    let source = &*self.appender.source;
                    tracing::warn!(source, error = %error, "a stream ends: the log takes nothing more");
                    return;
                }
                Err(SubmitProblem::Mapping) => {
                    has_lost_mapping.store(true, Ordering::SeqCst);
                    return;
                }
            }
        }
    }

    async fn submit(&mut self, batch: MappingBatch) -> Result<(), SubmitProblem> {
        let MappingBatch { receipt, messages, bytes, parts } = batch;
        let mut appended = AppendedBatch { receipt, messages, bytes, events: 0, quarantined: 0, skipped: 0 };
        for part in parts {
            let FramedBatch { appends: framed, skipped } = part.mapped().await.ok_or(SubmitProblem::Mapping)?;
            appended.skipped += skipped;
            for FramedAppend { parts, events, bytes, quarantined } in framed {
                self.appender.meter().owe(events, bytes, Instant::now());
                for (partition, frames) in parts {
                    self.gather(partition, frames).await?;
                }
                appended.events += events;
                appended.quarantined += quarantined;
            }
        }
        let partitions: Vec<u16> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.hand_over(partition).await?;
        }
        self.tell(Submitted::End(appended)).await
    }

    /// Puts records behind those that wait for a partition, which go first where it would be too many at once.
    async fn gather(&mut self, partition: u16, frames: Frames) -> Result<(), SubmitProblem> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Err(AppendError::Closed.into()) };
        let bytes = lane.gathered.bytes() + frames.bytes();
        if lane.gathered.count() > 0 && (bytes > GATHERED_BYTES_MAX || !lane.log.can_ever_take(bytes)) {
            self.hand_over(partition).await?;
        }
        match self.lanes.get_mut(&partition) {
            // The first are not copied.
            Some(lane) if lane.gathered.count() == 0 => lane.gathered = frames,
            Some(lane) => lane.gathered.extend(&frames),
            None => {}
        }
        Ok(())
    }

    /// Hands what waits for a partition to the log, as often as it takes until there is room for it.
    async fn hand_over(&mut self, partition: u16) -> Result<(), SubmitProblem> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Err(AppendError::Closed.into()) };
        if lane.gathered.count() == 0 {
            return Ok(());
        }
        let (log, frames) = (Arc::clone(&lane.log), std::mem::take(&mut lane.gathered));
        let turn = Arc::clone(&lane.turn).acquire_owned().await.map_err(|_| AppendError::Closed)?;
        let id = self.appender.meter().lane;
        let mut pause = PAUSE_MIN;
        loop {
            let mut append = append(&log, id, &frames);
            // A log says at once whether it takes them, and later that they are durable.
            let polled = poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
            let append = match polled {
                Poll::Ready(Ok(())) => None,
                Poll::Pending => Some(append),
                Poll::Ready(Err(error)) => {
                    refused(&self.appender.board, error)?;
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
            };
            self.appender.board.log_refuses(None);
            let append = SubmittedAppend { log, lane: id, frames, append, _turn: turn };
            return self.tell(Submitted::Append(append)).await;
        }
    }

    async fn tell(&self, submitted: Submitted) -> Result<(), SubmitProblem> {
        // Whoever waits for what is durable has ended, and has said why.
        self.submitted.send(submitted).await.map_err(|_| AppendError::Closed.into())
    }
}

fn append(log: &Arc<dyn Log>, lane: u32, frames: &Frames) -> OwnedAppend {
    let (log, frames) = (Arc::clone(log), frames.clone());
    Box::pin(async move { log.append(lane, frames).await.map(drop) })
}

/// Says why the log has refused; what no wait mends is an error.
fn refused(board: &StreamBoard, error: AppendError) -> Result<(), AppendError> {
    match error {
        AppendError::Overloaded | AppendError::DiskFull => {
            board.log_refuses(Some(&error.to_string()));
            Ok(())
        }
        AppendError::Closed | AppendError::Poisoned => Err(error),
    }
}

async fn finish_all(
    mut submitted: mpsc::Receiver<Submitted>,
    done: mpsc::Sender<AppendedBatch>,
    board: Arc<StreamBoard>,
) {
    while let Some(submitted) = submitted.recv().await {
        match submitted {
            Submitted::Append(append) => {
                if let Err(error) = append.durable(&board).await {
                    tracing::warn!(error = %error, "a stream ends: the log takes nothing more");
                    return;
                }
            }
            Submitted::End(appended) => {
                if done.send(appended).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl SubmittedAppend {
    /// Waits until the records are durable. A disk that is full is tried again.
    async fn durable(self, board: &StreamBoard) -> Result<(), AppendError> {
        let Self { log, lane, frames, append: mut appending, _turn } = self;
        while let Some(append_now) = appending {
            match append_now.await {
                Ok(()) => break,
                Err(error) => refused(board, error)?,
            }
            sleep(PAUSE_MAX).await;
            appending = Some(append(&log, lane, &frames));
        }
        board.log_refuses(None);
        Ok(())
    }
}

impl AppendPipeline {
    /// Takes a batch. There is room for [`BATCHES_MAX`]; whoever hands in no more at once never waits. False when the log takes
    /// nothing any more.
    pub(super) async fn push(&self, batch: MappingBatch) -> bool {
        self.batches.send(batch).await.is_ok()
    }

    /// The next batch that is durable, in the order in which they went in; `None` when none comes any more. Dropped before its end it
    /// loses none.
    pub(super) async fn next(&mut self) -> Option<AppendedBatch> {
        self.appended.recv().await
    }

    /// Whether it brings nothing more since what maps messages has panicked.
    pub(super) fn has_lost_mapping(&self) -> bool {
        self.has_lost_mapping.load(Ordering::SeqCst)
    }
}

impl Drop for AppendPipeline {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
