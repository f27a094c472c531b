//! The rows of one batch: planned, and gathered in parts.

use std::collections::HashSet;
use std::ops::Range;

use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_event::{Event, ViolationRecord};

use crate::encoder::{Admit, Chunk, Encoder, Piece};
use crate::evolve::Fit;
use crate::ledger::LedgerPosition;
use crate::row::Planner;
use crate::schema_cache::{Look, SchemaCache};
use crate::table::{Family, RowTarget, Tables};

/// The catalog and the encoder of a loader.
pub type LoadTools<'t, C, E> = (&'t mut C, &'t mut E);

/// Events planned before others get a turn on the thread.
const TURN_EVENTS: usize = 64;

/// A batch on its way. Its items are its events and, behind the last of them, its violations.
pub struct BatchLoad<'l, 'b, E: Encoder> {
    pub(super) known: &'l mut SchemaCache,
    batch: &'b Batch,
    position: LedgerPosition,
    fit: Fit,
    /// Of all events, where the snapshot has found them.
    found: Option<Vec<Option<RowTarget>>>,
    /// Of the chunk in hand.
    targets: Vec<Option<RowTarget>>,
    /// The first item that no part has.
    at: usize,
    ahead: Option<Piece<'b, E>>,
    /// Duplicates are counted of items up to here.
    counted: usize,
    delivery: Delivery,
}

impl<'l, 'b, E: Encoder> BatchLoad<'l, 'b, E> {
    pub(super) fn new(
        known: &'l mut SchemaCache,
        (batch, position): (&'b Batch, LedgerPosition),
        fit: Fit,
        found: Option<Vec<Option<RowTarget>>>,
    ) -> Self {
        let mut delivery = Delivery { delivered: batch.events.len() as u64, ..Delivery::default() };
        if position.skip_below > batch.range.start {
            delivery.duplicates =
                batch.events.iter().filter(|event| event.id.position.offset < position.skip_below).count() as u64;
        }
        let (targets, ahead) = (Vec::new(), None);
        Self { known, batch, position, fit, found, targets, at: 0, ahead, counted: 0, delivery }
    }

    pub(super) fn finish(mut self) -> (Delivery, bool) {
        self.delivery.rejected.sort_unstable_by_key(|rejected| rejected.index);
        self.delivery.rejected.dedup_by_key(|rejected| rejected.index);
        let is_refused = self.is_refused();
        (self.delivery, is_refused)
    }

    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.known.tables
    }

