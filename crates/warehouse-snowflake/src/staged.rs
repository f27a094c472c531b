//! One batch by way of a file: staged, copied, merged in one transaction.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidegate_process::clock;
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::encoder::Piece;
use tidegate_warehouse::loader::{LoadError, Stopped};
use tidegate_warehouse::schema_cache::FoundSchema;
use tidegate_warehouse::table::Table;

use super::account::Account;
use super::encode;
use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::plan::{self, PlanColumns};
use super::session::SnowflakeSession;
use super::sql::{literal, quoted};
use super::stage::{self, StagePlace};

/// Rows packed into a file.
struct StagedFile {
    bytes: Vec<u8>,
    rows: u64,
    by_table: BTreeMap<usize, u64>,
}

type Batched<'l, 'b> = BatchLoad<'l, 'b, PlanColumns>;

/// What a batch is staged with.
pub(super) struct StagedLoad<'l> {
    pub(super) account: &'l Account,
    pub(super) session: &'l mut SnowflakeSession,
    /// Where the router's own things are.
    pub(super) own: &'l SnowflakePlace,
}

impl StagedLoad<'_> {
    /// Brings a batch as far as its commit; how many rows of the transaction are in the load table. A part of it is only
    /// tried, to see whether its rows are taken: it is rolled back, for a statement that changes a table would commit it.
    pub(super) async fn write<'b>(
        &mut self,
        found: &mut FoundSchema,
        piece: &Piece<'b, PlanColumns>,
        load: &mut Batched<'_, 'b>,
    ) -> Result<u64, Stopped<SnowflakeError>> {
        let file = pack(found, load, &piece.items).await?;
        let (by_table, rows) = (file.by_table.clone(), file.rows);
        if rows > 0 {
            self.stage(file, load).await?;
        }
        fail::fail_point!("warehouse_after_stage", |_| std::process::abort());
        self.session.in_transaction = true;
        let mut done = self.transact(piece, &by_table, load).await;
        if !load.is_whole(&piece.items) {
            done = done.and(Err(None));
        }
        let session = &mut *self.session;
        match done {
            Ok(duplicates) => {
                load.count(&piece.items, duplicates);
                Ok(rows)
            }
            Err(None) => {
                session.run("rolling back", "ROLLBACK").await?;
                session.in_transaction = false;
                Ok(0)
            }
            Err(Some(error)) => {
                let is_refused = matches!(error, SnowflakeError::Refused { .. } | SnowflakeError::Fenced);
                if is_refused && session.run("rolling back", "ROLLBACK").await.is_ok() {
                    session.in_transaction = false;
                }
                // Else it is dropped with the session.
                Err(if error.is_of_row() { Stopped::Part(error) } else { Stopped::Of(error) })
            }
        }
    }

    /// Brings a file into the empty table for it.
    async fn stage(&mut self, file: StagedFile, load: &Batched<'_, '_>) -> Result<(), Stopped<SnowflakeError>> {
        let range = &load.batch().range;
        let Self { account, session, own: place } = self;
        let (table, stage) = (place.load(), place.stage());
        let unique: String = clock::uuid().chars().take(8).collect();
        let name = format!("{}-{}-{unique}.json.gz", range.start, range.end);
        let sql = format!("CREATE OR REPLACE TRANSIENT TABLE {table} (\"R\" VARIANT)");
        session.run("making the table for a file", &sql).await?;
        let target = StagePlace { stage: &stage, folder: &place.tag, name: &name };
        stage::put(session, &account.http, &target, file.bytes).await?;
        let sql = format!(
            "COPY INTO {table} FROM @{stage}/{}/{name} FILE_FORMAT = (TYPE = JSON COMPRESSION = GZIP) \
             ON_ERROR = ABORT_STATEMENT FORCE = FALSE PURGE = TRUE",
            place.tag
        );
        match session.run("copying a file", &sql).await {
            Err(error) if error.is_of_row() => Err(Stopped::Part(error)),
            copied => Ok(copied.map(drop)?),
        }
    }

    /// Begins a transaction, moves the ledger in it and writes the rows; how many events were there already.
    async fn transact(
        &mut self,
        piece: &Piece<'_, PlanColumns>,
        by_table: &BTreeMap<usize, u64>,
        load: &Batched<'_, '_>,
    ) -> Result<u64, Option<SnowflakeError>> {
        let Self { account, session, own } = self;
        let (checked, position) = (&account.checked, load.position());
        session.run("beginning a transaction", "BEGIN").await?;
        // First of all, for it takes the lock that loads of this schema queue for; what they read after is settled.
        let whole = match by_table.values().sum::<u64>() {
            0 => String::new(),
            rows => format!(" AND (SELECT COUNT(*) FROM {}) = {rows}", own.load()),
        };
        let sql = format!(
            "UPDATE {} SET \"LOG_OFFSET\" = {}, \"UPDATED_AT\" = CURRENT_TIMESTAMP() WHERE \"SYNC\" = {} AND \
             \"LOG_OFFSET\" = {}{whole}",
            own.ledger(),
            position.next,
            literal(&checked.sync),
            position.durable_to.map_or_else(|| "-1".to_owned(), |offset| offset.to_string()),
        );
        if session.run("writing the ledger", &sql).await?.count() != Some(1) {
            return Err(Some(SnowflakeError::Fenced));
        }
        let mut duplicates = 0;
        for (number, rows) in by_table {
            let table = &load.tables().list[*number];
            let sql = insert((&checked.place, own), table, *number, piece.part.columns(*number).iter().copied());
            let written = session.run("writing rows", &sql).await?.count().unwrap_or(*rows);
            if table.family.is_of_kind() {
                duplicates += rows.saturating_sub(written);
            }
        }
        Ok(duplicates)
    }

    /// Makes the batch durable, of which so many rows are in the load table.
    pub(super) async fn commit(&mut self, rows: u64) -> Result<(), SnowflakeError> {
        let Self { session, own, .. } = self;
        if !session.in_transaction {
            return Err(SnowflakeError::Fenced);
        }
        session.run("committing a batch", "COMMIT").await?;
        session.in_transaction = false;
        if rows > 0 {
            let sql = format!("DROP TABLE IF EXISTS {}", own.load());
            // What is committed is committed; the table is made anew for the next file.
            let _ = session.run("tidying up", &sql).await;
        }
        Ok(())
    }
}

/// The rows of these items as a file.
async fn pack(
    found: &mut FoundSchema,
    load: &mut Batched<'_, '_>,
    items: &Range<usize>,
) -> Result<StagedFile, SnowflakeError> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    let (mut rows, mut by_table) = (0_u64, BTreeMap::<usize, u64>::new());
    let unwritten = |error: std::io::Error| SnowflakeError::Upload { problem: error.to_string(), lasting: false };
    plan::rows(load, found, items, |table, row| {
        write!(out, "{{\"_t\":\"{}\",\"_s\":\"{rows}\"", row.table).map_err(unwritten)?;
        plan::members(&mut out, table, row.cells, false).map_err(unwritten)?;
        out.write_all(b"}\n").map_err(unwritten)?;
        rows += 1;
        *by_table.entry(row.table).or_default() += 1;
        Ok(())
    })
    .await?;
    Ok(StagedFile { bytes: out.finish().map_err(unwritten)?, rows, by_table })
}

/// The statement that moves one table's rows: the first of each id, where the id is not there yet.
fn insert(
    (place, own): (&SnowflakePlace, &SnowflakePlace),
    table: &Table,
    number: usize,
    columns: impl Iterator<Item = u32>,
) -> String {
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
        own.load()
    )
}
