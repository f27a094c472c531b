//! The one driver of all warehouses: it walks every batch from the ledger to the ledger.
//!
//! It owns what is the same everywhere: what the ledger says and which offsets are missing, where events go, planning in
//! chunks, making tables ready, counting, finding refused events by halves, other tries, what an operator should hear.
//! What differs is a [`Loader`]. The driver does no I/O of its own.

use std::ops::Range;
use std::sync::Arc;

use tidegate_bisect::Bisect;
use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Reply};

use crate::batch_load::BatchLoad;
use crate::encoder::Encoder;
use crate::ledger;
use crate::loader::{LoadError, Loader, Stopped};
use crate::schema_cache::{SchemaCache, ToldNotices};
use crate::waiting::ROUNDS_MAX;

mod settle;

/// Notices kept over failures.
const NOTICES_MAX: usize = 1_000;

/// A warehouse as a destination.
pub struct Driver<L: Loader> {
    loader: L,
    memory: DriverMemory,
}

impl<L: Loader> std::fmt::Debug for Driver<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Driver").field(&self.loader.place()).finish()
    }
}

/// What is remembered from batch to batch.
#[derive(Debug, Default)]
struct DriverMemory {
    known: SchemaCache,
    told: ToldNotices,
    /// From tries that failed, of changes that stay.
    notices: Vec<String>,
    /// The range of a batch of which some events were refused, and its duplicates: its other events are there already and
    /// are none when it comes again.
    refused: Option<(Range<u64>, u64)>,
    /// The range of a batch of which rows may be there that are not undone.
    part: Option<Range<u64>>,
    /// The last call came to its end, so that its session is still there.
    reused: bool,
}

/// A loader during a call, abandoned when the call is dropped.
struct Held<'l, L: Loader> {
    loader: &'l mut L,
    is_over: bool,
}

impl<L: Loader> Drop for Held<'_, L> {
    fn drop(&mut self) {
        if !self.is_over {
            self.loader.abandon();
        }
    }
}

impl<L: Loader> Driver<L> {
    #[must_use]
    pub fn new(loader: L) -> Self {
        Self { loader, memory: DriverMemory::default() }
    }

    #[must_use]
    pub fn loader(&self) -> &L {
        &self.loader
    }

    pub fn loader_mut(&mut self) -> &mut L {
        &mut self.loader
    }

    /// What [`Destination::durable_to`] promises.
    ///
    /// # Errors
    /// The warehouse cannot be asked.
    pub async fn durable_to(&mut self) -> Result<Option<u64>, Failure> {
        let Self { loader, memory } = self;
        let mut tries = 1;
        loop {
            let reused = std::mem::take(&mut memory.reused);
            let mut held = Held { loader, is_over: false };
            let error = match held.loader.durable_to().await {
                Ok(durable_to) => {
                    (held.is_over, memory.reused) = (true, true);
                    return Ok(durable_to);
                }
                Err(error) => error,
            };
            held.loader.close(Some(&error)).await;
            held.is_over = true;
            drop(held);
            if tries == L::TRIES_MAX || !(error.is_of_schema() || error.is_of_session(reused)) {
                return Err(loader.failure(error));
            }
            tries += 1;
        }
    }

    /// What [`Destination::holds_part`] promises.
    #[must_use]
    pub const fn holds_part(&self) -> bool {
        self.memory.part.is_some()
    }

    /// What [`Destination::deliver`] promises.
    ///
    /// # Errors
    /// The batch is not durable, or some of its events are refused.
    pub async fn load(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        let Self { loader, memory } = self;
        let (mut tries, mut rounds) = (1, 0);
        loop {
            let reused = std::mem::take(&mut memory.reused);
            let mut held = Held { loader, is_over: false };
            let stopped = match attempt(held.loader, memory, batch).await {
                Ok(delivery) => {
                    (held.is_over, memory.reused) = (true, true);
                    return Ok(delivery);
                }
                Err(stopped) => stopped,
            };
            memory.keep_notices(held.loader.capabilities().undoes.ddl);
            let error = match &stopped {
                Stopped::Of(error) | Stopped::Part(error) => Some(error),
                Stopped::Waits | Stopped::Refused(_) => None,
            };
            held.loader.close(error).await;
            held.is_over = true;
            drop(held);
            match stopped {
                Stopped::Waits if rounds < ROUNDS_MAX => rounds += 1,
                Stopped::Of(error) if tries < L::TRIES_MAX && may_be_better(loader, &error, reused) => tries += 1,
                Stopped::Of(error) | Stopped::Part(error) => return Err(loader.failure(error)),
                Stopped::Refused(rejected) => return Err(Failure::Refused { rejected }),
                Stopped::Waits => {
                    let reason = format!("{}: changes of tables must wait for others", loader.place());
                    return Err(Failure::Retry { reason, cause: None });
                }
            }
        }
    }
}

/// Whether another try at once may do better.
fn may_be_better<L: Loader>(loader: &mut L, error: &L::Error, reused: bool) -> bool {
    (error.is_of_row() && loader.keep_parts_undoable()) || error.is_of_schema() || error.is_of_session(reused)
}