    #[must_use]
    pub fn batch(&self) -> &'b Batch {
        self.batch
    }

    /// How many of the items are events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.batch.events.len()
    }

    fn items(&self) -> usize {
        self.batch.events.len() + self.batch.violations.len()
    }

    /// Whether these items are the whole batch.
    #[must_use]
    pub fn is_whole(&self, items: &Range<usize>) -> bool {
        items.len() == self.items()
    }

    /// What the ledger says, and shall say.
    #[must_use]
    pub fn position(&self) -> &LedgerPosition {
        &self.position
    }

    /// So many events of a piece were there already, by the tables of kinds. A piece that comes again in halves is counted
    /// once, the first time.
    pub fn count(&mut self, items: &Range<usize>, duplicates: u64) {
        if items.start >= self.counted {
            self.delivery.duplicates += duplicates;
            self.counted = items.end;
        }
    }

    /// The warehouse can never take event number `index`.
    pub fn reject(&mut self, index: usize, reason: String) {
        self.delivery.rejected.push(Rejected { index, code: "row_refused".into(), reason, detail: None });
    }

    pub(super) fn is_refused(&self) -> bool {
        !self.delivery.rejected.is_empty()
    }

    /// An event and where its rows go; `None` when it is there already.
    pub(super) fn target<C: Look>(
        &mut self,
        catalog: &mut C,
        index: usize,
    ) -> Result<Option<(&'b Event, RowTarget)>, C::Error> {
        let event = &*self.batch.events[index];
        let is_fresh = event.id.position.offset >= self.position.skip_below;
        Ok(if is_fresh { Some((event, self.known.target(catalog, event)?)) } else { None })
    }

    /// The next piece to write.
    pub(super) async fn next_piece<C: Look>(
        &mut self,
        tools: LoadTools<'_, C, E>,
    ) -> Result<Option<Piece<'b, E>>, C::Error> {
        if let Some(piece) = self.ahead.take() {
            return Ok(Some(piece));
        }
        let (from, to) = (self.at, self.items());
        if from >= to && !(E::WHOLE && from == 0) {
            return Ok(None);
        }
        let piece = self.gather(tools, from..to, true, None).await?;
        // An empty batch is written once.
        self.at = piece.items.end.max(1);
        Ok(Some(piece))
    }

    /// Makes the next piece, if there is none yet, while another is written.
    ///
    /// # Errors
    /// A table cannot be looked at.
    pub async fn ahead<C: Look>(&mut self, tools: LoadTools<'_, C, E>) -> Result<(), C::Error> {
        self.ahead = self.next_piece(tools).await?;
        Ok(())
    }

    /// These events as one piece.
    pub(super) async fn exactly<C: Look>(
        &mut self,
        tools: LoadTools<'_, C, E>,
        items: Range<usize>,
    ) -> Result<Piece<'b, E>, C::Error> {
        self.gather(tools, items, false, None).await
    }

    /// The same piece again, with nothing but base columns and the overflow for some of its events.
    ///
    /// # Errors
    /// A table cannot be looked at.
    pub async fn narrowed<C: Look>(
        &mut self,
        tools: LoadTools<'_, C, E>,
        items: Range<usize>,
        narrow: &HashSet<usize>,
    ) -> Result<Piece<'b, E>, C::Error> {
        self.gather(tools, items, false, Some(narrow)).await
    }

    /// Gathers items until the part is full, if it is `bounded`, or they are at their end. Events and violations share no
    /// part, unless the whole batch is one.
    async fn gather<C: Look>(
        &mut self,
        (catalog, encoder): LoadTools<'_, C, E>,
        items: Range<usize>,
        bounded: bool,
        narrow: Option<&HashSet<usize>>,
    ) -> Result<Piece<'b, E>, C::Error> {
        let events = self.events();
        let most = if narrow.is_some() { 1 } else { E::CHUNK_EVENTS };
        let (mut part, mut end, bounded) = (encoder.begin(), items.start, bounded && !E::WHOLE);
        let mut planned = 0;
        while end < items.end && !(bounded && end > items.start && encoder.is_full(&part)) {
            if end == events && end > items.start && !E::WHOLE {
                break;
            }
            let border = if end < events { items.end.min(events) } else { items.end };
            let chunk = end..border.min(end + most);
            end = chunk.end;
            let is_narrow = narrow.is_some_and(|narrow| narrow.contains(&chunk.start));
            self.targets(catalog, &chunk, |event| encoder.admit(&mut part, event))?;
            let records = self.records(&chunk, |record| encoder.admit_violation(&mut part, record));
            let chunk = self.chunk(catalog, (chunk, records), is_narrow, &mut planned).await?;
            encoder.add(&mut part, &self.known.tables, chunk);
        }
        encoder.end(&mut part);
        Ok(Piece { items: items.start..end, part })
    }

    /// Plans a few items again, for a warehouse that reads a part twice.
    ///
    /// # Errors
    /// A table cannot be looked at.
    pub async fn plan<C: Look>(&mut self, catalog: &mut C, items: Range<usize>) -> Result<Chunk<'b>, C::Error> {
        self.targets(catalog, &items, |_| Admit::Rows)?;
        let records = self.records(&items, |_| true);
        self.chunk(catalog, (items, records), false, &mut 0).await
    }

    /// Finds out where the events of a chunk go.
    fn targets<C: Look>(
        &mut self,
        catalog: &mut C,
        items: &Range<usize>,
        mut admit: impl FnMut(&'b Event) -> Admit,
    ) -> Result<(), C::Error> {
        self.targets.clear();
        for at in items.start..items.end.min(self.batch.events.len()) {
            let event = &*self.batch.events[at];
            let admitted = if event.id.position.offset >= self.position.skip_below { Some(admit(event)) } else { None };
            let target = match (admitted, &self.found) {
                (Some(Admit::Rows), None) => Some(self.known.target(catalog, event)?),
                (Some(Admit::Rows), Some(found)) => found[at].clone(),
                (None, _) => None,
                (Some(Admit::Duplicate), _) => {
                    self.delivery.duplicates += 1;
                    None
                }
                (Some(Admit::Refused(reason)), _) => {
                    self.reject(at, reason);
                    None
                }
            };
            self.targets.push(target);
        }
        Ok(())
    }

    /// The violations of a chunk that get rows.
    fn records(
        &self,
        items: &Range<usize>,
        mut admit: impl FnMut(&'b ViolationRecord) -> bool,
    ) -> Vec<&'b ViolationRecord> {
        let events = self.batch.events.len();
        let records = &self.batch.violations[items.start.max(events) - events..items.end.max(events) - events];
        let fresh =
            records.iter().map(|record| &**record).filter(|record| record.position.offset >= self.position.skip_below);
        fresh.filter(|record| admit(record)).collect()
    }

    /// Plans the rows of a chunk whose targets are known.
    async fn chunk<C: Look>(
        &mut self,
        catalog: &mut C,
        (items, records): (Range<usize>, Vec<&'b ViolationRecord>),
        is_narrow: bool,
        planned: &mut usize,
    ) -> Result<Chunk<'b>, C::Error> {
        let violations = match records.is_empty() {
            true => None,
            false => Some(self.known.fixed_table(catalog, Family::Violations)?),
        };
        let tables = &mut self.known.tables;
        let mut planner = if is_narrow { Planner::narrow(tables, self.fit) } else { Planner::new(tables, self.fit) };
        for (at, target) in (items.start..).zip(&self.targets) {
            let Some(target) = target else { continue };
            if *planned > 0 && planned.is_multiple_of(TURN_EVENTS) {
                tokio::task::yield_now().await;
            }
            *planned += 1;
            planner.event(u32::try_from(at).unwrap_or(u32::MAX), &self.batch.events[at], target);
        }
        if let Some(table) = violations {
            records.iter().for_each(|record| planner.violation(record, table));
        }
        Ok(Chunk { items, groups: planner.finish(), records, batch: self.batch })
    }
}
