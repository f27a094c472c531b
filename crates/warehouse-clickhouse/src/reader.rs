//! Reading rows: a request for each page, which begins behind the last key of the one before.

use std::collections::BTreeMap;

use tidegate_event::destination::{Failure, Reply};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::read_cell::ReadCell;
use tidegate_warehouse::table_reader::{PAGE_ROWS, ReadColumn, ReadRow, RowsWanted, TableReader, advised};

use super::encode;
use super::error::ClickHouseError;
use super::settings::CheckedClickHouse;
use super::sql::{full, literal, quoted};
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// The description of a whole database.
const SCHEMA_BYTES_MAX: usize = 256 << 20;
/// One page.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// Reads a database of a ClickHouse server.
#[derive(Debug)]
pub struct ClickHouseReader {
    settings: CheckedClickHouse,
    wire: ClickHouseWire,
    begun: Option<BegunRead>,
}

/// What was begun last, and how far it is.
#[derive(Debug)]
struct BegunRead {
    wanted: RowsWanted,
    /// The last key that was answered.
    after: Option<String>,
    is_over: bool,
}

impl CheckedClickHouse {
    /// Prepares to read; the server is not asked yet.
    ///
    /// # Errors
    /// The file of certificates cannot be used.
    pub fn reader(self) -> Result<ClickHouseReader, Failure> {
        let wire = ClickHouseWire::new(&self).map_err(|error| error.failure(&self.place))?;
        Ok(ClickHouseReader { settings: self, wire, begun: None })
    }
}

impl ClickHouseReader {
    fn failed(&self, error: ClickHouseError) -> Failure {
        let advice = match &error {
            ClickHouseError::Server { code: 497, .. } => {
                format!("grant the user SELECT: GRANT SELECT ON {}.* TO ...", quoted(&self.settings.database))
            }
            ClickHouseError::Long { .. } => "leave large columns out, or compare one table with --event".to_owned(),
            _ => return error.failure(&self.settings.place),
        };
        advised(error.failure(&self.settings.place), advice)
    }

    async fn find_tables(&self) -> Result<BTreeMap<String, Vec<ReadColumn>>, ClickHouseError> {
        let (doing, database) = ("reading the tables", literal(&self.settings.database));
        let sql = format!(
            "SELECT table, name, type, comment FROM system.columns WHERE database = {database} AND default_kind != 'EPHEMERAL' \
             AND table IN (SELECT name FROM system.tables WHERE database = {database} AND engine NOT LIKE '%View' \
             AND NOT startsWith(name, '.inner')) \
             ORDER BY table, position FORMAT RowBinary"
        );
        let columns = self.wire.ask(doing, &sql, SCHEMA_BYTES_MAX).await?;
        understood(&columns).ok_or(ClickHouseError::Answer { doing })
    }

    fn select(&self, wanted: &RowsWanted) -> String {
        let mut columns = vec![format!("assumeNotNull({})", key(wanted)), text(&wanted.time)];
        columns.extend(wanted.columns.iter().map(text));
        let table = full(&self.settings.database, &wanted.table);
        format!("SELECT {} FROM {table} WHERE {} IS NOT NULL", columns.join(", "), quoted(&wanted.key.name))
    }

    async fn rows(&self, wanted: &RowsWanted, rest: &str) -> Result<Vec<ReadRow>, ClickHouseError> {
        let doing = "reading rows";
        let has_containers = wanted.columns.iter().any(|column| is_container(bare(&column.declared)));
        let settings = if has_containers { " SETTINGS output_format_json_quote_64bit_integers = 0" } else { "" };
        let sql = format!("{} AND {rest}{settings} FORMAT RowBinary", self.select(wanted));
        let answer = self.wire.ask(doing, &sql, PAGE_BYTES_MAX).await?;
        rows_of(&answer, wanted).ok_or(ClickHouseError::Answer { doing })
    }

