//! One way through a chunk: plans asked for, requests sent, in order where it must be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_bisect::{Bisect, halvings_max};
use tidegate_net::outbound::{OutboundRequest, has_placeholder};
use tidegate_plugin::Order;
use tidegate_wasm::{CallFailure, CallStage, GuestPlan, StopReason};
use tokio::task::{Id, JoinSet};

use super::bisect::ChunkBisect;
use super::exchange::{ExchangeResult, PlannedRequest};
use super::outcome::DeliveryOutcome;
use super::outgoing_event::OutgoingEvent;
use super::plan;
use super::runtime::DestinationRuntime;

/// Poison events that one batch is searched for, one by one.
const POISON_EVENTS_MAX: usize = 16;

/// Requests, and outcomes of the events that none carries.
pub(super) type PlannedChunk = (Vec<PlannedRequest>, Vec<(usize, DeliveryOutcome)>);

/// One way through the outgoing events of a chunk.
#[derive(Clone)]
pub(super) struct ChunkRun {
    pub(super) runtime: Arc<DestinationRuntime>,
    pub(super) outgoing: Arc<[OutgoingEvent]>,
    pub(super) is_first_try: bool,
}

impl ChunkRun {
    /// Every outgoing event of `open` comes back with at least one outcome. `stuck` are users whose earlier events wait. `ahead`
    /// is the plan of all of them, if it was made before; it is of no use when some may not be sent.
    pub(super) async fn run(
        &self,
        open: Vec<usize>,
        stuck: &mut HashSet<String>,
        mut ahead: Option<PlannedChunk>,
    ) -> Vec<(usize, DeliveryOutcome)> {
        let mut settled = Vec::new();
        let mut bisect = ChunkBisect::new(open);
        // Each turn sends at least the first request that is left, or halves it, so the open ones become fewer.
        while let Some(open) = bisect.next() {
            let (behind, free): (Vec<_>, Vec<_>) = open.into_iter().partition(|index| self.is_stuck(*index, stuck));
            settled.extend(behind.into_iter().map(|index| (index, DeliveryOutcome::Behind)));
            let (planned, mut found) = match ahead.take().filter(|_| settled.is_empty()) {
                Some(ahead) => ahead,
                None => self.plan(free).await,
            };
            self.note_stuck(&found, stuck);
            settled.append(&mut found);
            if self.runtime.order() == Order::User {
                self.in_order(planned, stuck, &mut settled, &mut bisect).await;
            } else {
                settled.extend(self.send(planned, &mut bisect).await);
            }
            // What was refused too often together waits, and goes alone in the end.
            let given_up = bisect.given_up().into_iter();
            let given_up: Vec<_> =
                given_up.map(|(index, reason)| (index, self.outgoing[index].again_counted(None, reason))).collect();
            self.note_stuck(&given_up, stuck);
            settled.extend(given_up);
        }
        settled
    }

    pub(super) fn is_stuck(&self, index: usize, stuck: &HashSet<String>) -> bool {
        stuck.contains(&self.outgoing[index].user)
    }

    fn note_stuck(&self, found: &[(usize, DeliveryOutcome)], stuck: &mut HashSet<String>) {
        if self.runtime.order() != Order::User {
            return;
        }
        for (index, _) in found
            .iter()
            .filter(|(_, outcome)| matches!(outcome, DeliveryOutcome::Again { .. } | DeliveryOutcome::Behind))
        {
            let user = &self.outgoing[*index].user;
            if !user.is_empty() {
                stuck.insert(user.clone());
            }
        }
    }

