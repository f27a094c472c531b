//! One batch by way of a file: staged, copied, merged in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_process::clock;
use tidegate_warehouse::bisect::Bisect;
use tidegate_warehouse::ledger;
use tidegate_warehouse::schema_cache::{Found, SchemaCache};
use tidegate_warehouse::table::Table;

use super::client::{Link, SnowflakeWarehouse};
use super::ddl::{self, literal, quoted};
use super::encode;
use super::error::SnowflakeError;
use super::http::Http;
use super::plan::{self, Part, Plan};
use super::session::Session;
use super::settings::Checked;
use super::stage;

/// How far the sync has come by the ledger.
pub(super) async fn ledger(session: &mut Session, checked: &Checked) -> Result<Option<u64>, SnowflakeError> {
    let sql = format!(
        "SELECT MAX(\"LOG_OFFSET\")::VARCHAR FROM {} WHERE \"SYNC\" = {}",
        checked.place.ledger(),
        literal(&checked.sync)
    );
    let what = "reading the ledger";
    let answer = match session.run(what, &sql).await {
        // No database, no schema, no ledger: the sync was never here. If the database is missing, the first batch says so.
        Err(SnowflakeError::Refused { code: 2_003 | 2_043, .. }) => return Ok(None),
        other => other?.texts(what)?,
    };
    match answer.rows.first().and_then(|row| row.first()).and_then(Option::as_deref) {
        None | Some("-1") => Ok(None),
        Some(offset) => offset.parse().map(Some).map_err(|_| SnowflakeError::Ledger),
    }
}

/// Makes what is missing of the schema, the ledger and the knowledge of tables.
pub(super) async fn ready<'l>(
    link: &'l mut Link,
    checked: &Checked,
) -> Result<&'l mut (Found, SchemaCache), SnowflakeError> {
    let place = &checked.place;
    if !link.is_prepared {
        ddl::prepare(&mut link.session, place, &checked.sync).await?;
        // Files that a crash has left; nobody waits for them to go.
        let _ = link.session.run("tidying the stage", &format!("REMOVE @{}/{}/", place.stage(), place.tag)).await;
        link.is_prepared = true;
    }
    let known = match link.known.take() {
        Some(known) => known,
        None => {
            let found = ddl::find(&mut link.session, place).await?;
            let (limits, declared) = (checked.settings.limits, checked.declared.clone());
            let known = SchemaCache::new("", found.objects(), limits, declared, &checked.waiting);
            (found, known)
        }
    };
    Ok(link.known.insert(known))
}

/// Makes a batch durable.
pub(super) async fn deliver(
    warehouse: &SnowflakeWarehouse,
    link: &mut Link,
    batch: &Batch,
) -> Result<Delivery, SnowflakeError> {
    let checked = &*warehouse.checked;
    ready(link, checked).await?;
    let session = &mut link.session;
    let Some((found, known)) = &mut link.known else { return Err(SnowflakeError::Fenced) };
    let durable_to = ledger(session, checked).await?;
    let position = ledger::position(durable_to, &batch.range);
    if let Some(gap) = position.gap {
        let (start, end) = (gap.start, gap.end);
        known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
    }
    let plan = Plan::new(found, known, batch, position.skip_below)?;
    plan.settle(session, known, checked).await?;
    let move_from = durable_to.map_or_else(|| "-1".to_owned(), |offset| offset.to_string());
    let mut loading = Loading {
        session,
        known,
        plan: &plan,
        checked,
        http: &warehouse.http,
        range: (batch.range.start, batch.range.end),
        from: move_from,
        to: position.next,
    };
    let len = batch.events.len();
    let mut delivery = Delivery { duplicates: plan.skipped(), ..Delivery::default() };
    let nobody = BTreeSet::new();
    let all = Part { events: 0..len, without: &nobody, violations: true };
    delivery.duplicates += match loading.load(&all, End::Commit).await {
        Err(trouble) if trouble.is_of_row() => {
            let rejected = loading.search(len).await?;
            if rejected.is_empty() {
                return Err(trouble);
            }
            return Err(SnowflakeError::Rows { rejected, duplicates: 0 });
        }
        other => other?,
    };
    delivery.delivered = len as u64;
    Ok(delivery)
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    /// It was only to be seen whether the rows are taken.
    Rollback,
}

struct Loading<'l, 'b> {
    session: &'l mut Session,
    known: &'l mut SchemaCache,
    plan: &'l Plan<'b>,
    checked: &'l Checked,
    http: &'l Http,
    range: (u64, u64),
    /// What the ledger says, and shall say.
    from: String,
    to: u64,
}

/// Rows packed into a file.
struct File {
    bytes: Vec<u8>,
    rows: u64,
    by_table: BTreeMap<usize, u64>,
}

impl Loading<'_, '_> {
    /// Loads a part of the batch; answers how many events of it were there already.
    async fn load(&mut self, part: &Part<'_>, end: End) -> Result<u64, SnowflakeError> {
        let file = self.pack(part)?;
        let by_table = file.by_table.clone();
        let rows = file.rows;
        if rows > 0 {
            self.stage(file).await?;
        }
        fail::fail_point!("warehouse_after_stage", |_| std::process::abort());
        self.session.in_transaction = true;
        let done = self.transact(&by_table, rows, end).await;
        match &done {
            Ok(_) => self.session.in_transaction = false,
            Err(SnowflakeError::Refused { .. } | SnowflakeError::Fenced) => {
                if self.session.run("rolling back", "ROLLBACK").await.is_ok() {
                    self.session.in_transaction = false;
                }
            }
            // Dropped with the session.
            Err(_) => {}
        }
        let duplicates = done?;
        if rows > 0 {
            let sql = format!("DROP TABLE IF EXISTS {}", self.checked.place.load());
            // What is committed is committed; the table is made anew for the next file.
            let _ = self.session.run("tidying up", &sql).await;
        }
        Ok(duplicates)
    }

