//! The tables of each warehouse, held against what the log says of each event.

use std::collections::HashMap;
use std::path::Path;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, OpenFlags};

use super::contract_variant::MARKS;
use super::logged::LoggedEvents;
use crate::Found;
use crate::ledger::{is_as_sent, said};
use crate::postgres_server::Server;

/// What one table has of the events of a ledger.
struct TableRows {
    /// How messages call it: `web-second: fault`.
    name: String,
    /// By client and number: whether a row is there.
    there: Vec<Vec<bool>>,
}

/// A row of an event's own table.
struct EventRow {
    id: String,
    is_as_sent: bool,
    /// The marks that it has, a bit for each.
    marks: u8,
    /// What functions wrote into it.
    stamp: String,
}

/// What functions made of each event in the table that was read first: every other table has the same.
#[derive(Default)]
pub struct StampsSeen {
    /// Few texts, and many events with each.
    texts: Vec<String>,
    /// The place of its text and 1, by client and number; 0 for none yet.
    of: HashMap<usize, Vec<u8>>,
}

/// A file of SQLite and the schema of a sync in it.
pub struct SqlitePlace<'a> {
    pub sync: &'a str,
    pub file: &'a Path,
    /// What its tables' names begin with.
    pub prefix: &'a str,
}

impl StampsSeen {
    /// Notes the stamp of an event; answers the one of another table that differs from it.
    fn note(&mut self, (client, n): (usize, u64), stamp: &str) -> Option<&str> {
        let text = self.texts.iter().position(|text| text == stamp).unwrap_or_else(|| {
            self.texts.push(stamp.to_owned());
            self.texts.len() - 1
        });
        let text = u8::try_from(text + 1).expect("few stamps");
        let place = usize::try_from(n).expect("a number of this run");
        let of = self.of.entry(client).or_default();
        if of.len() <= place {
            of.resize(place + 1, 0);
        }
        let earlier = std::mem::replace(&mut of[place], text);
        (earlier != 0 && earlier != text).then(|| self.texts[usize::from(earlier) - 1].as_str())
    }
}

impl TableRows {
    fn new(name: String, clients: usize) -> Self {
        Self { name, there: vec![Vec::new(); clients] }
    }

    /// Notes a row; false when there was one.
    fn add(&mut self, (client, n): (usize, u64)) -> bool {
        let place = usize::try_from(n).expect("a number of this run");
        let there = &mut self.there[client];
        if there.len() <= place {
            there.resize(place + 1, false);
        }
        !std::mem::replace(&mut there[place], true)
    }

    fn has(&self, client: usize, n: u64) -> bool {
        usize::try_from(n).ok().and_then(|n| self.there[client].get(n)) == Some(&true)
    }

    /// What lacks, of what the log has and no contract blocks.
    fn judge(&self, events: &LoggedEvents<'_>, found: &mut Found) {
        let missing: Vec<(usize, u64)> = events
            .each()
            .filter(|(client, n, end)| !end.is_blocked() && !self.has(*client, *n))
            .map(|(client, n, _)| (client, n))
            .collect();
        found.lost += missing.len() as u64;
        if let Some((client, n)) = missing.first() {
            found.notes.push(format!("{} lacks {}, first {n} of client {client}", self.name, missing.len()));
        }
    }
}

/// Events that were answered for and that the log does not have.
pub fn judge_log(events: &LoggedEvents<'_>, found: &mut Found) {
    for (client, numbers) in events.ledger.each() {
        let missing: Vec<u64> = numbers.into_iter().filter(|n| !events.of(client, *n).is_logged()).collect();
        found.lost += missing.len() as u64;
        if let Some(first) = missing.first() {
            found.notes.push(format!("the log lacks {} of client {client}, first {first}", missing.len()));
        }
    }
}

/// Holds the tables of a sync into SQLite against the log.
pub fn judge_sqlite(events: &LoggedEvents<'_>, place: &SqlitePlace<'_>, stamps: &mut StampsSeen, found: &mut Found) {
    if let Err(error) = sqlite(events, place, stamps, found) {
        found.broken += 1;
        found.notes.push(format!("{}: its tables cannot be read: {error}", place.sync));
    }
}