impl DriverMemory {
    /// What a try that failed has done to tables is not done again where it stays, and told with the next that succeeds.
    fn keep_notices(&mut self, is_undone: bool) {
        let notices = std::mem::take(&mut self.known.notices);
        if !is_undone {
            self.notices.extend(notices);
            self.notices.truncate(NOTICES_MAX);
        }
    }
}

/// One try of a batch.
async fn attempt<L: Loader>(
    loader: &mut L,
    memory: &mut DriverMemory,
    batch: &Batch,
) -> Result<Delivery, Stopped<L::Error>> {
    let snapshot = loader.snapshot(batch, &mut memory.known).await?;
    let position = ledger::position(snapshot.durable_to, &batch.range);
    if let Some(gap) = &position.gap {
        let (start, end) = (gap.start, gap.end);
        memory.known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
    }
    let next = position.next;
    let undoes = loader.capabilities().undoes;
    let mut load = BatchLoad::new(&mut memory.known, (batch, position), loader.capabilities().fit, snapshot.targets);
    let filled = fill(loader, &mut load, &mut memory.part).await;
    let (mut delivery, is_refused) = load.finish();
    if is_refused && !undoes.rows {
        memory.refused.get_or_insert((batch.range.clone(), delivery.duplicates));
    }
    filled?;
    if is_refused {
        return Err(Stopped::Refused(std::mem::take(&mut delivery.rejected)));
    }
    let known = &mut memory.known;
    fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
    loader.commit(next, &mut known.notices).await?;
    fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
    if let Some((range, duplicates)) = memory.refused.take()
        && range == batch.range
    {
        delivery.duplicates = duplicates;
    }
    memory.part = None;
    known.tables.trim();
    known.notices.splice(0..0, memory.notices.drain(..));
    delivery.notices = known.fresh_notices(&mut memory.told);
    Ok(delivery)
}

/// Writes all rows of a batch; `part` becomes its range where they are not undone, before the first is written.
async fn fill<L: Loader>(
    loader: &mut L,
    load: &mut BatchLoad<'_, '_, L::Encoder>,
    part: &mut Option<Range<u64>>,
) -> Result<(), Stopped<L::Error>> {
    while let Some(piece) = load.next_piece(loader.tools()).await.map_err(L::Error::from)? {
        // What was refused is told before more is done.
        if load.is_refused() && piece.items.start >= load.events() {
            return Ok(());
        }
        load.settle(loader, &piece.part).await?;
        let items = piece.items.clone();
        if !loader.capabilities().undoes.rows {
            *part = Some(load.batch().range.clone());
        }
        match loader.write(piece, load).await {
            Err(Stopped::Part(error)) => find_refused(loader, load, items, error).await?,
            written => written?,
        }
    }
    Ok(())
}

/// A piece was refused for `first`: writes halves of its events until those that are refused stand alone.
async fn find_refused<L: Loader>(
    loader: &mut L,
    load: &mut BatchLoad<'_, '_, L::Encoder>,
    items: Range<usize>,
    first: L::Error,
) -> Result<(), Stopped<L::Error>> {
    let (start, end) = (items.start.min(load.events()), items.end.min(load.events()));
    let mut halves = Bisect::of(start..end);
    // The whole has been refused already.
    let Some(whole) = halves.next_part() else { return Err(Stopped::Of(first)) };
    if let Some(alone) = halves.failed(whole) {
        // Alone already, but for violations that may stand in the same part.
        if items.len() == 1 {
            return refuse(loader, load, start, &first).await;
        }
        halves.push(alone);
    }
    let before = load.is_refused();
    while let Some(range) = halves.next_part() {
        let piece = load.exactly(loader.tools(), range.clone()).await.map_err(L::Error::from)?;
        load.settle(loader, &piece.part).await?;
        match loader.write(piece, load).await {
            Err(Stopped::Part(error)) => {
                if let Some(alone) = halves.failed(range) {
                    refuse(loader, load, alone.start, &error).await?;
                }
            }
            written => written?,
        }
    }
    // No event is at fault, so it is something else in the part.
    let is_elsewhere = L::Encoder::WHOLE && load.is_refused() == before;
    if is_elsewhere { Err(Stopped::Of(first)) } else { Ok(()) }
}

/// Event number `index` was refused for itself.
async fn refuse<L: Loader>(
    loader: &mut L,
    load: &mut BatchLoad<'_, '_, L::Encoder>,
    index: usize,
    error: &L::Error,
) -> Result<(), Stopped<L::Error>> {
    load.reject(index, error.words());
    if let Some((event, target)) = load.target(loader.tools().0, index).map_err(L::Error::from)? {
        loader.withdraw(event, &target, load.tables()).await?;
    }
    Ok(())
}

impl<L: Loader> Destination for Driver<L> {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        Box::pin(self.durable_to())
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.load(&batch).await })
    }

    fn holds_part(&self) -> bool {
        self.holds_part()
    }
}

#[cfg(test)]
mod tests;