    /// Finds the events with values that Snowflake refuses. Every trial is a load that is rolled back.
    async fn search(&mut self, len: usize) -> Result<Vec<Rejected>, SnowflakeError> {
        let (mut halves, mut rejected, nobody) = (Bisect::of(len), Vec::new(), BTreeSet::new());
        while let Some(events) = halves.next_part() {
            let part = Part { events: events.clone(), without: &nobody, violations: false };
            let trouble = match self.load(&part, End::Rollback).await {
                Err(trouble) if trouble.is_of_row() => trouble,
                other => {
                    other?;
                    continue;
                }
            };
            if let Some(index) = halves.refused(events) {
                let reason = trouble.to_string();
                rejected.push(Rejected { index, code: "row_refused".into(), reason, detail: None });
            }
        }
        Ok(rejected)
    }

    fn pack(&mut self, part: &Part<'_>) -> Result<File, SnowflakeError> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        let (mut rows, mut by_table) = (0_u64, BTreeMap::<usize, u64>::new());
        let unwritten = |error: std::io::Error| SnowflakeError::Upload { problem: error.to_string(), lasting: false };
        self.plan.rows(self.known, part, |table, row| {
            write!(out, "{{\"_t\":\"{}\",\"_s\":\"{rows}\"", row.table).map_err(unwritten)?;
            plan::members(&mut out, table, row.cells, false).map_err(unwritten)?;
            out.write_all(b"}\n").map_err(unwritten)?;
            rows += 1;
            *by_table.entry(row.table).or_default() += 1;
            Ok(())
        })?;
        Ok(File { bytes: out.finish().map_err(unwritten)?, rows, by_table })
    }

    /// Brings a file into the empty table for it.
    async fn stage(&mut self, file: File) -> Result<(), SnowflakeError> {
        let place = &self.checked.place;
        let (load, stage) = (place.load(), place.stage());
        let unique: String = clock::uuid().chars().take(8).collect();
        let name = format!("{}-{}-{unique}.json.gz", self.range.0, self.range.1);
        let sql = format!("CREATE OR REPLACE TRANSIENT TABLE {load} (\"R\" VARIANT)");
        self.session.run("making the table for a file", &sql).await?;
        stage::put(self.session, self.http, &stage, &place.tag, &name, file.bytes).await?;
        let sql = format!(
            "COPY INTO {load} FROM @{stage}/{}/{name} FILE_FORMAT = (TYPE = JSON COMPRESSION = GZIP) \
             ON_ERROR = ABORT_STATEMENT FORCE = FALSE PURGE = TRUE",
            place.tag
        );
        self.session.run("copying a file", &sql).await?;
        Ok(())
    }

    async fn transact(&mut self, by_table: &BTreeMap<usize, u64>, rows: u64, end: End) -> Result<u64, SnowflakeError> {
        let place = &self.checked.place;
        self.session.run("beginning a transaction", "BEGIN").await?;
        // First of all, for it takes the lock that loads of this schema queue for; what they read after is settled.
        let whole = match rows {
            0 => String::new(),
            _ => format!(" AND (SELECT COUNT(*) FROM {}) = {rows}", place.load()),
        };
        let sql = format!(
            "UPDATE {} SET \"LOG_OFFSET\" = {}, \"UPDATED_AT\" = CURRENT_TIMESTAMP() WHERE \"SYNC\" = {} AND \
             \"LOG_OFFSET\" = {}{whole}",
            place.ledger(),
            self.to,
            literal(&self.checked.sync),
            self.from
        );
        if self.session.run("writing the ledger", &sql).await?.count() != Some(1) {
            return Err(SnowflakeError::Fenced);
        }
        let mut duplicates = 0;
        for (place, rows) in by_table {
            let table = &self.known.tables.list[*place];
            let columns = self.plan.columns.get(place).into_iter().flatten().copied();
            let sql = insert(&self.checked.place, table, *place, columns);
            let written = self.session.run("writing rows", &sql).await?.count().unwrap_or(*rows);
            if table.family.is_of_kind() {
                duplicates += rows.saturating_sub(written);
            }
        }
        if end == End::Rollback {
            self.session.run("rolling back", "ROLLBACK").await?;
            return Ok(duplicates);
        }
        fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
        self.session.run("committing a batch", "COMMIT").await?;
        fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
        Ok(duplicates)
    }
}

/// The statement that moves one table's rows: the first of each id, where the id is not there yet.
fn insert(place: &ddl::Place, table: &Table, number: usize, columns: impl Iterator<Item = u32>) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in columns {
        let column = &table.columns[column as usize];
        let name = quoted(&column.name);
        values.push(format!("{} AS {name}", encode::cast(column.kind(), &format!("\"R\":{name}"))));
        names.push(name);
    }
    let from: Vec<String> = names.iter().map(|name| format!("s.{name}")).collect();
    let name = place.sql(&table.name);
    format!(
        "INSERT INTO {name} ({}) SELECT {} FROM (SELECT {} FROM {} WHERE \"R\":\"_t\"::VARCHAR = '{number}' \
         QUALIFY ROW_NUMBER() OVER (PARTITION BY \"R\":\"ID\"::VARCHAR ORDER BY \"R\":\"_s\"::VARCHAR::NUMBER(19,0)) = 1) AS s \
         LEFT JOIN {name} AS t ON t.\"ID\" = s.\"ID\" WHERE t.\"ID\" IS NULL",
        names.join(", "),
        from.join(", "),
        values.join(", "),
        place.load()
    )
}
