//! One batch, one transaction: its tables held, its parts copied, the ledger written, all of it committed.
//!
//! While the server takes one part the next is encoded, and the tables of a part follow each other without waiting. When
//! something is refused the batch comes again over another connection, with care: the keys of a part (and of some after
//! it) are looked up before it is copied, its tables are copied one by one under a savepoint, and what is refused then is
//! found (`recover`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use tidegate_event::Event;
use tidegate_event::destination::{Batch, Delivery};
use tidegate_warehouse::ledger;
use tidegate_warehouse::row::Planner;
use tidegate_warehouse::schema_cache::{Found, SchemaCache, Told};
use tidegate_warehouse::table::{Family, Target};

use super::catalog::{self, Fingerprints};
use super::client::Checked;
use super::ddl;
use super::encode::FIT;
use super::error::PostgresError;
use super::ledger::Places;
use super::part::{Part, Shapes};
use super::view::{self, Before};
use super::wire::Wire;

/// Events planned together: few enough to be in the processor's cache when they are encoded.
const CHUNK_EVENTS: usize = 64;
/// Text of one part. Two are in memory at a time.
const PART_BYTES: usize = 4 << 20;
/// After a key that was there already, the keys of so many parts are looked up before they are copied.
pub(super) const WARY_PARTS: u32 = 32;
/// After rows that were refused, so many batches are copied table by table.
const CAREFUL_BATCHES: u32 = 8;
/// How often tables that somebody alters meanwhile are looked at anew.
const LOOKS_MAX: usize = 4;

/// What a connection knows and does.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) settings: Arc<Checked>,
    pub(super) known: SchemaCache,
    found: Found,
    prints: Fingerprints,
    pub(super) shapes: Shapes,
    /// What the ledger said last.
    pub(super) durable: Option<u64>,
    /// Where the ledger is.
    pub(super) places: Places,
    /// The schema and the ledger exist, the ledger where it can be.
    pub(super) settled: bool,
    /// Why the ledger is not where it should be.
    pub(super) left: Option<String>,
    /// The tables have been looked at.
    looked: bool,
    /// So many parts more are looked up before they are copied.
    pub(super) wary: u32,
    /// So many batches more are copied table by table, so that what is refused can be found.
    pub(super) careful: u32,
    /// Tables that this batch has altered.
    altered: BTreeSet<usize>,
}

/// Where the rows of each event of a batch go; `None` for those that are there.
pub(super) type Targets = Vec<Option<Target>>;

impl Session {
    pub(super) async fn open(settings: &Arc<Checked>) -> Result<Self, PostgresError> {
        Ok(Self {
            wire: Wire::open(settings).await?,
            settings: Arc::clone(settings),
            known: SchemaCache::default(),
            found: Found::default(),
            prints: Fingerprints::default(),
            shapes: Shapes::default(),
            durable: None,
            places: Places::default(),
            settled: false,
            left: None,
            looked: false,
            wary: 0,
            careful: 0,
            altered: BTreeSet::new(),
        })
    }

    /// What rows of the last batch were refused for may be in this one too.
    pub(super) fn beware(&mut self) {
        (self.wary, self.careful) = (WARY_PARTS, CAREFUL_BATCHES);
    }

    pub(super) fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// Ends the connection, and with it whatever it has begun.
    pub(super) async fn close(self) {
        self.wire.close().await;
    }

    pub(super) fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    pub(super) async fn durable_to(&mut self) -> Result<Option<u64>, PostgresError> {
        if !self.settled {
            self.places = self.locate().await?;
        }
        self.durable = if self.places.has_ledger() { self.read_ledger().await? } else { None };
        Ok(self.durable)
    }

    pub(super) async fn deliver(&mut self, batch: &Batch, told: &mut Told) -> Result<Delivery, PostgresError> {
        if !self.settled {
            self.settle_ledger().await?;
            self.durable = self.read_ledger().await?;
        }
        let (targets, skip_below, next) = self.begin(batch).await?;
        let mut delivery = Delivery::default();
        delivery.duplicates += targets.iter().filter(|target| target.is_none()).count() as u64;
        self.load(batch, &targets, &mut delivery).await?;
        if !delivery.rejected.is_empty() {
            delivery.rejected.sort_unstable_by_key(|rejected| rejected.index);
            return Err(PostgresError::Refused { rejected: delivery.rejected });
        }
        self.load_violations(batch, skip_below).await?;
        if !self.altered.is_empty() {
            let names = self.names(self.altered.iter().copied());
            self.prints.extend(catalog::fingerprints(&self.wire, Some(&names)).await?);
            self.altered.clear();
        }
        self.write_ledger(next).await?;
        fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
        self.wire.commit().await?;
        fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
        self.durable = Some(next);
        self.careful = self.careful.saturating_sub(1);
        self.known.tables.trim();
        delivery.delivered = batch.events.len() as u64;
        self.known.notices.extend(self.left.take());
        delivery.notices = self.known.fresh_notices(told);
        Ok(delivery)
    }

