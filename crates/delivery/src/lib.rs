//! Destination plugins at work: guests plan requests, this room sends them and sees to it that every event comes to an
//! end.
//!
//! Nouns: **terms** (what a manifest asks and a workspace grants, checked against each other), a **courier** (one
//! version of one destination: the compiled plugin, its connections, its pace), the **post** (which courier carries for
//! a destination now; shared by the syncs that use it), a **parcel** (an event on its way), a **fate** (what one try made of it), the **book** (which events of a sync wait for another try),
//! the **second round** (the task that tries them again).
//!
//! What holds:
//! * An event that was handed over is delivered, skipped by the plugin on purpose, set aside with request and answer,
//!   or waits in the state file. It gets there in one transaction with the sync's cursor, so no crash loses it; a
//!   crash before that makes it come again (at least once: the far side tells by `messageId`).
//! * Nobody waits for a failing neighbour: what cannot be delivered is parked, and the rest goes on. What is parked is
//!   bounded in events and bytes; when it is full the sync waits and the log keeps what comes.
//! * With `order: user` an event is not sent while an earlier one of its user waits. Others go on.
//! * A plugin sees no secret, chooses no address, and cannot make the host send more than its bounds allow.
//!
//! This room does not know where events come from, nor what they mean to the far side.

mod body;
mod book;
mod courier;
mod exchange;
mod fate;
mod grant;
mod halves;
mod logbook;
mod pace;
mod plan;
mod post;
mod rehearsal;
mod second;
mod signer;
mod tally;
mod terms;
mod trip;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

pub use courier::{Courier, OpenError};
pub use grant::Grant;
pub use logbook::{Logbook, Logged};
pub use post::Post;
pub use rehearsal::refusals;
pub use terms::{Checked, Fault, PendingLimits, Terms};

use book::Book;
use courier::Parcel;
use fate::Fate;
use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Parked, Rejected, Reply};
use tidegate_plugin::Order;
use tidegate_process::clock;
use tidegate_state::{self as state, PendingMark, State};

/// One sync's hold on a post. Dropping it ends its second round; what waits stays in the state file.
pub struct PluginDestination {
    post: Arc<Post>,
    held: watch::Receiver<Option<Arc<Courier>>>,
    shared: Arc<Shared>,
    sync: Arc<str>,
    cursor: Option<u64>,
    /// What the last delivery parked and the caller has not recorded yet.
    unrecorded: Vec<PendingMark>,
    second_round: tokio::task::JoinHandle<()>,
}

/// What the first round and the second share.
struct Shared {
    book: Mutex<Book>,
    /// Something was parked.
    parked: Notify,
    /// Something left the book.
    room: Notify,
}

impl Shared {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PluginDestination {
    /// Finds what waits for another try, and starts trying. `state` is a connection of its own.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn run(post: Arc<Post>, sync: &str, state: State) -> Result<Self, state::Error> {
        let cursor = state.cursor(sync)?;
        // The order is that of whoever carries.
        let book = Book::new(Order::None, state.pending_marks(sync)?);
        let shared = Arc::new(Shared { book: Mutex::new(book), parked: Notify::new(), room: Notify::new() });
        let sync: Arc<str> = sync.into();
        let round = second::SecondRound {
            post: Arc::clone(&post),
            shared: Arc::clone(&shared),
            sync: Arc::clone(&sync),
            state,
        };
        let second_round = tokio::spawn(round.run());
        let held = post.follow();
        Ok(Self { post, held, shared, sync, cursor, unrecorded: Vec::new(), second_round })
    }