    async fn next_page(&mut self) -> Result<Vec<ReadRow>, ClickHouseError> {
        let Some(begun) = self.begun.as_ref().filter(|begun| !begun.is_over) else { return Ok(Vec::new()) };
        let (wanted, key) = (&begun.wanted, key(&begun.wanted));
        let behind = begun.after.as_ref().map_or_else(String::new, |after| format!(" AND {key} > {}", spelled(after)));
        let rest = format!("{}{behind} ORDER BY {key} LIMIT {PAGE_ROWS}", within(wanted));
        let mut rows = self.rows(wanted, &rest).await?;
        let is_over = rows.len() < PAGE_ROWS;
        if !is_over {
            // Further rows of the last key may be on the next page: all of them come with it.
            let last = rows.last().map(|row| row.key.clone()).unwrap_or_default();
            let kept = rows.iter().position(|row| row.key == last).unwrap_or(0);
            if kept == 0 {
                let problem = format!("{PAGE_ROWS} rows or more of table {} have one key", wanted.table);
                return Err(ClickHouseError::Settings { problem });
            }
            rows.truncate(kept);
        }
        if let Some(begun) = &mut self.begun {
            begun.is_over = is_over;
            begun.after = rows.last().map(|row| row.key.clone());
        }
        Ok(rows)
    }

    async fn find_rows(&self, keys: &[String]) -> Result<Vec<ReadRow>, ClickHouseError> {
        let Some(begun) = &self.begun else { return Ok(Vec::new()) };
        let listed: Vec<String> = keys.iter().map(|key| spelled(key)).collect();
        if listed.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(&begun.wanted, &format!("{} IN ({})", key(&begun.wanted), listed.join(", "))).await
    }

    async fn count_without_key(&self) -> Result<u64, ClickHouseError> {
        let Some(BegunRead { wanted, .. }) = &self.begun else { return Ok(0) };
        let (table, key) = (full(&self.settings.database, &wanted.table), quoted(&wanted.key.name));
        let sql = format!("SELECT count() FROM {table} WHERE {key} IS NULL AND {} FORMAT RowBinary", within(wanted));
        let doing = "counting rows";
        let answer = self.wire.ask(doing, &sql, 64).await?;
        ClickHouseAnswer(&answer).number().ok_or(ClickHouseError::Answer { doing })
    }
}

impl TableReader for ClickHouseReader {
    fn tables(&mut self) -> Reply<'_, BTreeMap<String, Vec<ReadColumn>>> {
        Box::pin(async move { self.find_tables().await.map_err(|error| self.failed(error)) })
    }

    fn begin(&mut self, wanted: RowsWanted) -> Reply<'_, ()> {
        self.begun = Some(BegunRead { wanted, after: None, is_over: false });
        Box::pin(async { Ok(()) })
    }

    fn page(&mut self) -> Reply<'_, Vec<ReadRow>> {
        Box::pin(async move {
            let page = self.next_page().await;
            page.map_err(|error| self.failed(error))
        })
    }

    fn look_up<'r>(&'r mut self, keys: &'r [String]) -> Reply<'r, Vec<ReadRow>> {
        Box::pin(async move { self.find_rows(keys).await.map_err(|error| self.failed(error)) })
    }

    fn without_key(&mut self) -> Reply<'_, u64> {
        Box::pin(async move { self.count_without_key().await.map_err(|error| self.failed(error)) })
    }
}

fn understood(columns: &[u8]) -> Option<BTreeMap<String, Vec<ReadColumn>>> {
    let mut found: BTreeMap<String, Vec<ReadColumn>> = BTreeMap::new();
    let mut answer = ClickHouseAnswer(columns);
    while !answer.is_over() {
        let (table, name, declared, comment) = (answer.text()?, answer.text()?, answer.text()?, answer.text()?);
        let bare = bare(&declared);
        let column = ReadColumn {
            name,
            kind: kind(bare, &declared, &comment),
            fraction_digits: fraction_digits(bare),
            declared,
        };
        found.entry(table).or_default().push(column);
    }
    Some(found)
}

/// The type without what says that it may be null or is kept in a dictionary.
fn bare(declared: &str) -> &str {
    ["LowCardinality(", "Nullable("]
        .iter()
        .fold(declared, |left, wrap| left.strip_prefix(wrap).and_then(|rest| rest.strip_suffix(')')).unwrap_or(left))
}

