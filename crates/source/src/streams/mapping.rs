//! Has the messages of a batch mapped: where they were read, or in parts on as many threads as there are cores. Where messages name schemas of a
//! registry, that is asked first; one that is away is asked again and again, and nothing is passed over meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_process::clock;
use tidegate_process::telemetry::Streak;
use tidegate_schema_registry::{RegisteredSchemas, SchemaAnswers};
use tidegate_stream::StreamMessage;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::batch::{FramedBatch, MappingPart};
use super::board::StreamBoard;
use super::framing::StreamFraming;

/// A batch up to this size is mapped where it was read; the way to another thread costs more.
const SMALL_BYTES: usize = 32 << 10;
/// No fewer messages are mapped on a thread of their own.
const PART_MESSAGES_MIN: usize = 64;
/// Between two questions to a registry that does not answer: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Maps the batches of one stream.
#[derive(Clone)]
pub(super) struct BatchMapper {
    pub(super) framing: Arc<StreamFraming>,
    /// Where the schemas are that messages name, if they name any.
    pub(super) schemas: Option<Arc<RegisteredSchemas>>,
    pub(super) board: Arc<StreamBoard>,
    /// Into so many parts a batch is parted.
    pub(super) cores: usize,
    /// Parts that are mapped at once, of all batches. Each thread keeps memory of its own, so there are no more of them than cores.
    pub(super) turns: Arc<Semaphore>,
}

impl BatchMapper {
    /// The parts of a batch, in their order; `bytes` is what its messages hold.
    pub(super) fn parts(&self, messages: Vec<StreamMessage>, bytes: usize) -> Vec<MappingPart> {
        let received_at_us = clock::now_us();
        if self.schemas.is_some() && !messages.is_empty() {
            let (mapper, mut mapping) = (self.clone(), JoinSet::new());
            mapping.spawn(async move { mapper.by_schemas(messages.into(), received_at_us).await });
            return vec![MappingPart::Running(mapping)];
        }
        if bytes <= SMALL_BYTES {
            let none = SchemaAnswers::default();
            // As on a thread of its own, a panic ends the reading, and is told.
            let framed = catch_unwind(AssertUnwindSafe(|| self.framing.frame(&messages, &none, received_at_us)));
            return vec![framed.map_or(MappingPart::Lost, MappingPart::Mapped)];
        }
        self.spread(&messages.into(), &Arc::default(), received_at_us)
    }

    /// Parts that are mapped on threads of their own.
    fn spread(
        &self,
        messages: &Arc<[StreamMessage]>,
        answers: &Arc<SchemaAnswers>,
        received_at_us: i64,
    ) -> Vec<MappingPart> {
        let size = messages.len().div_ceil(self.cores.max(1)).max(PART_MESSAGES_MIN);
        let part = |start: usize| {
            let (framing, messages, answers) = (Arc::clone(&self.framing), Arc::clone(messages), Arc::clone(answers));
            let (turns, mut mapping) = (Arc::clone(&self.turns), JoinSet::new());
            mapping.spawn(async move {
                let turn = turns.acquire_owned().await.ok()?;
                let mapped = spawn_blocking(move || {
                    let _turn = turn;
                    let end = messages.len().min(start + size);
                    framing.frame(messages.get(start..end).unwrap_or_default(), &answers, received_at_us)
                });
                mapped.await.ok()
            });
            MappingPart::Running(mapping)
        };
        (0..messages.len()).step_by(size).map(part).collect()
    }

    /// The same in one, once the schemas are known that the messages name.
    async fn by_schemas(self, messages: Arc<[StreamMessage]>, received_at_us: i64) -> Option<FramedBatch> {
        let answers = Arc::new(self.answers(&messages).await);
        let mut batch = FramedBatch::default();
        for part in self.spread(&messages, &answers, received_at_us) {
            let framed = part.mapped().await?;
            batch.appends.extend(framed.appends);
            batch.skipped += framed.skipped;
        }
        Some(batch)
    }

    /// The schemas that messages name.
    async fn answers(&self, messages: &[StreamMessage]) -> SchemaAnswers {
        let Some(schemas) = &self.schemas else { return SchemaAnswers::default() };
        let (mut pause, mut streak) = (PAUSE_MIN, Streak::default());
        loop {
            match schemas.of_messages(&self.framing.settings.mapping, messages, Instant::now()).await {
                Ok(answers) => {
                    self.board.lacks_schemas(None);
                    return answers;
                }
                Err(error) => {
                    let (source, pause_s) = (&*self.framing.source, pause.as_secs());
                    if streak.fails(&error.to_string(), Instant::now()) {
                        tracing::warn!(source, error = %error, pause_s, "a stream has no schemas for its messages; the registry is asked again");
                    }
                    self.board.lacks_schemas(Some(&error));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
