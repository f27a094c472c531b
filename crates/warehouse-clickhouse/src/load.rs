//! One batch.
//!
//! What is known of the database is thrown away after any failure. Rows go out in parts that stand or fall alone; a part
//! that holds a row which a constraint refuses comes again in halves, and what was already written of it is found there by
//! its ids.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_event::Event;
use tidegate_event::destination::{Batch, Failure};
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::encoder::{AsPlanned, Piece};
use tidegate_warehouse::loader::{LoadError, Loader, Snapshot, Stopped};
use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::row::Group;
use tidegate_warehouse::schema_cache::{FoundSchema, SchemaCache};
use tidegate_warehouse::table::{Changes, RowTarget, Table, Tables};
use tidegate_warehouse::waiting::Refusal;

use super::apply::Apply;
use super::capabilities::CAPABILITIES;
use super::catalog;
use super::crowd::Crowd;
use super::error::ClickHouseError;
use super::ledger::ClickHouseLedger;
use super::rows::{self, Ids};
use super::settings::{CheckedClickHouse, LookUp};
use super::shapes::ColumnShapes;
use super::sql::{full, literal};
use super::view;
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// Events loaded together at most: one block of each table.
const PART_EVENTS: usize = 65_536;

/// What the server's descriptions of all tables come to in numbers; another one means that somebody has changed them.
type Print = (u64, u64);

/// One database, for one sync.
pub struct ClickHouseLoader {
    settings: Arc<CheckedClickHouse>,
    wire: Arc<ClickHouseWire>,
    encoder: AsPlanned<PART_EVENTS>,
    ledger: ClickHouseLedger,
    /// What the tables looked like, as far as they have been read.
    found: FoundSchema,
    shapes: ColumnShapes,
    print: Option<Print>,
    /// The last batch came to its end with this in the ledger: while it says so, nothing of the next can be there.
    certain: Option<u64>,
    /// Tables are asked for ids that they have already.
    ask: bool,
}

impl ClickHouseLoader {
    pub(super) fn new(settings: Arc<CheckedClickHouse>, wire: Arc<ClickHouseWire>) -> Self {
        Self {
            ledger: ClickHouseLedger::new(Arc::clone(&settings), Arc::clone(&wire)),
            settings,
            wire,
            encoder: AsPlanned,
            found: FoundSchema::default(),
            shapes: ColumnShapes::default(),
            print: None,
            certain: None,
            ask: true,
        }
    }

