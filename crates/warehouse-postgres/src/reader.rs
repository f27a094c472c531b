//! Reading rows: by a cursor in a transaction that only reads, so that a page waits at the server while it is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_event::destination::{Failure, Reply};
use tidegate_event::time;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::read_cell::ReadCell;
use tidegate_warehouse::table_reader::{PAGE_ROWS, ReadColumn, ReadRow, RowsWanted, TableReader, advised};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type as Sql};

use super::encode;
use super::error::PostgresError;
use super::settings::CheckedPostgres;
use super::sql::{qualified, quoted};
use super::wire::PostgresWire;

/// Columns of everything that keeps rows; those of a partition are its table's. A domain counts as the type that it is made of.
const COLUMNS: &str = "SELECT c.relname::text, a.attname::text, coalesce(b.typname, t.typname)::text, \
    pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type b ON b.oid = NULLIF(t.typbasetype, 0) \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition ORDER BY c.relname, a.attnum";

/// The settings under which values have one text, and how long a page may be thought about.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0; \
    SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL extra_float_digits = 1";

/// Reads a schema of a PostgreSQL server.
pub struct PostgresReader {
    settings: Arc<CheckedPostgres>,
    /// None until the first call.
    wire: Option<PostgresWire>,
    begun: Option<RowsWanted>,
}

impl CheckedPostgres {
    /// Prepares to read; connects at the first call.
    #[must_use]
    pub fn reader(self) -> PostgresReader {
        PostgresReader { settings: Arc::new(self), wire: None, begun: None }
    }
}

impl PostgresReader {
    fn failed(&self, error: PostgresError) -> Failure {
        let place = &self.settings.place;
        let (schema, user) = (quoted(&place.schema), quoted(&place.user));
        let advice = match error.code() {
            "42501" => format!(
                "let somebody who may run: GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user}"
            ),
            "3D000" => "name a database that is there".to_owned(),
            code if code.is_empty() || code.starts_with("28") => return error.failure(place),
            _ => "see to what the server says of the table".to_owned(),
        };
        advised(error.failure(place), advice)
    }

    async fn wire(&mut self) -> Result<&PostgresWire, PostgresError> {
        if self.wire.is_none() {
            self.wire = Some(PostgresWire::open(&self.settings).await?);
        }
        self.wire.as_ref().ok_or(PostgresError::Gone)
    }

    /// What was begun, and the connection that it was begun on.
    fn under_way(&self) -> Result<(&PostgresWire, &RowsWanted), PostgresError> {
        self.wire.as_ref().zip(self.begun.as_ref()).ok_or(PostgresError::Gone)
    }

    async fn find_tables(&mut self) -> Result<BTreeMap<String, Vec<ReadColumn>>, PostgresError> {
        let wire = self.wire().await?;
        let parameters: [(&(dyn ToSql + Sync), Sql); 1] = [(&wire.schema, Sql::NAME)];
        let mut found: BTreeMap<String, Vec<ReadColumn>> = BTreeMap::new();
        for row in wire.ask("reading the columns of the tables", COLUMNS, &parameters).await? {
            let (table, name, kind): (String, String, String) =
                (wire.get(&row, 0)?, wire.get(&row, 1)?, wire.get(&row, 2)?);
            let (declared, modifier): (String, i32) = (wire.get(&row, 3)?, wire.get(&row, 4)?);
            let is_instant = matches!(&*kind, "timestamp" | "timestamptz");
            let fraction_digits = if is_instant { u8::try_from(modifier).map_or(6, |digits| digits.min(6)) } else { 6 };
            let kind = if is_list(&declared) { Type::Json } else { encode::meaning(&kind, false).0 };
            found.entry(table).or_default().push(ReadColumn { name, kind, declared, fraction_digits });
        }
        Ok(found)
    }

    async fn begin_now(&mut self, wanted: RowsWanted) -> Result<(), PostgresError> {
        let was_begun = self.begun.take().is_some();
        let wire = self.wire().await?;
        let (select, within, key) = (select(wire, &wanted), within(&wanted), key(&wanted));
        let end = if was_begun { "ROLLBACK; " } else { "" };
        let sql = format!(
            "{end}{BEGIN}; DECLARE tidegate_rows NO SCROLL CURSOR FOR {select} AND {within} ORDER BY {key} COLLATE \"C\""
        );
        wire.run("beginning to read rows", &sql).await?;
        self.begun = Some(wanted);
        Ok(())
    }

    async fn next_page(&self) -> Result<Vec<ReadRow>, PostgresError> {
        let (wire, wanted) = self.under_way()?;
        let rows = wire.ask("reading rows", &format!("FETCH {PAGE_ROWS} FROM tidegate_rows"), &[]).await?;
        rows.iter().map(|row| read(wire, row, wanted)).collect()
    }