    /// Sends requests, each as soon as all earlier ones of its users are answered. Requests that carry events of a user who
    /// got stuck, or whose events go again in halves, are not sent, nor are later ones of any user of theirs; their events are
    /// planned anew, after the halves.
    async fn in_order(
        &self,
        mut planned: Vec<PlannedRequest>,
        stuck: &mut HashSet<String>,
        settled: &mut Vec<(usize, DeliveryOutcome)>,
        bisect: &mut ChunkBisect,
    ) {
        let mut at_once = JoinSet::new();
        // Whose requests are on their way, and who waits for them.
        let (mut on_their_way, mut waiting): (HashMap<Id, Vec<&str>>, HashSet<&str>) = Default::default();
        let (mut unsent, mut deferred): (_, HashSet<&str>) = (Vec::new(), HashSet::new());
        loop {
            let mut busy: HashSet<&str> = on_their_way.values().flatten().copied().collect();
            waiting.clear();
            let mut later = Vec::new();
            for request in planned {
                let of = self.users(&request);
                if of.iter().any(|user| stuck.contains(*user) || deferred.contains(user)) {
                    deferred.extend(of);
                    unsent.push(request);
                } else if of.iter().any(|user| busy.contains(user)) {
                    busy.extend(&of);
                    waiting.extend(of);
                    later.push(request);
                } else {
                    busy.extend(&of);
                    on_their_way.insert(self.start(request, &mut at_once), of);
                }
            }
            planned = later;
            // Until one is answered that somebody waits for.
            let mut is_awaited = false;
            while !is_awaited && let Some(came) = at_once.join_next_with_id().await {
                let (id, result) = match came {
                    Ok((id, result)) => (id, Some(result)),
                    Err(error) => (error.id(), None),
                };
                let of = on_their_way.remove(&id).unwrap_or_default();
                is_awaited = of.iter().any(|user| waiting.contains(user));
                match result {
                    Some(ExchangeResult::Settled(found)) => {
                        self.note_stuck(&found, stuck);
                        settled.extend(found);
                    }
                    Some(ExchangeResult::Bisect(indexes, reason)) => {
                        deferred.extend(of);
                        bisect.refuse(indexes, reason);
                    }
                    // What became of its events is not known, so later ones of their users must not overtake them.
                    None => stuck.extend(of.into_iter().map(str::to_owned)),
                }
            }
            if planned.is_empty() && at_once.is_empty() {
                break;
            }
        }
        let answered: HashSet<usize> = settled.iter().map(|(index, _)| *index).collect();
        let mut open: Vec<usize> = unsent.into_iter().flat_map(|request| request.indexes).collect();
        open.sort_unstable();
        open.dedup();
        // An event that another request carried has its outcome, which the missing half makes worse.
        let (behind, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|index| answered.contains(index));
        let behind: Vec<_> = behind.into_iter().map(|index| (index, DeliveryOutcome::Behind)).collect();
        self.note_stuck(&behind, stuck);
        settled.extend(behind);
        bisect.then(open);
    }

    /// The users whose events a request carries; those of nobody have no order.
    fn users(&self, request: &PlannedRequest) -> Vec<&str> {
        let users = request.indexes.iter().map(|index| self.outgoing[*index].user.as_str());
        users.filter(|user| !user.is_empty()).collect()
    }

    fn start(&self, request: PlannedRequest, at_once: &mut JoinSet<ExchangeResult>) -> Id {
        let (runtime, outgoing) = (Arc::clone(&self.runtime), Arc::clone(&self.outgoing));
        let is_first_try = self.is_first_try;
        at_once.spawn(async move { runtime.exchange(request, &outgoing, is_first_try).await }).id()
    }

    async fn send(&self, planned: Vec<PlannedRequest>, bisect: &mut ChunkBisect) -> Vec<(usize, DeliveryOutcome)> {
        let mut at_once = JoinSet::new();
        for request in planned {
            self.start(request, &mut at_once);
        }
        let mut found = Vec::new();
        while let Some(came) = at_once.join_next().await {
            match came {
                Ok(ExchangeResult::Settled(outcomes)) => found.extend(outcomes),
                Ok(ExchangeResult::Bisect(indexes, reason)) => bisect.refuse(indexes, reason),
                Err(_) => {}
            }
        }
        found
    }