    fn name(&self, table: &str) -> String {
        full(&self.settings.database, table)
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
            self.ledger.rows(),
        );
        let answer = self.wire.ask(doing, &sql, 1 << 10).await?;
        let mut answer = ClickHouseAnswer(&answer);
        let mut read = || Some((answer.number()?, answer.number()?, (answer.number()?, answer.number()?)));
        let (rows, offset, print) = read().ok_or(ClickHouseError::Answer { doing })?;
        Ok(((rows > 0).then_some(offset), print))
    }

    /// Makes the database and the ledger where they are missing, and reads all tables where they are not as known.
    async fn prepare(&mut self, known: &mut SchemaCache) -> Result<Option<u64>, ClickHouseError> {
        self.ledger.prepare().await?;
        let (durable_to, print) = match self.look().await {
            // It is no longer where it was.
            Err(error) if error.is_missing() => {
                self.ledger.settle().await?;
                self.look().await?
            }
            found => found?,
        };
        if self.print != Some(print) {
            let (found, shapes) = catalog::find(&self.wire, &self.settings.database).await?;
            let CheckedClickHouse { limits, declared, waiting, .. } = &*self.settings;
            *known = SchemaCache::new("", found.objects(), *limits, Arc::clone(declared), waiting);
            (self.found, self.shapes, self.print) = (found, shapes, Some(print));
        }
        Ok(durable_to)
    }

    /// Writes the rows of these groups, some tables at a time. `there` becomes how many of them were there, before any is
    /// written.
    async fn write_groups(
        &self,
        tables: &Tables,
        groups: &[&Group<'_>],
        there: &mut Option<u64>,
    ) -> Result<(), ClickHouseError> {
        let table = |group: &Group<'_>| &tables.list[group.table];
        let mut ids: Vec<Ids> = groups.iter().map(|group| Ids::of(table(group), group)).collect();
        if self.ask {
            self.look_up(tables, groups, &mut ids).await?;
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
    async fn look_up(&self, tables: &Tables, groups: &[&Group<'_>], ids: &mut [Ids]) -> Result<(), ClickHouseError> {
        let doing = "looking for rows that are there already";
        let mut crowd = Crowd::default();
        for (place, (group, ids)) in groups.iter().zip(&*ids).enumerate() {
            crowd.room().await?;
            let table = &tables.list[group.table].name;
            let (wire, query_id) = (Arc::clone(&self.wire), self.query_id(table));
            let sql = format!("SELECT DISTINCT id FROM {} WHERE id IN ids FORMAT RowBinary", self.name(table));
            let asked = ids.bytes().to_vec();
            crowd.admit(async move {
                let there = wire.ask_of(doing, (&sql, &query_id), &asked, asked.len() + 64).await?;
                Ok((place, there))
            });
        }
        for (place, there) in crowd.end().await? {
            let (mut answer, mut known) = (ClickHouseAnswer(&there), HashSet::new());
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
}

impl Loader for ClickHouseLoader {
    type Error = ClickHouseError;
    type Catalog = FoundSchema;
    type Encoder = AsPlanned<PART_EVENTS>;

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        format!("warehouse {}", self.settings.place)
    }

    fn failure(&self, error: ClickHouseError) -> Failure {
        error.failure(&self.settings.place)
    }

    fn tools(&mut self) -> (&mut FoundSchema, &mut Self::Encoder) {
        (&mut self.found, &mut self.encoder)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, ClickHouseError> {
        Ok(if self.ledger.exists().await? { self.look().await?.0 } else { None })
    }

    async fn snapshot(&mut self, _batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, ClickHouseError> {
        let durable_to = self.prepare(known).await?;
        let certain = self.certain.take().is_some_and(|ledger| durable_to == Some(ledger));
        self.ask = self.settings.look_up == LookUp::Always || !certain;
        Ok(Snapshot { durable_to, targets: None })
    }

    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<ClickHouseError>>, ClickHouseError> {
        let Self { wire, settings, shapes, .. } = self;
        let mut apply = Apply { wire, database: &settings.database, table, shapes, notices };
        let altered = apply.run(changes, used).await;
        if !matches!(altered, Ok(None)) {
            self.print = None;
        }
        Ok(altered?.and_then(Result::err))
    }

    async fn view(&mut self, profile: &Profile, table: &Table) -> Result<ViewOutcome, ClickHouseError> {
        let outcome = view::keep(&self.wire, &self.settings.database, profile, table).await?;
        if outcome == ViewOutcome::Made {
            self.print = None;
        }
        Ok(outcome)
    }

    /// A row in the table of a kind says that the one in the event's own table is there.
    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> Result<(), Stopped<ClickHouseError>> {
        let tables = load.tables();
        let (of_kinds, of_events): (Vec<_>, Vec<_>) =
            piece.part.iter().partition(|group| tables.list[group.table].family.is_of_kind());
        let (mut there, mut written) = (None, self.write_groups(tables, &of_events, &mut None).await);
        if written.is_ok() {
            fail::fail_point!("warehouse_between_tables", |_| std::process::abort());
            written = self.write_groups(tables, &of_kinds, &mut there).await;
        }
        // Rows that a refused part has left behind are no duplicates when its halves find them.
        if let Some(there) = there {
            load.count(&piece.items, there);
        }
        match written {
            Err(error) if error.is_of_row() => {
                // Rows that some table has taken already are looked for from now on.
                self.ask = true;
                Err(Stopped::Part(error))
            }
            written => Ok(written?),
        }
    }

    /// Takes back the row that a refused event has in the table of its name: without a row in the table of its kind it is
    /// nobody's but ours.
    async fn withdraw(&mut self, event: &Event, target: &RowTarget, tables: &Tables) -> Result<(), ClickHouseError> {
        let Some((own, _)) = &target.event else { return Ok(()) };
        let name = |table: usize| self.name(&tables.list[table].name);
        let (own, of_kind, id) = (name(*own), name(target.kind), literal(event.message_id()));
        let doing = "looking for rows of a refused event";
        let sql = format!(
            "SELECT toUInt64((SELECT count() FROM {own} WHERE id = {id}) > 0 AND (SELECT count() FROM {of_kind} \
             WHERE id = {id}) = 0) FORMAT RowBinary"
        );
        match ClickHouseAnswer(&self.wire.ask(doing, &sql, 64).await?).number() {
            Some(0) => Ok(()),
            Some(_) => {
                self.wire.run("taking back a refused event", &format!("DELETE FROM {own} WHERE id = {id}")).await
            }
            None => Err(ClickHouseError::Answer { doing }),
        }
    }

    async fn commit(&mut self, next: u64, notices: &mut Vec<String>) -> Result<(), ClickHouseError> {
        self.ledger.write(next).await?;
        self.certain = Some(next);
        notices.extend(self.ledger.left.take());
        Ok(())
    }

    fn abandon(&mut self) {
        *self = Self::new(Arc::clone(&self.settings), Arc::clone(&self.wire));
    }
}