fn kind(bare: &str, declared: &str, comment: &str) -> Type {
    match bare {
        _ if bare.starts_with("DateTime") => Type::Timestamp,
        "Date" | "Date32" => Type::Text,
        "Float32" | "Float64" | "Int128" | "Int256" | "UInt128" | "UInt256" => Type::Decimal,
        _ if bare.starts_with("Decimal") => Type::Decimal,
        _ if is_container(bare) => Type::Json,
        _ => encode::meaning(declared, comment).0,
    }
}

/// Whether values of a type are lists or objects, whose own text is no JSON.
fn is_container(bare: &str) -> bool {
    ["Array(", "Map(", "Tuple(", "Nested("].iter().any(|word| bare.starts_with(word))
}

/// Digits behind the second: none of a `DateTime`, those that a `DateTime64` names.
fn fraction_digits(bare: &str) -> u8 {
    match bare.strip_prefix("DateTime64(") {
        Some(rest) => rest.chars().next().and_then(|digit| digit.to_digit(10)).map_or(6, |digits| digits.min(6) as u8),
        None if bare.starts_with("DateTime") => 0,
        None => 6,
    }
}

/// The key as text. A column that is text is left as it is, so that the order of the table can be used.
fn key(wanted: &RowsWanted) -> String {
    let name = quoted(&wanted.key.name);
    if wanted.key.declared == "String" { name } else { format!("toString({name})") }
}

/// A value as text that may be null; of an instant its microseconds.
fn text(column: &ReadColumn) -> String {
    let name = quoted(&column.name);
    let value = if column.kind == Type::Timestamp {
        format!("toUnixTimestamp64Micro(toDateTime64({name}, 6, 'UTC'))")
    } else if is_container(bare(&column.declared)) {
        format!("toJSONString({name})")
    } else {
        name
    };
    format!("toNullable(toString({value}))")
}

/// The rows of the time.
fn within(wanted: &RowsWanted) -> String {
    let (at, range) = (quoted(&wanted.time.name), &wanted.range);
    let instant = |micros: i64| format!("fromUnixTimestamp64Micro(toInt64({micros}), 'UTC')");
    format!("{at} >= {} AND {at} < {}", instant(range.start), instant(range.end))
}

/// A key as SQL spells it.
fn spelled(key: &str) -> String {
    literal(key).replace('\0', "\\0")
}

fn rows_of(answer: &[u8], wanted: &RowsWanted) -> Option<Vec<ReadRow>> {
    let mut answer = ClickHouseAnswer(answer);
    let mut rows = Vec::new();
    while !answer.is_over() {
        let key = answer.text()?;
        let at_us = nullable(&mut answer)?.and_then(|micros| micros.parse().ok());
        let mut cells = Vec::with_capacity(wanted.columns.len());
        for column in &wanted.columns {
            cells.push(nullable(&mut answer)?.map_or(ReadCell::Null, |text| cell(column.kind, text)));
        }
        rows.push(ReadRow { key, at_us, cells });
    }
    Some(rows)
}

/// A text that may be null.
fn nullable(answer: &mut ClickHouseAnswer<'_>) -> Option<Option<String>> {
    if answer.byte()? == 0 { Some(Some(answer.text()?)) } else { Some(None) }
}

fn cell(kind: Type, text: String) -> ReadCell {
    match text.parse() {
        Ok(micros) if kind == Type::Timestamp => ReadCell::Instant(micros),
        _ => ReadCell::of(kind, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_others_are_read_as_what_they_mean() {
        for (declared, expected, digits) in [
            ("Nullable(DateTime)", Type::Timestamp, 0),
            ("DateTime('UTC')", Type::Timestamp, 0),
            ("DateTime64(3, 'UTC')", Type::Timestamp, 3),
            ("DateTime64(9)", Type::Timestamp, 6),
            ("Nullable(Float64)", Type::Decimal, 6),
            ("LowCardinality(Nullable(String))", Type::Text, 6),
            ("Nullable(Int64)", Type::Integer, 6),
            ("Nullable(UInt8)", Type::Integer, 6),
            ("Date", Type::Text, 6),
            ("Array(Nullable(String))", Type::Json, 6),
            ("Map(String, Int64)", Type::Json, 6),
        ] {
            let bare = bare(declared);
            assert_eq!((kind(bare, declared, ""), fraction_digits(bare)), (expected, digits), "{declared}");
        }
        assert_eq!(kind("String", "Nullable(String)", "JSON"), Type::Json);
    }
}