    async fn hand_over(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        self.unrecorded.clear();
        let courier = self.wait_for_room(batch).await?;
        let mut delivery = Delivery::default();
        let (mut indexes, mut parcels) = (Vec::new(), Vec::new());
        let now_us = clock::now_us();
        {
            let book = self.shared.book();
            for (index, event) in batch.events.iter().enumerate() {
                let parcel = Parcel::new(event);
                if book.holds(event.offset, event.part) {
                    // It waits already: the batch comes for another time.
                } else if courier.order() == Order::User && book.has_user(&parcel.user) {
                    delivery.parked.push(behind(index, parcel.user, now_us));
                } else {
                    indexes.push(index);
                    parcels.push(parcel);
                }
            }
        }
        let fates = courier.carry(parcels.into(), true).await;
        for (index, (parcel, fate)) in indexes.into_iter().zip(fates) {
            match fate {
                Fate::Delivered => delivery.delivered += 1,
                Fate::Skipped => delivery.skipped += 1,
                Fate::Rejected { code, reason, detail } => {
                    delivery.rejected.push(Rejected { index, code: code.into(), reason, detail });
                }
                Fate::Behind => delivery.parked.push(behind(index, parcel.user, now_us)),
                Fate::Again { tries, after, error, .. } => {
                    let pause = courier.pause(tries, after);
                    delivery.parked.push(Parked {
                        index,
                        user: parcel.user,
                        attempts: tries,
                        tried_at_us: now_us,
                        next_at_us: clock::now_us().saturating_add(micros(pause)),
                        error,
                    });
                }
            }
        }
        delivery.parked.sort_unstable_by_key(|parked| parked.index);
        self.unrecorded = delivery.parked.iter().filter_map(|parked| mark(batch, parked)).collect();
        if let Some(stop) = courier.stopped() {
            delivery.notices.push(stop.to_string());
        }
        Ok(delivery)
    }

    /// Answers who carries, once somebody does and everything of the batch could be parked; a stopped destination takes
    /// nothing.
    async fn wait_for_room(&mut self, batch: &Batch) -> Result<Arc<Courier>, Failure> {
        let events = batch.events.len() as u64;
        let (shared, sync, pending) = (&self.shared, &self.sync, self.post.pending);
        loop {
            let courier = self.held.borrow_and_update().clone();
            let Some(courier) = courier else {
                tracing::debug!(sync = &**sync, "no version of the destination is live yet; waiting");
                // The post keeps its far end for as long as anybody asks.
                let _ = self.held.changed().await;
                continue;
            };
            // Asked for before the look, so that nothing that changes in between is missed.
            let (room, stop) = (shared.room.notified(), courier.stop_notified());
            if events > 0
                && let Some(stop) = courier.stopped()
            {
                return Err(Failure::Stop { reason: stop.reason, advice: stop.advice, cause: None });
            }
            if events == 0 || shared.book().has_room(events, pending) {
                drop((room, stop));
                return Ok(courier);
            }
            tracing::debug!(sync = &**sync, "too much is pending; waiting");
            tokio::select! { () = room => {}, () = stop => {}, _ = self.held.changed() => {} }
        }
    }
}

fn behind(index: usize, user: String, now_us: i64) -> Parked {
    let error = "waits for an earlier event of its user".to_owned();
    Parked { index, user, attempts: 0, tried_at_us: now_us, next_at_us: now_us, error }
}

fn mark(batch: &Batch, parked: &Parked) -> Option<PendingMark> {
    let event = batch.events.get(parked.index)?;
    Some(PendingMark {
        offset: event.offset,
        part: event.part,
        user: parked.user.clone(),
        bytes: event.to_json().len() as u64,
        next_at_us: parked.next_at_us,
    })
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Destination for PluginDestination {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        let cursor = self.cursor;
        Box::pin(async move { Ok(cursor) })
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.hand_over(&batch).await })
    }

    fn recorded(&mut self) {
        if !self.unrecorded.is_empty() {
            self.shared.book().enter(std::mem::take(&mut self.unrecorded));
        }
        // Also when nothing was parked: a destination that was stopped has to be reported after each delivery.
        self.shared.parked.notify_one();
    }
}

impl Drop for PluginDestination {
    fn drop(&mut self) {
        self.second_round.abort();
    }
}
