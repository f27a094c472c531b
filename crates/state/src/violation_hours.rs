//! How often contracts were broken, counted by hour, source, event, field, rule and the release of the client.
//!
//! Nouns: a **rule** (the keyword of a schema that does not hold, or `undeclaredField` and the like), a **field** (where it does not: a JSON pointer with
//! a star for each item of a list), a **release** (of the app or the library that sent the event), a **tally** (the counts of a log range before they are
//! written in its transaction).
//!
//! What holds: each event that breaks its contract counts once without field and rule, and once for each rule that it breaks at a field. An hour of a
//! source has so many rows and a few more; whatever finds no room among them counts as `(others)`, so that the events of an hour are always all of them.
//! Fields that no contract declares have names that senders choose: they get a part of that room, so that they take it from nothing else, and are told to
//! nobody who may not see all of an event. No value of an event is in any row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use rusqlite::{Connection, Row, ToSql, Transaction, TransactionBehavior, params};
use tidegate_event::UNDECLARED_FIELD;
use tidegate_event::value::Value;

use super::fates::{fate_hour, shortened};
use super::sum::{number, text};
use super::{RefineStage, State, StateError, signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS violation_hours (
        hour INTEGER NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, field TEXT NOT NULL,
        rule TEXT NOT NULL, client_release TEXT NOT NULL, is_declared INTEGER NOT NULL, events INTEGER NOT NULL,
        PRIMARY KEY (hour, source, kind, name, field, rule, client_release)
    ) WITHOUT ROWID;
";

const COLUMNS: &str = "hour, source, kind, name, field, rule, client_release, is_declared, events";
/// What becomes of a row that is there already.
const ADDED: &str = "ON CONFLICT (hour, source, kind, name, field, rule, client_release) DO UPDATE SET
    events = events + excluded.events, is_declared = min(is_declared, excluded.is_declared)";
/// The columns whose texts senders choose.
const NAMED: [&str; 3] = ["name", "field", "client_release"];

/// Days whose hours are kept.
pub const VIOLATION_DAYS_KEPT: i64 = 30;
const HOURS_A_DAY: i64 = 24;
/// Rows that an hour of a source has.
const ROWS_MAX: i64 = 1_000;
/// The same of a log range: each is a row to look for.
const TALLY_ROWS_MAX: usize = 1_000;
/// Rows that an hour of a source, and a log range, have for fields that no contract declares; of each event and release those beyond are one.
const UNDECLARED_FIELDS_MAX: usize = 200;
/// Stands for what found no room, and for names that say who somebody is.
const OTHERS: &str = "(others)";

/// An event that breaks its contract, as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct ViolatingEvent<'a> {
    /// Microseconds since the epoch.
    pub received_at_us: i64,
    /// Its type.
    pub kind: &'a str,
    /// Nothing where it has none.
    pub name: &'a str,
    /// The contract has this name: whoever sees it learns nothing of events.
    pub is_declared: bool,
    /// Nothing where it does not say.
    pub release: &'a str,
}

/// Counts of a source until they are written.
#[derive(Debug, Default)]
pub struct ViolationTally {
    rows: HashMap<ViolationKey, ViolationCount>,
    /// Of these, those of fields that are not declared.
    undeclared_fields: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ViolationKey {
    hour: i64,
    kind: String,
    name: String,
    field: String,
    rule: String,
    release: String,
}

#[derive(Debug, Clone, Copy)]
struct ViolationCount {
    events: u64,
    is_declared: bool,
}

/// What an hour of a source has room for yet.
struct HourRoom {
    rows: i64,
    undeclared_fields: i64,
}

impl ViolationKey {
    /// Whether it has the name of a field that no contract declares.
    fn is_undeclared_field(&self) -> bool {
        self.rule == UNDECLARED_FIELD && self.field != OTHERS
    }

    /// Where a field that is not declared is counted when there is no room for its name.
    fn of_other_fields(&self) -> Self {
        Self { field: OTHERS.to_owned(), ..self.clone() }
    }