    /// Begins the transaction, holds the tables of the batch against alteration, and sees that they are what is known of
    /// them: the targets, the offset below which events are there, and what the ledger shall say.
    async fn begin(&mut self, batch: &Batch) -> Result<(Targets, u64, u64), PostgresError> {
        if !self.looked {
            self.look().await?;
        }
        let mut expected = self.durable;
        let mut targets = self.targets(batch, expected)?;
        let mut names = self.held(&targets, batch);
        // All at once: the server answers in order, and the first refusal is the cause of the others.
        let (wire, hold) = (&self.wire, ddl::hold(&self.wire.schema, &names));
        let (begun, fenced, durable, held, prints) = tokio::join!(
            wire.begin(),
            self.fence(),
            self.read_ledger(),
            wire.run("holding the tables", &hold),
            catalog::fingerprints(wire, Some(&names)),
        );
        begun?;
        fenced?;
        let durable = durable?;
        held?;
        let mut prints = prints?;
        let position = ledger::position(durable, &batch.range);
        for _ in 0..LOOKS_MAX {
            let is_known =
                names.iter().all(|name| prints.contains_key(name) && prints.get(name) == self.prints.get(name));
            if is_known && expected == durable {
                if let Some(gap) = position.gap {
                    let (start, end) = (gap.start, gap.end);
                    let notice = format!("offsets {start} to {end} of the log never reached this warehouse");
                    self.known.notices.push(notice);
                }
                return Ok((targets, position.skip_below, position.next));
            }
            self.look().await?;
            expected = durable;
            targets = self.targets(batch, expected)?;
            names = self.held(&targets, batch);
            self.wire.run("holding the tables", &ddl::hold(&self.wire.schema, &names)).await?;
            prints = catalog::fingerprints(&self.wire, Some(&names)).await?;
        }
        Err(PostgresError::Restless)
    }

    /// Looks at the tables anew. The fingerprints come first: a change that slips in between shows later.
    async fn look(&mut self) -> Result<(), PostgresError> {
        self.prints = catalog::fingerprints(&self.wire, None).await?;
        self.found = catalog::find(&self.wire).await?;
        let (limits, declared) = (self.settings.limits, Arc::clone(&self.settings.declared));
        self.known = SchemaCache::new("", self.found.objects(), limits, declared, &self.settings.waiting);
        self.shapes = Shapes::default();
        self.looked = true;
        Ok(())
    }

