//! Runs one stream: opens a reader, reads with it as long as it goes, and opens another one after a pause when it does not.

use std::sync::Arc;
use std::time::Duration;

use tidegate_log::LogPartitions;
use tidegate_process::clock;
use tidegate_process::telemetry::Streak;
use tidegate_schema_registry::RegisteredSchemas;
use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin, StreamReader};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::board::{StreamBoard, StreamState};
use super::framing::StreamFraming;
use super::mapping::BatchMapper;
use super::orders::{SeekOrder, StreamOrders, stopped};
use super::reading::{ReadingEnd, StreamReading};
use super::settings::StreamSettings;
use crate::http::{Entrance, RequestLimits};

/// Between two readers: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// For a reader to be opened.
const OPEN_MAX: Duration = Duration::from_secs(120);

/// What ends a pause between two readers.
enum PauseEnd {
    Over,
    Stopped,
    /// The next reader goes there first.
    Sought(SeekOrder),
}

/// A stream source, and what it needs to run.
pub struct StreamRunner {
    pub source: Arc<str>,
    pub origin: Arc<dyn StreamOrigin>,
    pub settings: Arc<StreamSettings>,
    pub limits: RequestLimits,
    pub log: LogPartitions,
    /// Where the rate and the lane of the source are.
    pub entrance: watch::Receiver<Arc<Entrance>>,
    pub checkpoints: Arc<dyn StreamCheckpoints>,
    pub board: Arc<StreamBoard>,
    /// Parts of a batch that are mapped at once.
    pub cores: usize,
}

impl StreamRunner {
    /// Reads until the order to stop comes, or the log takes nothing any more.
    pub async fn run(self, mut orders: StreamOrders) {
        let framing = Arc::new(StreamFraming {
            source: Arc::clone(&self.source),
            kind: self.origin.kind(),
            settings: Arc::clone(&self.settings),
            limits: self.limits.clone(),
            log: self.log.clone(),
        });
        let turns = Arc::new(Semaphore::new(self.cores.max(1)));
        let (mut schemas, mut pause, mut streak) = (None, PAUSE_MIN, Streak::default());
        // Where the next reader goes first.
        let mut first: Option<SeekOrder> = None;
        self.board.tell(StreamState::Connecting);
        loop {
            let error = match self.open(&mut schemas, &mut orders).await {
                None => break,
                Some(Err(error)) => {
                    if let Some(order) = first.take() {
                        order.refuse(format!("it is not connected: {error}"));
                    }
                    error
                }
                Some(Ok(reader)) => {
                    tracing::info!(source = &*self.source, place = self.origin.place(), "a stream is read");
                    let mapper = BatchMapper {
                        framing: Arc::clone(&framing),
                        schemas: schemas.clone(),
                        board: Arc::clone(&self.board),
                        cores: self.cores,
                        turns: Arc::clone(&turns),
                    };
                    let mut reading = StreamReading::begin(reader, mapper, self.entrance.clone());
                    let end = reading.run(&mut orders, first.take()).await;
                    if reading.has_acknowledged {
                        pause = PAUSE_MIN;
                        streak.heals(Instant::now().into_std());
                    }
                    match end {
                        ReadingEnd::Stopped | ReadingEnd::LogClosed => break,
                        ReadingEnd::Moved(order) => {
                            drop(reading);
                            first = Some(order);
                            self.board.lacks_schemas(None);
                            self.board.tell(StreamState::Connecting);
                            continue;
                        }
                        ReadingEnd::Failed(error) => error,
                    }
                }
            };
            let is_for_operators = matches!(error, StreamError::Stop { .. });
            if is_for_operators {
                pause = PAUSE_MAX;
            }
            self.board.fail(&error, clock::now_us());
            let pause_s = pause.as_secs();
            let (source, place) = (&*self.source, self.origin.place());
            if streak.fails(&error.to_string(), Instant::now().into_std()) {
                tracing::warn!(source, place, error = %error, pause_s, "a stream cannot be read; it is tried again");
            }
            match self.rest(pause, is_for_operators, &mut orders).await {
                PauseEnd::Over => {}
                PauseEnd::Stopped => break,
                PauseEnd::Sought(order) => first = Some(order),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.board.tell(StreamState::Stopped);
    }

    /// A reader, or why there is none; nothing where the stream is to stop. With the first one the registry is opened, if there is one.
    async fn open(
        &self,
        schemas: &mut Option<Arc<RegisteredSchemas>>,
        orders: &mut StreamOrders,
    ) -> Option<Result<Box<dyn StreamReader>, StreamError>> {
        if schemas.is_none()
            && let Some(registry) = &self.settings.registry
        {
            match RegisteredSchemas::open(registry) {
                Ok(opened) => *schemas = Some(Arc::new(opened)),
                Err(error) => return Some(Err(error)),
            }
        }
        let opening = timeout(OPEN_MAX, self.origin.open(&self.source, Arc::clone(&self.checkpoints)));
        tokio::pin!(opening);
        loop {
            tokio::select! {
                biased;
                _ = stopped(&mut orders.stop) => return None,
                Some(order) = orders.seeks.recv() => order.refuse(self.board.why_not_connected()),
                opened = &mut opening => {
                    let late = |_| {
                        let seconds = OPEN_MAX.as_secs();
                        Err(StreamError::Retry(format!("it could not be opened within {seconds} seconds")))
                    };
                    return Some(opened.unwrap_or_else(late));
                }
            }
        }
    }

    /// Waits. Where `may_be_sought`, to go elsewhere may be just what an operator has to order: it ends the pause.
    async fn rest(&self, pause: Duration, may_be_sought: bool, orders: &mut StreamOrders) -> PauseEnd {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                _ = stopped(&mut orders.stop) => return PauseEnd::Stopped,
                Some(order) = orders.seeks.recv() => {
                    if may_be_sought {
                        return PauseEnd::Sought(order);
                    }
                    order.refuse(self.board.why_not_connected());
                }
                () = sleep_until(until) => return PauseEnd::Over,
            }
        }
    }
}