    /// Where it is counted when there is no room for it: whole events apart from what they break.
    fn others(&self) -> Self {
        let others = || OTHERS.to_owned();
        let rule = if self.rule.is_empty() { String::new() } else { others() };
        let (kind, field) = (String::new(), String::new());
        Self { hour: self.hour, kind, name: others(), field, rule, release: others() }
    }
}

impl ViolationTally {
    /// Counts an event, and each rule that it breaks: the field and the rule, each pair once.
    pub fn add<'r>(&mut self, event: &ViolatingEvent<'_>, rules: impl Iterator<Item = (&'r str, &'r str)>) {
        for (field, rule) in std::iter::once(("", "")).chain(rules) {
            let key = ViolationKey {
                hour: fate_hour(event.received_at_us),
                kind: event.kind.to_owned(),
                name: shortened(event.name).to_owned(),
                field: shortened(field).to_owned(),
                rule: shortened(rule).to_owned(),
                release: shortened(event.release).to_owned(),
            };
            let is_beyond = key.is_undeclared_field()
                && self.undeclared_fields >= UNDECLARED_FIELDS_MAX
                && !self.rows.contains_key(&key);
            let key = if is_beyond { key.of_other_fields() } else { key };
            let is_new = !self.rows.contains_key(&key);
            // What is called so says nothing of anybody.
            let (key, is_declared) = match is_new && self.rows.len() >= TALLY_ROWS_MAX {
                true => (key.others(), true),
                false => (key, event.is_declared),
            };
            self.undeclared_fields += usize::from(is_new && key.is_undeclared_field());
            let counted = self.rows.entry(key).or_insert(ViolationCount { events: 0, is_declared });
            counted.events += 1;
            counted.is_declared &= is_declared;
        }
    }
}

impl RefineStage<'_> {
    /// Counts what events of a source broke of their contract.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn count_violations(&mut self, source: &str, tally: &ViolationTally) -> Result<(), StateError> {
        write(&self.transaction, source, tally).map_err(StateError::at("could not count violations", self.path))
    }
}

fn write(connection: &Connection, source: &str, tally: &ViolationTally) -> rusqlite::Result<()> {
    let mut rooms: HashMap<i64, HourRoom> = HashMap::new();
    for (key, count) in &tally.rows {
        if update(connection, source, (key, *count))? {
            continue;
        }
        let room = match rooms.entry(key.hour) {
            Entry::Occupied(room) => room.into_mut(),
            Entry::Vacant(place) => place.insert(room_of(connection, source, key.hour)?),
        };
        let is_beyond = key.is_undeclared_field() && room.undeclared_fields <= 0;
        let key = if is_beyond { key.of_other_fields() } else { key.clone() };
        if is_beyond && update(connection, source, (&key, *count))? {
            continue;
        }
        if room.rows > 0 {
            room.rows -= 1;
            room.undeclared_fields -= i64::from(key.is_undeclared_field());
            insert(connection, source, (&key, *count))?;
        } else {
            insert(connection, source, (&key.others(), ViolationCount { is_declared: true, ..*count }))?;
        }
    }
    Ok(())
}

fn room_of(connection: &Connection, source: &str, hour: i64) -> rusqlite::Result<HourRoom> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE rule = ?3 AND field <> ?4) FROM violation_hours
        WHERE hour = ?1 AND source = ?2";
    let undeclared_fields_max = i64::try_from(UNDECLARED_FIELDS_MAX).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.query_row(params![hour, source, UNDECLARED_FIELD, OTHERS], |row| {
        let (rows, undeclared_fields) = (number(row, 0)?, number(row, 1)?);
        Ok(HourRoom { rows: ROWS_MAX - rows, undeclared_fields: undeclared_fields_max - undeclared_fields })
    })
}

/// False when there is no such row yet.
fn update(
    connection: &Connection,
    source: &str,
    (key, count): (&ViolationKey, ViolationCount),
) -> rusqlite::Result<bool> {
    let sql = "UPDATE violation_hours SET events = events + ?9, is_declared = min(is_declared, ?8)
        WHERE hour = ?1 AND source = ?2 AND kind = ?3 AND name = ?4 AND field = ?5 AND rule = ?6 AND client_release = ?7";
    run(connection, sql, (source, key, count)).map(|changed| changed > 0)
}

fn insert(
    connection: &Connection,
    source: &str,
    (key, count): (&ViolationKey, ViolationCount),
) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO violation_hours ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) {ADDED}");
    run(connection, &sql, (source, key, count)).map(drop)
}