    fn targets(&mut self, batch: &Batch, durable: Option<u64>) -> Result<Targets, PostgresError> {
        let mut targets = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let fresh = durable.is_none_or(|durable| event.offset >= durable);
            targets.push(if fresh { Some(self.known.target(&mut self.found, event)?) } else { None });
        }
        if !batch.violations.is_empty() {
            self.known.fixed_table(&mut self.found, Family::Violations)?;
        }
        Ok(targets)
    }

    /// The names of the tables that exist and get rows, in order.
    fn held(&self, targets: &Targets, batch: &Batch) -> Vec<String> {
        let mut tables: BTreeSet<usize> = BTreeSet::new();
        for target in targets.iter().flatten() {
            tables.insert(target.kind);
            tables.extend(target.event.as_ref().map(|(table, _)| *table));
        }
        if !batch.violations.is_empty() {
            tables.extend(self.known.tables.find("event_violations"));
        }
        let mut names = self.names(tables.into_iter().filter(|table| self.known.tables.list[*table].exists));
        names.sort_unstable();
        names
    }

    fn names(&self, tables: impl Iterator<Item = usize>) -> Vec<String> {
        tables.map(|table| self.known.tables.list[table].name.to_string()).collect()
    }

    /// Plans and encodes the batch part by part, and copies each while the next is encoded.
    async fn load(&mut self, batch: &Batch, targets: &Targets, delivery: &mut Delivery) -> Result<(), PostgresError> {
        let mut part = gather(&mut self.known, &mut self.shapes, &self.wire.schema, &batch.events, targets, 0).await;
        while !part.events.is_empty() {
            self.settle(&part).await?;
            let schema = self.wire.schema.clone();
            let next = gather(&mut self.known, &mut self.shapes, &schema, &batch.events, targets, part.events.end);
            let (look, row) = (self.wary > 0, self.careful == 0);
            let (copied, next) = tokio::join!(copy(&mut self.wire, &mut part, look, row), next);
            match copied {
                Ok(duplicates) => self.copied(duplicates, delivery),
                Err(error) if row => return Err(error),
                Err(error) => self.recover(part, error, batch, targets, delivery).await?,
            }
            part = next;
        }
        Ok(())
    }

    fn copied(&mut self, duplicates: u64, delivery: &mut Delivery) {
        delivery.duplicates += duplicates;
        self.wary = if duplicates > 0 { WARY_PARTS } else { self.wary.saturating_sub(1) };
    }

    /// Makes the tables ready for the rows of the part. When a change must wait, the batch is begun anew without it.
    pub(super) async fn settle(&mut self, part: &Part) -> Result<(), PostgresError> {
        let mut waits = false;
        for at in part.tables() {
            let table = &mut self.known.tables.list[at];
            let mut before = Before::default();
            if !table.changes().is_empty() {
                before = view::before(&self.wire, table).await?;
                let applied = ddl::apply(&self.wire, table, &before).await?;
                self.known.notices.extend(applied.notices);
                self.altered.insert(at);
                waits |= self.known.wait(at, applied.refused)?;
            }
            if let Some(profile) = self.known.profile(at) {
                let outcome = view::keep(&self.wire, profile, &self.known.tables.list[at], &before).await?;
                self.known.viewed(at, outcome);
            }
        }
        if waits { Err(PostgresError::Waits) } else { Ok(()) }
    }

    async fn load_violations(&mut self, batch: &Batch, skip_below: u64) -> Result<(), PostgresError> {
        let fresh: Vec<_> = batch.violations.iter().filter(|record| record.offset >= skip_below).collect();
        let mut at = 0;
        while at < fresh.len() {
            let table = self.known.fixed_table(&mut self.found, Family::Violations)?;
            let mut part = Part::of(at..at);
            while at < fresh.len() && part.bytes < PART_BYTES {
                let chunk = &fresh[at..fresh.len().min(at + CHUNK_EVENTS)];
                let mut planner = Planner::new(&mut self.known.tables, FIT);
                for record in chunk {
                    planner.violation(record, table);
                }
                for group in planner.finish() {
                    part.add(&self.wire.schema, &mut self.shapes, &self.known.tables.list[group.table], &group, at);
                }
                at += chunk.len();
            }
            part.events.end = at;
            part.seal();
            self.settle(&part).await?;
            copy(&mut self.wire, &mut part, self.wary > 0, self.careful == 0).await?;
        }
        Ok(())
    }
}

/// Plans and encodes events from number `from` on, until the part is large enough. Lets others run in between.
async fn gather(
    known: &mut SchemaCache,
    shapes: &mut Shapes,
    schema: &str,
    events: &[Arc<Event>],
    targets: &Targets,
    from: usize,
) -> Part {
    let mut part = Part::of(from..from);
    while part.events.end < events.len() && part.bytes < PART_BYTES {
        let chunk = part.events.end..events.len().min(part.events.end + CHUNK_EVENTS);
        let mut planner = Planner::new(&mut known.tables, FIT);
        for at in chunk.clone() {
            if let Some(target) = &targets[at] {
                planner.event(u32::try_from(at).unwrap_or(u32::MAX), &events[at], target);
            }
        }
        for group in planner.finish() {
            part.add(schema, shapes, &known.tables.list[group.table], &group, 0);
        }
        part.events.end = chunk.end;
        tokio::task::yield_now().await;
    }
    part.seal();
    part
}

async fn copy(wire: &mut Wire, part: &mut Part, look: bool, row: bool) -> Result<u64, PostgresError> {
    let events = part.events.clone();
    copy_of(wire, part, events, look, row).await
}

/// Copies the rows of these events, all or none; those whose keys are there already are left out if they are looked up
/// first. How many events were there.
pub(super) async fn copy_of(
    wire: &mut Wire,
    part: &mut Part,
    events: Range<usize>,
    look: bool,
    row: bool,
) -> Result<u64, PostgresError> {
    let mut skipped = 0;
    if look {
        let mut found = Vec::with_capacity(part.runs.len());
        for run in 0..part.runs.len() {
            found.push(wire.keys_there(part.table(run), part.keys(run, &events)).await?);
        }
        skipped = part.skip(&events, &found);
    }
    wire.copy(part.copies(&events), row).await?;
    Ok(skipped)
}