    async fn find_rows(&self, keys: &[String]) -> Result<Vec<ReadRow>, PostgresError> {
        let (wire, wanted) = self.under_way()?;
        let sql = format!("{} AND {} = ANY ($1)", select(wire, wanted), key(wanted));
        let rows = wire.ask("looking rows up", &sql, &[(&keys, Sql::TEXT_ARRAY)]).await?;
        rows.iter().map(|row| read(wire, row, wanted)).collect()
    }

    async fn count_without_key(&self) -> Result<u64, PostgresError> {
        let (wire, wanted) = self.under_way()?;
        let (table, key) = (qualified(&wire.schema, &wanted.table), quoted(&wanted.key.name));
        let sql = format!("SELECT count(*) FROM {table} WHERE {key} IS NULL AND {}", within(wanted));
        let mut counted = 0;
        for row in wire.ask("counting rows", &sql, &[]).await? {
            counted = u64::try_from(wire.get::<i64>(&row, 0)?).unwrap_or(0);
        }
        Ok(counted)
    }
}

impl TableReader for PostgresReader {
    fn tables(&mut self) -> Reply<'_, BTreeMap<String, Vec<ReadColumn>>> {
        Box::pin(async move {
            let found = self.find_tables().await;
            found.map_err(|error| self.failed(error))
        })
    }

    fn begin(&mut self, wanted: RowsWanted) -> Reply<'_, ()> {
        Box::pin(async move {
            let begun = self.begin_now(wanted).await;
            begun.map_err(|error| self.failed(error))
        })
    }

    fn page(&mut self) -> Reply<'_, Vec<ReadRow>> {
        Box::pin(async move { self.next_page().await.map_err(|error| self.failed(error)) })
    }

    fn look_up<'r>(&'r mut self, keys: &'r [String]) -> Reply<'r, Vec<ReadRow>> {
        Box::pin(async move { self.find_rows(keys).await.map_err(|error| self.failed(error)) })
    }

    fn without_key(&mut self) -> Reply<'_, u64> {
        Box::pin(async move { self.count_without_key().await.map_err(|error| self.failed(error)) })
    }
}

/// An instant of this column; what has no zone is in UTC, as those write it who are compared here.
fn instant(column: &ReadColumn) -> String {
    let name = quoted(&column.name);
    if column.declared.contains("without time zone") { format!("({name} AT TIME ZONE 'UTC')") } else { name }
}

/// Whether values of a type are lists, whose own text is no JSON.
fn is_list(declared: &str) -> bool {
    declared.ends_with("[]")
}

/// A value of this column as text: of an instant its microseconds, exactly.
fn text(column: &ReadColumn) -> String {
    if column.kind == Type::Timestamp {
        format!("pg_catalog.trunc(EXTRACT(epoch FROM {}) * 1000000)::text", instant(column))
    } else if is_list(&column.declared) {
        format!("pg_catalog.to_json({})::text", quoted(&column.name))
    } else {
        format!("{}::text", quoted(&column.name))
    }
}

fn key(wanted: &RowsWanted) -> String {
    format!("{}::text", quoted(&wanted.key.name))
}

/// All rows with a key, whatever their time.
fn select(wire: &PostgresWire, wanted: &RowsWanted) -> String {
    let columns: Vec<String> =
        [key(wanted), text(&wanted.time)].into_iter().chain(wanted.columns.iter().map(text)).collect();
    let table = qualified(&wire.schema, &wanted.table);
    format!("SELECT {} FROM {table} WHERE {} IS NOT NULL", columns.join(", "), quoted(&wanted.key.name))
}

/// The rows of the time.
fn within(wanted: &RowsWanted) -> String {
    let at = instant(&wanted.time);
    let [from, to] = [wanted.range.start, wanted.range.end].map(time::format);
    format!("{at} >= '{from}'::timestamptz AND {at} < '{to}'::timestamptz")
}

fn read(wire: &PostgresWire, row: &Row, wanted: &RowsWanted) -> Result<ReadRow, PostgresError> {
    let mut cells = Vec::with_capacity(wanted.columns.len());
    for (at, column) in wanted.columns.iter().enumerate() {
        let text: Option<String> = wire.get(row, at + 2)?;
        cells.push(text.map_or(ReadCell::Null, |text| cell(column.kind, text)));
    }
    let at_us: Option<String> = wire.get(row, 1)?;
    Ok(ReadRow { key: wire.get(row, 0)?, at_us: at_us.and_then(|micros| micros.parse().ok()), cells })
}

fn cell(kind: Type, text: String) -> ReadCell {
    match text.parse() {
        Ok(micros) if kind == Type::Timestamp => ReadCell::Instant(micros),
        // Before and after all time there is `infinity`.
        _ if kind == Type::Timestamp => ReadCell::Text(text),
        _ => ReadCell::of(kind, text),
    }
}