fn run(
    connection: &Connection,
    sql: &str,
    (source, key, count): (&str, &ViolationKey, ViolationCount),
) -> rusqlite::Result<usize> {
    let ViolationKey { hour, kind, name, field, rule, release } = key;
    let ViolationCount { events, is_declared } = count;
    let values = params![hour, source, kind, name, field, rule, release, is_declared, signed(events)];
    connection.prepare_cached(sql)?.execute(values)
}

/// Removes hours that are long gone.
pub(super) fn expire(connection: &Connection, now_us: i64) -> rusqlite::Result<()> {
    let first = fate_hour(now_us) - VIOLATION_DAYS_KEPT * HOURS_A_DAY;
    connection.prepare_cached("DELETE FROM violation_hours WHERE hour < ?1")?.execute([first]).map(drop)
}

/// The texts that somebody is named in, each with its column.
pub(super) fn named(
    connection: &Connection,
    is_named: impl Fn(&str) -> bool,
) -> rusqlite::Result<Vec<(&'static str, String)>> {
    let mut found = Vec::new();
    for column in NAMED {
        let mut find = connection.prepare_cached(&format!("SELECT DISTINCT {column} FROM violation_hours"))?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let named = text(row, 0)?;
            if is_named(&named) {
                found.push((column, named));
            }
        }
    }
    Ok(found)
}

/// Counts what has this text in a column together with others.
pub(super) fn forget_name(connection: &Connection, (column, name): (&str, &str)) -> rusqlite::Result<()> {
    let columns = COLUMNS.replace(column, "?2");
    let sql = format!(
        "INSERT INTO violation_hours ({COLUMNS}) SELECT {columns} FROM violation_hours WHERE {column} = ?1 {ADDED}"
    );
    connection.prepare_cached(&sql)?.execute([name, OTHERS])?;
    let sql = format!("DELETE FROM violation_hours WHERE {column} = ?1");
    connection.prepare_cached(&sql)?.execute([name]).map(drop)
}

/// Whose violations are looked at, and which.
#[derive(Debug, Clone, Default)]
pub struct ViolationQuery {
    pub sources: Vec<ViolationSource>,
    /// Counted from the epoch.
    pub hours: Range<i64>,
    /// The hours of a day together.
    pub by_day: bool,
    /// Only events of these types and names; of a type without a name all.
    pub among: Option<Vec<(String, Option<String>)>>,
    pub kind: Option<String>,
    pub name: Option<String>,
    pub field: Option<String>,
    pub release: Option<String>,
    /// Rows of each list.
    pub rows_max: usize,
}

/// A source whose violations are looked at.
#[derive(Debug, Clone)]
pub struct ViolationSource {
    pub source: String,
    /// Releases, and names of events and of fields that stand in no contract, are not told.
    pub is_masked: bool,
}

/// Violations over time, and what they are of. All numbers count events: those of fields by the rules that they break, and where one field is asked for all do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViolationHistory {
    /// Hours, or the first hours of days, with what was counted in each: those that have any.
    pub times: Vec<(i64, u64)>,
    /// What most events have first, as the lists below.
    pub events: Vec<ViolatedEvent>,
    pub fields: Vec<ViolatedField>,
    pub releases: Vec<ViolatingRelease>,
    /// Some list has more rows.
    pub has_more: bool,
}

/// How often, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViolationSpan {
    pub events: u64,
    pub first_hour: i64,
    pub last_hour: i64,
}

/// An event whose contract is broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViolatedEvent {
    pub kind: String,
    pub name: String,
    pub span: ViolationSpan,
}

/// A field that is not as the contract says, and the rule that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViolatedField {
    pub source: String,
    pub kind: String,
    pub name: String,
    pub field: String,
    pub rule: String,
    pub span: ViolationSpan,
}

/// A release that sends what breaks the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViolatingRelease {
    pub release: String,
    pub span: ViolationSpan,
}

/// The rows that are asked for, as whoever asks may have them.
const FOUND: &str = "WITH
    asked AS (SELECT value ->> 0 AS source, value ->> 1 AS is_masked FROM json_each(?1)),
    seen AS (
        SELECT hour, source, kind, iif(is_masked AND NOT is_declared, '', name) AS name,
            iif(is_masked AND rule = 'undeclaredField', '', field) AS field, rule,
            iif(is_masked, '', client_release) AS client_release, events
        FROM violation_hours JOIN asked USING (source) WHERE hour >= ?2 AND hour < ?3
    ),
    found AS (
        SELECT * FROM seen WHERE (?4 IS NULL OR kind = ?4) AND (?5 IS NULL OR name = ?5)
            AND (?6 IS NULL OR (kind, name) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?6))
                OR kind IN (SELECT value FROM json_each(?7)))
            AND (?8 IS NULL OR field = ?8) AND (?9 IS NULL OR client_release = ?9)
    )";
