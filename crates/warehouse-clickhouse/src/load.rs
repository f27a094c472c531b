//! One batch.
//!
//! A [`Session`] is what is known of the database, and the work on a batch. It is thrown away after any failure. Rows go out
//! in parts that stand or fall alone; a part that holds a row which a constraint refuses comes again in halves, and what
//! was already written of it is found there by its ids.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_event::{Event, ViolationRecord};
use tidegate_warehouse::bisect::Bisect;
use tidegate_warehouse::ledger;
use tidegate_warehouse::row::{Group, Planner};
use tidegate_warehouse::schema_cache::{Found, SchemaCache, Taken};
use tidegate_warehouse::table::Family;

use super::client::{Checked, LookUp};
use super::crowd::Crowd;
use super::ddl::{self, Apply, Shapes, full, literal};
use super::encode;
use super::error::ClickHouseError;
use super::ledger::Places;
use super::rows::{self, Ids};
use super::view;
use super::wire::{Answer, Wire};

/// Events loaded together at most: one block of each table.
const PART_EVENTS: usize = 65_536;
/// Events planned before others get a turn on the thread.
const TURN_EVENTS: usize = 256;

/// What the server's descriptions of all tables come to in numbers; another one means that somebody has changed them.
type Print = (u64, u64);

pub(super) struct Session {
    pub(super) settings: Arc<Checked>,
    pub(super) wire: Arc<Wire>,
    /// Where the ledger is.
    pub(super) places: Places,
    /// It is where it can be.
    settled: bool,
    /// Why it is not where it should be.
    pub(super) left: Option<String>,
    pub(super) known: SchemaCache,
    /// What the tables looked like, as far as they have been read.
    found: Found,
    shapes: Shapes,
    print: Option<Print>,
    /// The last batch came to its end with this in the ledger: while it says so, nothing of the next can be there.
    certain: Option<u64>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a part was not loaded.
enum Refused {
    /// Some row of it; rows of other tables may have been written. If it came to the tables of kinds, so many of their
    /// rows had been there before.
    Row(ClickHouseError, Option<u64>),
    Other(ClickHouseError),
}

impl From<ClickHouseError> for Refused {
    fn from(error: ClickHouseError) -> Self {
        if error.is_of_row() { Self::Row(error, None) } else { Self::Other(error) }
    }
}

impl Session {
    pub(super) fn new(settings: Arc<Checked>, wire: Arc<Wire>) -> Self {
        Self {
            settings,
            wire,
            places: Places::default(),
            settled: false,
            left: None,
            known: SchemaCache::default(),
            found: Found::default(),
            shapes: Shapes::default(),
            print: None,
            certain: None,
        }
    }

    fn name(&self, table: &str) -> String {
        full(&self.settings.database, table)
    }

