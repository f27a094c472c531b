//! One reader at work: it is asked for messages while there is room for them, told what is in the log, and moved when that is ordered.

use std::sync::Arc;
use std::time::Duration;

use tidegate_process::clock;
use tidegate_stream::{StreamBatch, StreamError, StreamMessage, StreamReader, StreamReceipt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::appender::{AppendPipeline, Appender};
use super::batch::{AppendedBatch, BATCHES_MAX, BYTES_MAX, MappingBatch};
use super::board::{StreamBoard, StreamState};
use super::mapping::BatchMapper;
use super::orders::{SeekOrder, StreamOrders, stopped};
use crate::http::Entrance;

/// While nothing is read, the reader hears so often that somebody is there.
const TICK: Duration = Duration::from_secs(1);
/// For upstream to take a receipt, or to go elsewhere.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// For what is on its way to the log before the reader goes elsewhere.
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
/// For what is on its way to the log before another reader takes the place of one that failed.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);
/// For a reader to give up what it holds.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Why a reader is used no more.
pub(super) enum ReadingEnd {
    /// That was ordered.
    Stopped,
    /// The log takes nothing any more.
    LogClosed,
    /// It is to go on elsewhere, and what it has read waits for schemas that do not come: another reader goes there, and what was not
    /// acknowledged comes again to it unless it is passed over.
    Moved(SeekOrder),
    Failed(StreamError),
}

/// A reader, and what was read with it.
pub(super) struct StreamReading {
    reader: Box<dyn StreamReader>,
    mapper: BatchMapper,
    board: Arc<StreamBoard>,
    entrance: watch::Receiver<Arc<Entrance>>,
    pipeline: AppendPipeline,
    in_flight: InFlightCounts,
    /// Of the last read.
    newest: StreamReceipt,
    /// The reader has refused a receipt: it is given no more of them.
    refuses_receipts: bool,
    /// Something was acknowledged.
    pub(super) has_acknowledged: bool,
    told_at: Instant,
    kept_alive_at: Instant,
}

/// What was read and is not acknowledged yet.
#[derive(Default)]
struct InFlightCounts {
    batches: usize,
    bytes: usize,
    messages: u64,
}

/// What a reading hears next.
enum ReadingTurn {
    Stop(Duration),
    Seek(SeekOrder),
    /// None when the log takes nothing any more.
    Appended(Option<AppendedBatch>),
    Read(Result<StreamBatch, StreamError>),
    Tick,
}

impl StreamReading {
    /// With a reader that was just opened.
    pub(super) fn begin(
        reader: Box<dyn StreamReader>,
        mapper: BatchMapper,
        entrance: watch::Receiver<Arc<Entrance>>,
    ) -> Self {
        let (source, log) = (Arc::clone(&mapper.framing.source), mapper.framing.log.clone());
        let board = Arc::clone(&mapper.board);
        let appender = Appender { source, log, entrance: entrance.clone(), board: Arc::clone(&board) };
        let now = Instant::now();
        Self {
            reader,
            mapper,
            board,
            entrance,
            pipeline: appender.begin(),
            in_flight: InFlightCounts::default(),
            newest: StreamReceipt::default(),
            refuses_receipts: false,
            has_acknowledged: false,
            told_at: now,
            kept_alive_at: now,
        }
    }

    /// Reads until it ends, for whichever reason, and goes to `first` before that. The reader is closed then; what it was not told to be in
    /// the log comes again.
    pub(super) async fn run(&mut self, orders: &mut StreamOrders, first: Option<SeekOrder>) -> ReadingEnd {
        let moved = match first {
            Some(order) => self.seek(order).await,
            None => Ok(()),
        };
        let end = match moved {
            Ok(()) => self.read_on(orders).await,
            Err(end) => end,
        };
        if let ReadingEnd::Failed(error) = &end {
            self.finish(orders, error).await;
        }
        self.board.in_flight(0);
        let closed = timeout(CLOSE_MAX, self.reader.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::debug!(source = &*self.mapper.framing.source, error = %error, "a reader could not give up what it held upstream");
        }
        end
    }

    /// Brings what is on its way into the log, as far as it comes there in time, and gives the receipts back that the reader still takes.
    /// The next reader brings the rest.
    async fn finish(&mut self, orders: &mut StreamOrders, error: &StreamError) {
        let until = Instant::now() + FINISH_PATIENCE;
        while self.in_flight.batches > 0 {
            let appended = tokio::select! {
                biased;
                _ = stopped(&mut orders.stop) => return,
                Some(order) = orders.seeks.recv() => {
                    order.refuse(format!("it is not connected: {error}"));
                    continue;
                }
                appended = timeout_at(until, self.pipeline.next()) => appended,
            };
            let Ok(Some(batch)) = appended else { return };
            // Why the reader failed first is what is told.
            let _ = self.acknowledge(batch).await;
        }
    }

    async fn read_on(&mut self, orders: &mut StreamOrders) -> ReadingEnd {
        loop {
            let wait = self.wait();
            if wait.is_some()
                && self.kept_alive_at.elapsed() >= TICK
                && let Err(error) = self.keep_alive().await
            {
                return ReadingEnd::Failed(error);
            }
            let heard = tokio::select! {
                biased;
                patience = stopped(&mut orders.stop) => ReadingTurn::Stop(patience),
                Some(order) = orders.seeks.recv() => ReadingTurn::Seek(order),
                appended = self.pipeline.next() => ReadingTurn::Appended(appended),
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => ReadingTurn::Tick,
                read = self.reader.read(), if wait.is_none() => ReadingTurn::Read(read),
            };
            let done = match heard {
                ReadingTurn::Stop(patience) => {
                    // What does not come to its end by then comes again.
                    return match self.settle(patience).await {
                        Ok(()) => ReadingEnd::Stopped,
                        Err(ReadingEnd::LogClosed) => ReadingEnd::LogClosed,
                        Err(_) => ReadingEnd::Stopped,
                    };
                }
                ReadingTurn::Seek(order) => self.seek(order).await,
                ReadingTurn::Appended(Some(batch)) => self.acknowledge(batch).await,
                ReadingTurn::Appended(None) => Err(self.pipeline_end()),
                ReadingTurn::Read(Ok(batch)) => self.take(batch).await,
                ReadingTurn::Read(Err(error)) => Err(ReadingEnd::Failed(error)),
                ReadingTurn::Tick => Ok(()),
            };
            if let Err(end) = done {
                return end;
            }
            self.tell();
        }
    }

    /// How long to wait before anything more is read; none when there is room, and the source has not had more than its rate.
    fn wait(&self) -> Option<Duration> {
        if self.in_flight.batches >= BATCHES_MAX || self.in_flight.bytes >= BYTES_MAX {
            return Some(TICK);
        }
        let debt = self.entrance.borrow().meter(Some(&*self.mapper.framing.source)).in_debt(std::time::Instant::now());
        debt.map(|debt| debt.min(TICK))
    }

    async fn keep_alive(&mut self) -> Result<(), StreamError> {
        let alive = timeout(ANSWER_MAX, self.reader.keep_alive()).await;
        self.kept_alive_at = Instant::now();
        alive.unwrap_or_else(|_| Err(no_answer("that somebody is there")))
    }

    /// Hands messages on, which are mapped meanwhile.
    async fn take(&mut self, batch: StreamBatch) -> Result<(), ReadingEnd> {
        let StreamBatch { messages, receipt } = batch;
        self.board.tell(StreamState::Reading);
        self.kept_alive_at = Instant::now();
        if messages.is_empty() && receipt <= self.newest {
            // There is nothing to be given back.
            return Ok(());
        }
        self.newest = receipt;
        let bytes: usize = messages.iter().map(StreamMessage::held_bytes).sum();
        let count = messages.len() as u64;
        self.in_flight.batches += 1;
        self.in_flight.bytes += bytes;
        self.in_flight.messages += count;
        let parts = self.mapper.parts(messages, bytes);
        let is_taken = self.pipeline.push(MappingBatch { receipt, messages: count, bytes, parts }).await;
        if is_taken { Ok(()) } else { Err(self.pipeline_end()) }
    }

    /// Why nothing more comes out of the pipeline.
    fn pipeline_end(&self) -> ReadingEnd {
        if !self.pipeline.has_lost_mapping() {
            return ReadingEnd::LogClosed;
        }
        ReadingEnd::Failed(StreamError::Stop {
            reason: "what maps its messages has panicked, which is an error of this program".to_owned(),
            advice: "report it with what the server has logged; `tidegate source seek` passes over the message"
                .to_owned(),
        })
    }

    /// Gives the receipt of a batch back, which is in the log.
    async fn acknowledge(&mut self, batch: AppendedBatch) -> Result<(), ReadingEnd> {
        self.in_flight.batches = self.in_flight.batches.saturating_sub(1);
        self.in_flight.bytes = self.in_flight.bytes.saturating_sub(batch.bytes);
        self.in_flight.messages = self.in_flight.messages.saturating_sub(batch.messages);
        if self.refuses_receipts {
            return Ok(());
        }
        let taken = timeout(ANSWER_MAX, self.reader.acknowledge(batch.receipt)).await;
        let taken = taken.unwrap_or_else(|_| Err(no_answer("which messages are in the log")));
        self.refuses_receipts = taken.is_err();
        taken.map_err(ReadingEnd::Failed)?;
        self.has_acknowledged = true;
        self.board.count(&batch, clock::now_us());
        Ok(())
    }

    /// Acknowledges what is on its way as far as it comes to its end in time.
    async fn settle(&mut self, patience: Duration) -> Result<(), ReadingEnd> {
        let until = Instant::now() + patience;
        while self.in_flight.batches > 0 {
            let Ok(appended) = timeout_at(until, self.pipeline.next()).await else { return Ok(()) };
            let Some(batch) = appended else { return Err(self.pipeline_end()) };
            self.acknowledge(batch).await?;
        }
        Ok(())
    }

    /// Goes on elsewhere. What was read before is in the log first: a place behind it would pass it over.
    async fn seek(&mut self, order: SeekOrder) -> Result<(), ReadingEnd> {
        if let Err(end) = self.settle(SEEK_PATIENCE).await {
            order.refuse("what was read before could not be brought to its end; try again".to_owned());
            return Err(end);
        }
        if self.in_flight.batches > 0 {
            if self.board.waits_for_schemas_alone() {
                return Err(ReadingEnd::Moved(order));
            }
            order.refuse("what was read before is not in the log yet; try again when the log has room".to_owned());
            return Ok(());
        }
        let SeekOrder { to, reply } = order;
        let sought = timeout(ANSWER_MAX, self.reader.seek(to)).await;
        let sought = sought.unwrap_or_else(|_| Err(no_answer("where to go on")));
        self.board.progress(self.reader.progress(), self.reader.notices());
        let is_lost = matches!(&sought, Err(StreamError::Retry(_)));
        let error = sought.clone().err();
        // Whoever asked may have gone.
        let _ = reply.send(sought);
        // Where the reader is now, nobody knows; the next one goes on where upstream says.
        match error.filter(|_| is_lost) {
            Some(error) => Err(ReadingEnd::Failed(error)),
            None => Ok(()),
        }
    }

    /// Says how far it is, about once a second.
    fn tell(&mut self) {
        self.board.in_flight(self.in_flight.messages);
        if self.told_at.elapsed() >= TICK {
            self.told_at = Instant::now();
            self.board.progress(self.reader.progress(), self.reader.notices());
        }
    }
}

fn no_answer(told: &str) -> StreamError {
    StreamError::Retry(format!("it was told {told}, and did not answer within {} seconds", ANSWER_MAX.as_secs()))
}