fn sqlite(
    events: &LoggedEvents<'_>,
    place: &SqlitePlace<'_>,
    stamps: &mut StampsSeen,
    found: &mut Found,
) -> rusqlite::Result<()> {
    let SqlitePlace { sync, file, prefix } = place;
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if check != "ok" {
        found.altered += 1;
        found.notes.push(format!("{sync}: its file is damaged: {check}"));
    }
    let has_column = |name: &str| {
        let sql = "SELECT count(*) > 0 FROM pragma_table_info(?1) WHERE name = ?2";
        connection.query_row(sql, [format!("{prefix}fault").as_str(), name], |row| row.get::<_, bool>(0))
    };
    let mut columns = vec!["id".to_owned(), "n".to_owned(), "said".to_owned(), "big".to_owned()];
    for name in MARKS.into_iter().chain(["stamp"]) {
        columns.push(if has_column(name)? { name.to_owned() } else { "NULL".to_owned() });
    }
    let mut rows = TableRows::new(format!("{sync}: fault"), events.ledger.clients());
    let mut select = connection.prepare(&format!("SELECT {} FROM {prefix}fault", columns.join(", ")))?;
    let mut cursor = select.query([])?;
    while let Some(row) = cursor.next()? {
        let id: String = row.get(0)?;
        let (number, text, large): (Option<i64>, Option<String>, Option<i64>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let place = events.ledger.place(&id);
        let is_as_sent = place.is_some_and(|place| is_as_sent(place, number, text.as_deref(), large));
        let mut marks = 0;
        for bit in 0..MARKS.len() {
            marks |= u8::from(row.get::<_, Option<String>>(4 + bit)?.is_some()) << bit;
        }
        let stamp = row.get::<_, Option<String>>(4 + MARKS.len())?.unwrap_or_default();
        take(events, EventRow { id, is_as_sent, marks, stamp }, (&mut rows, &mut *stamps), found);
    }
    rows.judge(events, found);
    let mut rows = TableRows::new(format!("{sync}: tracks"), events.ledger.clients());
    let mut select = connection.prepare(&format!("SELECT id FROM {prefix}tracks"))?;
    let mut cursor = select.query([])?;
    while let Some(row) = cursor.next()? {
        let id: String = row.get(0)?;
        take_id(events, &id, &mut rows, found);
    }
    rows.judge(events, found);
    Ok(())
}

/// Rows are read in so many parts.
const PARTS: u64 = 16;

/// Holds the tables of a sync into a database of PostgreSQL against the log.
pub fn judge_postgres(
    events: &LoggedEvents<'_>,
    (server, database): (&Server, &str),
    stamps: &mut StampsSeen,
    found: &mut Found,
) {
    let marks: Vec<String> =
        (0..).zip(MARKS).map(|(bit, mark)| format!("({mark} IS NOT NULL)::int * {}", 1 << bit)).collect();
    let mut rows = TableRows::new("web-postgres: fault".to_owned(), events.ledger.clients());
    for part in 0..PARTS {
        // Texts have line breaks in them.
        let sql = format!(
            "SELECT id, coalesce(n, -1), coalesce(encode(convert_to(said, 'UTF8'), 'hex'), ''), coalesce(big, -1), {}, \
             coalesce(stamp, '') FROM fault WHERE coalesce(n, 0) % {PARTS} = {part}",
            marks.join(" + ")
        );
        for line in server.psql(database, &sql).lines() {
            match postgres_row(events, line) {
                Some(row) => take(events, row, (&mut rows, &mut *stamps), found),
                None => {
                    found.altered += 1;
                    found.notes.push(format!("web-postgres: fault has the row {line:?}"));
                }
            }
        }
    }
    rows.judge(events, found);
    let mut rows = TableRows::new("web-postgres: tracks".to_owned(), events.ledger.clients());
    for id in server.psql(database, "SELECT id FROM tracks").lines() {
        take_id(events, id, &mut rows, found);
    }
    rows.judge(events, found);
}

fn take(
    events: &LoggedEvents<'_>,
    row: EventRow,
    (rows, stamps): (&mut TableRows, &mut StampsSeen),
    found: &mut Found,
) {
    let Some(place) = take_id(events, &row.id, rows, found) else { return };
    let end = events.of(place.0, place.1);
    let mut alter = |what: String| {
        found.altered += 1;
        if found.notes.len() < 40 {
            found.notes.push(format!("{}: {}: {what}", rows.name, row.id));
        }
    };
    if !row.is_as_sent {
        alter(format!("the row is not what was sent: {}", said(place.0, place.1)));
    }
    if row.marks != end.marks() {
        let (has, wanted) = (row.marks, end.marks());
        alter(format!("it has the marks {has:#b}, and the contract of its revision keeps {wanted:#b}"));
    }
    if let Some(earlier) = stamps.note(place, &row.stamp) {
        alter(format!("functions made {earlier:?} of it in one table and {:?} in this one", row.stamp));
    }
}

/// A line of `psql` as a row: id, number, text in hexadecimal digits, large number, marks, stamp.
fn postgres_row(events: &LoggedEvents<'_>, line: &str) -> Option<EventRow> {
    let mut cells = line.splitn(6, '|');
    let mut cell = || cells.next();
    let (id, number, text) = (cell()?.to_owned(), cell()?.parse::<i64>().ok()?, cell()?);
    let (large, marks, stamp) = (cell()?.parse::<i64>().ok()?, cell()?.parse::<u8>().ok()?, cell()?.to_owned());
    let text = String::from_utf8(HEXLOWER.decode(text.as_bytes()).ok()?).ok()?;
    let place = events.ledger.place(&id);
    let is_as_sent = place.is_some_and(|place| is_as_sent(place, Some(number), Some(&text), Some(large)));
    Some(EventRow { id, is_as_sent, marks, stamp })
}

/// Notes the row of an event; its client and number.
fn take_id(events: &LoggedEvents<'_>, id: &str, rows: &mut TableRows, found: &mut Found) -> Option<(usize, u64)> {
    let place = events.ledger.place(id);
    let Some((client, n)) = place else {
        found.altered += 1;
        found.notes.push(format!("{} has a row with the id {id:?}, which nobody sent", rows.name));
        return None;
    };
    found.double += u64::from(!rows.add((client, n)));
    let end = events.of(client, n);
    if !end.is_logged() || end.is_blocked() {
        found.altered += 1;
        if found.notes.len() < 40 {
            found.notes.push(format!("{} has the row {id}, which is not in the log or was blocked", rows.name));
        }
    }
    Some((client, n))
}