    /// The ledger alone; nothing is made.
    pub(super) async fn durable_to(&mut self) -> Result<Option<u64>, ClickHouseError> {
        if !self.settled {
            self.places = self.locate().await?;
        }
        if !self.places.has_ledger() {
            return Ok(None);
        }
        match self.look().await {
            Ok((durable_to, _)) => Ok(durable_to),
            Err(error) if error.is_missing() => {
                self.settled = false;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The ledger, and what all tables come to, in one question.
    async fn look(&self) -> Result<(Option<u64>, Print), ClickHouseError> {
        let doing = "reading the ledger";
        let (database, sync) = (literal(&self.settings.database), literal(&self.settings.sync));
        let print = |of: &str, columns: &str| {
            format!(
                "assumeNotNull((SELECT groupBitXor(cityHash64({columns})) FROM system.{of} WHERE database = {database}))"
            )
        };
        let sql = format!(
            "SELECT count(), max(log_offset), {}, {} FROM {} WHERE sync = {sync} FORMAT RowBinary",
            print("tables", "name, engine, sorting_key"),
            print("columns", "table, name, type, default_kind, comment"),
            self.ledger_rows(),
        );
        let answer = self.wire.ask(doing, &sql, 1 << 10).await?;
        let mut answer = Answer(&answer);
        let mut read = || Some((answer.number()?, answer.number()?, (answer.number()?, answer.number()?)));
        let (rows, offset, print) = read().ok_or(ClickHouseError::Answer { doing })?;
        Ok(((rows > 0).then_some(offset), print))
    }

    /// Makes the database and the ledger where they are missing, and reads all tables where they are not as known.
    async fn prepare(&mut self) -> Result<Option<u64>, ClickHouseError> {
        if !self.settled {
            self.settle_ledger().await?;
            self.settled = true;
        }
        let (durable_to, print) = match self.look().await {
            // It is no longer where it was.
            Err(error) if error.is_missing() => {
                self.settle_ledger().await?;
                self.look().await?
            }
            found => found?,
        };
        if self.print != Some(print) {
            let (found, shapes) = ddl::read(&self.wire, &self.settings.database).await?;
            let Checked { limits, declared, waiting, .. } = &*self.settings;
            self.known = SchemaCache::new("", found.objects(), *limits, Arc::clone(declared), waiting);
            (self.found, self.shapes, self.print) = (found, shapes, Some(print));
        }
        Ok(durable_to)
    }

    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<Delivery, ClickHouseError> {
        let durable_to = self.prepare().await?;
        let position = ledger::position(durable_to, &batch.range);
        if let Some(gap) = &position.gap {
            let (start, end) = (gap.start, gap.end);
            self.known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
        }
        let certain = self.certain.take().is_some_and(|ledger| durable_to == Some(ledger));
        let ask = self.settings.look_up == LookUp::Always || !certain;
        let mut delivery = Delivery::default();
        let fresh: Vec<usize> =
            (0..batch.events.len()).filter(|at| batch.events[*at].offset >= position.skip_below).collect();
        delivery.duplicates = (batch.events.len() - fresh.len()) as u64;
        for part in fresh.chunks(PART_EVENTS) {
            self.load(&batch.events, part, ask, &mut delivery).await?;
        }
        let records: Vec<&ViolationRecord> = batch
            .violations
            .iter()
            .map(|record| &**record)
            .filter(|record| record.offset >= position.skip_below)
            .collect();
        for part in records.chunks(PART_EVENTS) {
            self.violations(part, ask).await?;
        }
        if !delivery.rejected.is_empty() {
            return Err(ClickHouseError::Refused { rejected: delivery.rejected, duplicates: delivery.duplicates });
        }
        delivery.delivered = batch.events.len() as u64;
        fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
        self.write_ledger(position.next).await?;
        fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
        self.certain = Some(position.next);
        self.known.notices.extend(self.left.take());
        Ok(delivery)
    }

    /// The events with these places in the batch, by halves where some are refused.
    async fn load(
        &mut self,
        events: &[Arc<Event>],
        places: &[usize],
        mut ask: bool,
        delivery: &mut Delivery,
    ) -> Result<(), ClickHouseError> {
        let (mut halves, mut counted) = (Bisect::of(places.len()), 0);
        while let Some(part) = halves.next_part() {
            let loaded = self.part(events, &places[part.clone()], ask).await;
            let there = match &loaded {
                Ok(there) => Some(*there),
                Err(Refused::Row(_, there)) => *there,
                Err(Refused::Other(_)) => None,
            };
            // Rows that a refused part has left behind are no duplicates when its halves find them.
            if let Some(there) = there.filter(|_| part.start >= counted) {
                delivery.duplicates += there;
                counted = part.end;
            }
            match loaded {
                Ok(_) => {}
                Err(Refused::Other(error)) => return Err(error),
                Err(Refused::Row(error, _)) => {
                    // Rows that some table has taken already are looked for from now on.
                    ask = true;
                    if let Some(alone) = halves.refused(part) {
                        let (index, reason) = (places[alone], error.to_string());
                        self.withdraw(&events[index]).await?;
                        delivery.rejected.push(Rejected { index, code: "row_refused".into(), reason, detail: None });
                    }
                }
            }
        }
        Ok(())
    }

    /// Loads events together; how many the tables of kinds had already.
    async fn part(&mut self, events: &[Arc<Event>], places: &[usize], ask: bool) -> Result<u64, Refused> {
        let mut targets = Vec::with_capacity(places.len());
        for place in places {
            let target = self.known.target(&mut self.found, &events[*place]);
            targets.push(target.map_err(|Taken(name)| ClickHouseError::Taken { name })?);
        }
        let mut planner = Planner::new(&mut self.known.tables, encode::FIT);
        for (at, (place, target)) in places.iter().zip(&targets).enumerate() {
            planner.event(u32::try_from(*place).unwrap_or(u32::MAX), &events[*place], target);
            if at % TURN_EVENTS == TURN_EVENTS - 1 {
                tokio::task::yield_now().await;
            }
        }
        let groups = planner.finish();
        self.settle(&groups).await?;
        let (of_kinds, of_events): (Vec<_>, Vec<_>) =
            groups.iter().partition(|group| self.known.tables.list[group.table].family.is_of_kind());
        self.write(&of_events, ask, &mut None).await?;
        fail::fail_point!("warehouse_between_tables", |_| std::process::abort());
        let mut there = None;
        match self.write(&of_kinds, ask, &mut there).await {
            Err(error) if error.is_of_row() => Err(Refused::Row(error, there)),
            Err(error) => Err(Refused::Other(error)),
            Ok(()) => Ok(there.unwrap_or_default()),
        }
    }

    async fn violations(&mut self, records: &[&ViolationRecord], ask: bool) -> Result<(), ClickHouseError> {
        let table = self.known.fixed_table(&mut self.found, Family::Violations);
        let table = table.map_err(|Taken(name)| ClickHouseError::Taken { name })?;
        let mut planner = Planner::new(&mut self.known.tables, encode::FIT);
        for record in records {
            planner.violation(record, table);
        }
        let groups = planner.finish();
        self.settle(&groups).await?;
        self.write(&groups.iter().collect::<Vec<_>>(), ask, &mut None).await
    }

    /// Makes the tables ready for the rows of these groups. When a change must wait, the batch is begun anew without it.
    async fn settle(&mut self, groups: &[Group<'_>]) -> Result<(), ClickHouseError> {
        let mut waits = false;
        for group in groups {
            let table = &mut self.known.tables.list[group.table];
            let mut apply = Apply {
                wire: &self.wire,
                database: &self.settings.database,
                table,
                shapes: &mut self.shapes,
                notices: &mut self.known.notices,
            };
            let refused = apply.run(&group.columns).await;
            if !matches!(refused, Ok(None)) {
                self.print = None;
            }
            if let Some(refused) = refused? {
                waits |= self.known.wait(group.table, refused)?;
            }
            if let Some(profile) = self.known.profile(group.table) {
                let table = &self.known.tables.list[group.table];
                let outcome = view::keep(&self.wire, &self.settings.database, profile, table).await?;
                if self.known.viewed(group.table, outcome) {
                    self.print = None;
                }
            }
        }
        if waits { Err(ClickHouseError::Waits) } else { Ok(()) }
    }

    /// Writes the rows of these groups, some tables at a time. `there` becomes how many of them were there, before any is
    /// written.
    async fn write(&self, groups: &[&Group<'_>], ask: bool, there: &mut Option<u64>) -> Result<(), ClickHouseError> {
        let table = |group: &Group<'_>| &self.known.tables.list[group.table];
        let mut ids: Vec<Ids> = groups.iter().map(|group| Ids::of(table(group), group)).collect();
        if ask {
            self.look_up(groups, &mut ids).await?;
        }
        *there = Some(ids.iter().map(|ids| ids.skipped() as u64).sum());
        let mut crowd = Crowd::default();
        for (group, ids) in groups.iter().zip(&ids) {
            if ids.skipped() == group.rows.len() {
                continue;
            }
            crowd.room().await?;
            let rows = rows::encoded(table(group), &self.shapes, group, ids).await;
            let (wire, query_id) = (Arc::clone(&self.wire), self.query_id(&table(group).name));
            let sql = format!("INSERT INTO {} FORMAT RowBinaryWithNamesAndTypes", self.name(&table(group).name));
            crowd.admit(async move { wire.insert("writing rows", (&sql, &query_id), rows).await });
        }
        crowd.end().await.map(drop)
    }

    /// Asks the tables which of these rows they have.
    async fn look_up(&self, groups: &[&Group<'_>], ids: &mut [Ids]) -> Result<(), ClickHouseError> {
        let doing = "looking for rows that are there already";
        let mut crowd = Crowd::default();
        for (place, (group, ids)) in groups.iter().zip(&*ids).enumerate() {
            crowd.room().await?;
            let table = &self.known.tables.list[group.table].name;
            let (wire, query_id) = (Arc::clone(&self.wire), self.query_id(table));
            let sql = format!("SELECT DISTINCT id FROM {} WHERE id IN ids FORMAT RowBinary", self.name(table));
            let asked = ids.bytes().to_vec();
            crowd.admit(async move {
                let there = wire.ask_of(doing, (&sql, &query_id), &asked, asked.len() + 64).await?;
                Ok((place, there))
            });
        }
        for (place, there) in crowd.end().await? {
            let (mut answer, mut known) = (Answer(&there), HashSet::new());
            while !answer.is_over() {
                known.insert(answer.bytes().ok_or(ClickHouseError::Answer { doing })?);
            }
            if !ids[place].skip(&known) {
                return Err(ClickHouseError::Answer { doing });
            }
        }
        Ok(())
    }

    /// One at a time of a sync and a table, whatever became of those who ran the one before.
    fn query_id(&self, table: &str) -> String {
        format!("tidegate/{}/{table}/{}", self.settings.database, self.settings.sync)
    }

    /// Takes back the row that a refused event has in the table of its name: without a row in the table of its kind it is
    /// nobody's but ours.
    async fn withdraw(&mut self, event: &Event) -> Result<(), ClickHouseError> {
        let target =
            self.known.target(&mut self.found, event).map_err(|Taken(name)| ClickHouseError::Taken { name })?;
        let Some((own, _)) = target.event else { return Ok(()) };
        let name = |table: usize| self.name(&self.known.tables.list[table].name);
        let (own, of_kind, id) = (name(own), name(target.kind), literal(event.message_id()));
        let doing = "looking for rows of a refused event";
        let sql = format!(
            "SELECT toUInt64((SELECT count() FROM {own} WHERE id = {id}) > 0 AND (SELECT count() FROM {of_kind} \
             WHERE id = {id}) = 0) FORMAT RowBinary"
        );
        match Answer(&self.wire.ask(doing, &sql, 64).await?).number() {
            Some(0) => Ok(()),
            Some(_) => {
                self.wire.run("taking back a refused event", &format!("DELETE FROM {own} WHERE id = {id}")).await
            }
            None => Err(ClickHouseError::Answer { doing }),
        }
    }
}
