//! Outgoing events through a destination runtime: cut into chunks, each of which is planned and sent.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_plugin::{Batching, Order};
use tokio::task::JoinSet;

use super::chunk_run::{ChunkRun, PlannedChunk};
use super::exchange::FAILURES_IN_A_ROW_MAX;
use super::outcome::DeliveryOutcome;
use super::outgoing_event::OutgoingEvent;
use super::runtime::DestinationRuntime;

/// Tries after which an event is no longer sent together with others.
const TRIES_IN_COMPANY_MAX: u32 = 5;

impl DestinationRuntime {
    /// Tries each outgoing event once (at first, a few times in quick succession) and says what came of each, in their order.
    pub(super) async fn carry(
        self: &Arc<Self>,
        outgoing: &Arc<[OutgoingEvent]>,
        is_first_try: bool,
    ) -> Vec<DeliveryOutcome> {
        let mut outcomes: Vec<Option<DeliveryOutcome>> = vec![None; outgoing.len()];
        let mut settle = |found: Vec<(usize, DeliveryOutcome)>| {
            for (index, outcome) in found {
                let slot = &mut outcomes[index];
                *slot = Some(match slot.take() {
                    Some(other) => other.and(outcome),
                    None => outcome,
                });
            }
        };
        let chunk_run = ChunkRun { runtime: Arc::clone(self), outgoing: Arc::clone(outgoing), is_first_try };
        let chunks = self.chunks(outgoing, is_first_try);
        if self.order() == Order::User {
            let mut stuck = HashSet::new();
            let mut chunks = chunks.into_iter().peekable();
            // While the requests of one chunk are on their way, the next one is planned.
            let mut planning: JoinSet<PlannedChunk> = JoinSet::new();
            while let Some(chunk) = chunks.next() {
                let ahead = planning.join_next().await.and_then(Result::ok);
                let next = chunks.peek().filter(|next| !next.iter().any(|index| chunk_run.is_stuck(*index, &stuck)));
                if let Some(next) = next.cloned() {
                    let chunk_run = chunk_run.clone();
                    planning.spawn(async move { chunk_run.plan(next).await });
                }
                settle(chunk_run.run(chunk, &mut stuck, ahead).await);
            }
        } else {
            let mut at_once = JoinSet::new();
            for chunk in chunks {
                if at_once.len() >= self.effective.traffic.requests_at_once_max {
                    at_once.join_next().await.into_iter().flatten().for_each(&mut settle);
                }
                let chunk_run = chunk_run.clone();
                at_once.spawn(async move { chunk_run.run(chunk, &mut HashSet::new(), None).await });
            }
            while let Some(found) = at_once.join_next().await {
                found.into_iter().for_each(&mut settle);
            }
        }
        let lost =
            |outgoing: &OutgoingEvent| outgoing.again_counted(None, "the delivery ended without a word".to_owned());
        let settled =
            outgoing.iter().zip(outcomes).map(|(outgoing, outcome)| outcome.unwrap_or_else(|| lost(outgoing)));
        let settled: Vec<DeliveryOutcome> = settled.collect();
        self.note(settled.iter());
        settled
    }

    /// Indexes of outgoing events, cut by count and bytes. What has failed for a while goes alone, so that one event which the
    /// far side chokes on does not keep those in its company; when everything fails only the first does, as a probe.
    fn chunks(&self, outgoing: &[OutgoingEvent], is_first_try: bool) -> Vec<Vec<usize>> {
        let away = self.failures.load(Ordering::Relaxed) >= FAILURES_IN_A_ROW_MAX;
        let alone = |index: usize, outgoing: &OutgoingEvent| {
            !is_first_try && outgoing.tries >= TRIES_IN_COMPANY_MAX && (index == 0 || !away)
        };
        let mut after_one_alone = false;
        let Batching { events_max, bytes_max, .. } = self.effective.batching;
        let (mut chunks, mut bytes): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
        for (index, outgoing) in outgoing.iter().enumerate() {
            let alone = alone(index, outgoing);
            let apart = std::mem::replace(&mut after_one_alone, alone) || alone;
            match chunks.last_mut() {
                Some(chunk) if !apart && chunk.len() < events_max && bytes + outgoing.json.len() <= bytes_max => {
                    bytes += outgoing.json.len();
                    chunk.push(index);
                }
                _ => {
                    bytes = outgoing.json.len();
                    chunks.push(vec![index]);
                }
            }
        }
        chunks
    }
}