/// How a list ends.
const SPAN: &str = "sum(events) AS sum_of_events, min(hour), max(hour)";
/// Values of what is asked; behind them is the bound of a list.
const VALUES_BEFORE_BOUND: usize = 9;

impl State {
    /// How often contracts were broken over time, and by what.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn violations(&self, query: &ViolationQuery) -> Result<ViolationHistory, StateError> {
        let read = || -> rusqlite::Result<ViolationHistory> {
            let moment = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            history(&moment, query)
        };
        read().map_err(self.err("could not read what was counted of violations"))
    }
}

fn history(connection: &Connection, query: &ViolationQuery) -> rusqlite::Result<ViolationHistory> {
    let sources: Value = query.sources.iter().map(|one| pair(&one.source, one.is_masked.into())).collect();
    let among = query.among.as_deref();
    let named = among.map(|among| -> Value {
        among.iter().filter_map(|(kind, name)| Some(pair(kind, name.as_ref()?.into()))).collect()
    });
    let whole: Value =
        among.unwrap_or_default().iter().filter(|(_, name)| name.is_none()).map(|(kind, _)| kind).collect();
    let (sources, named, whole) = (sources.to_string(), named.map(|named| named.to_string()), whole.to_string());
    let bound = i64::try_from(query.rows_max).unwrap_or(i64::MAX).saturating_add(1);
    let Range { start, end } = query.hours;
    let values: [&dyn ToSql; VALUES_BEFORE_BOUND + 1] =
        [&sources, &start, &end, &query.kind, &query.name, &named, &whole, &query.field, &query.release, &bound];
    // Of a field each rule counts, which one event may break several of.
    let counted = if query.field.is_some() { "rule <> ''" } else { "rule = ''" };
    let time = if query.by_day { "hour / 24 * 24" } else { "hour" };
    let sql = format!("{FOUND} SELECT {time}, sum(events) FROM found WHERE {counted} GROUP BY 1 ORDER BY 1");
    let times =
        rows(connection, &sql, &values[..VALUES_BEFORE_BOUND], |row| Ok((number(row, 0)?, unsigned(number(row, 1)?))))?;
    let mut found = ViolationHistory { times, ..ViolationHistory::default() };
    found.events = rows(connection, &list("kind, name", counted), &values, |row| {
        Ok(ViolatedEvent { kind: text(row, 0)?, name: text(row, 1)?, span: span(row, 2)? })
    })?;
    found.fields = rows(connection, &list("source, kind, name, field, rule", "rule <> ''"), &values, |row| {
        Ok(ViolatedField {
            source: text(row, 0)?,
            kind: text(row, 1)?,
            name: text(row, 2)?,
            field: text(row, 3)?,
            rule: text(row, 4)?,
            span: span(row, 5)?,
        })
    })?;
    found.releases = rows(connection, &list("client_release", counted), &values, |row| {
        Ok(ViolatingRelease { release: text(row, 0)?, span: span(row, 1)? })
    })?;
    let lengths = [found.events.len(), found.fields.len(), found.releases.len()];
    found.has_more = lengths.iter().any(|length| *length > query.rows_max);
    found.events.truncate(query.rows_max);
    found.fields.truncate(query.rows_max);
    found.releases.truncate(query.rows_max);
    Ok(found)
}

/// What a list of these columns is read by.
fn list(columns: &str, counted: &str) -> String {
    format!(
        "{FOUND} SELECT {columns}, {SPAN} FROM found WHERE {counted} GROUP BY {columns}
         ORDER BY sum_of_events DESC, {columns} LIMIT ?10"
    )
}

/// Two values as a list of JSON.
fn pair(first: &str, second: Value) -> Value {
    Value::from(vec![Value::from(first), second])
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}

fn span(row: &Row<'_>, first: usize) -> rusqlite::Result<ViolationSpan> {
    let events = unsigned(number(row, first)?);
    Ok(ViolationSpan { events, first_hour: number(row, first + 1)?, last_hour: number(row, first + 2)? })
}

#[cfg(test)]
mod tests;