    /// Asks the guest for plans. A batch that it breaks on is halved until the poison events stand alone.
    pub(super) async fn plan(&self, open: Vec<usize>) -> PlannedChunk {
        let (mut planned, mut found) = (Vec::new(), Vec::new());
        let open = self.without_placeholders(open, &mut found);
        let halvings = halvings_max(open.len(), POISON_EVENTS_MAX);
        let mut bisect = Bisect::of(0..open.len()).with_halvings(halvings);
        while let Some(range) = bisect.next_part() {
            let part = &open[range.clone()];
            let batch: Vec<String> = part.iter().map(|index| self.outgoing[*index].json.clone()).collect();
            let answer = self.runtime.prepare(&batch).await;
            let all = |outcome: &dyn Fn(&OutgoingEvent) -> DeliveryOutcome| -> Vec<(usize, DeliveryOutcome)> {
                part.iter().map(|index| (*index, outcome(&self.outgoing[*index]))).collect()
            };
            let (code, reason) = match answer {
                Ok(plan) => match plan::check(&plan, part.len()) {
                    Ok(()) => {
                        take(plan, part, &mut planned, &mut found);
                        continue;
                    }
                    Err(bad) => (bad.code.to_owned(), bad.reason),
                },
                Err(CallFailure::Stopped { stop_reason: StopReason::Starved, message, .. }) => {
                    found.extend(all(&|outgoing| outgoing.again_counted(None, message.clone())));
                    continue;
                }
                Err(CallFailure::Stopped { stop_reason, stage: CallStage::Transform, message }) => {
                    (stop_reason.as_str().to_owned(), message)
                }
                Err(CallFailure::Fatal(guest_error)) => ("batch-fatal".to_owned(), guest_error.to_string()),
                Err(CallFailure::Retryable(guest_error, after)) => {
                    found.extend(all(&|outgoing| outgoing.again_counted(after, guest_error.to_string())));
                    continue;
                }
                Err(CallFailure::Configure(guest_error)) => {
                    self.runtime.stop(guest_error.to_string(), "mend the settings of the destination");
                    found.extend(all(&|outgoing| outgoing.again_uncounted(guest_error.to_string())));
                    continue;
                }
                Err(CallFailure::Stopped { message, .. }) => {
                    let error = format!("the plugin could not be started: {message}");
                    found.extend(all(&|outgoing| outgoing.again_counted(None, error.clone())));
                    continue;
                }
            };
            if let Some(poison) = bisect.failed(range) {
                let rejected = DeliveryOutcome::Rejected { code, reason, detail: None };
                found.extend(open[poison].iter().map(|index| (*index, rejected.clone())));
            }
        }
        (planned, found)
    }

    /// An event that spells a placeholder could make the host put a secret where the event's author wants it.
    fn without_placeholders(&self, open: Vec<usize>, found: &mut Vec<(usize, DeliveryOutcome)>) -> Vec<usize> {
        if self.runtime.effective.secrets.is_empty() {
            return open;
        }
        let (marked, clean): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|index| has_placeholder(&self.outgoing[*index].json));
        found.extend(marked.into_iter().map(|index| {
            let reason = "the event holds the text {{secret. which this destination would read as a placeholder";
            (
                index,
                DeliveryOutcome::Rejected {
                    code: "secret-in-event".to_owned(),
                    reason: reason.to_owned(),
                    detail: None,
                },
            )
        }));
        clean
    }
}

fn take(plan: GuestPlan, part: &[usize], planned: &mut Vec<PlannedRequest>, found: &mut Vec<(usize, DeliveryOutcome)>) {
    let index = |event: u32| part.get(event as usize).copied();
    found.extend(plan.skipped.iter().filter_map(|(event, _)| Some((index(*event)?, DeliveryOutcome::Skipped))));
    found.extend(plan.failed.into_iter().filter_map(|(event, guest_error)| {
        let outcome = DeliveryOutcome::Rejected { code: guest_error.code, reason: guest_error.message, detail: None };
        Some((index(event)?, outcome))
    }));
    planned.extend(plan.requests.into_iter().map(|request| PlannedRequest {
        indexes: request.events.iter().filter_map(|event| index(*event)).collect(),
        request: OutboundRequest {
            method: plan::method(request.method),
            url: request.url,
            headers: request.headers,
            body: Bytes::from(request.body),
        },
        events: request.events,
        tag: request.tag,
    }));
}
