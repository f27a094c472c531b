//! The schemas that are at hand, and those that are known not to be there.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tidegate_message::{SchemaAnswer, SchemaId};

const ANSWERS_MAX: usize = 2_000;
/// Bytes of the texts of schemas.
const BYTES_MAX: usize = 64 << 20;
/// What is not there may be registered at any time.
const ABSENT_FOR: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct KeptSchemas {
    answers: BTreeMap<SchemaId, KeptAnswer>,
    /// In which order they came.
    order: VecDeque<SchemaId>,
    bytes: usize,
}

struct KeptAnswer {
    answer: SchemaAnswer,
    came_at: Instant,
}

impl KeptSchemas {
    pub(super) fn get(&self, id: SchemaId, now: Instant) -> Option<SchemaAnswer> {
        let KeptAnswer { answer, came_at } = self.answers.get(&id)?;
        let is_over = matches!(answer, SchemaAnswer::Unusable(_)) && now.duration_since(*came_at) >= ABSENT_FOR;
        (!is_over).then(|| answer.clone())
    }

    /// Keeps an answer; the oldest make room for it.
    pub(super) fn put(&mut self, id: SchemaId, answer: SchemaAnswer, now: Instant) {
        self.bytes += bytes(&answer);
        match self.answers.insert(id, KeptAnswer { answer, came_at: now }) {
            Some(before) => self.bytes = self.bytes.saturating_sub(bytes(&before.answer)),
            None => self.order.push_back(id),
        }
        while (self.order.len() > ANSWERS_MAX || self.bytes > BYTES_MAX) && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(gone) = self.answers.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(bytes(&gone.answer));
            }
        }
    }
}

fn bytes(answer: &SchemaAnswer) -> usize {
    match answer {
        SchemaAnswer::Found(schema) => schema.source_bytes(),
        SchemaAnswer::Unusable(reason) => reason.len(),
    }
}
