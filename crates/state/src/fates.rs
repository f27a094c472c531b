//! What has become of events, counted by hour, source or sync, and event name.
//!
//! Nouns: a **key** (an hour and an event name), a **fate scope** (a source or a sync).
//!
//! What holds for every row, always: what came and what functions made of it is the sum of its fates. Nothing is counted here but in the
//! transaction that decides it.

use std::borrow::Cow;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row, params};
use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{EventKind, json, time};

use super::fate_tally::{FURTHER_NAMES, FateCounts, FateTally, is_off};
use super::sum;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS fate_hours (
        is_sync INTEGER NOT NULL, scope TEXT NOT NULL, hour INTEGER NOT NULL, name TEXT NOT NULL,
        came INTEGER NOT NULL, made INTEGER NOT NULL, duplicates INTEGER NOT NULL, quarantined INTEGER NOT NULL,
        expired INTEGER NOT NULL, suppressed INTEGER NOT NULL, dropped INTEGER NOT NULL, filtered INTEGER NOT NULL,
        pending INTEGER NOT NULL, delivered INTEGER NOT NULL, by_ledger INTEGER NOT NULL, went_on INTEGER NOT NULL,
        PRIMARY KEY (is_sync, scope, hour, name)
    ) WITHOUT ROWID;
";

const HOUR_US: i64 = 3_600_000_000;
const HOURS_A_DAY: i64 = 24;
/// After this many hours those of a day are put together.
const HOURS_KEPT: i64 = 90 * HOURS_A_DAY;
/// After this many hours all days of a source or sync are.
const DAYS_KEPT_HOURS: i64 = 400 * HOURS_A_DAY;
/// Names that an hour of a source or sync has; further ones are counted together.
const NAMES_MAX: i64 = 256;
/// Of what could not be decoded.
pub const UNREADABLE_NAME: &str = "(unreadable)";
/// Of a name no more is kept.
const NAME_BYTES_MAX: usize = 200;
/// Events deeper than this have no name.
const DEPTH_MAX: usize = 256;

/// The columns of the counts, in the order of their numbers.
pub(super) const COLUMNS: &str = "came, made, duplicates, quarantined, expired, suppressed, dropped, filtered, pending, delivered, by_ledger, went_on";

/// Sums of the [`COLUMNS`], as [`read`] reads them.
pub(super) const SUMS: &str = "coalesce(sum(came), 0), coalesce(sum(made), 0), coalesce(sum(duplicates), 0),
    coalesce(sum(quarantined), 0), coalesce(sum(expired), 0), coalesce(sum(suppressed), 0), coalesce(sum(dropped), 0),
    coalesce(sum(filtered), 0), coalesce(sum(pending), 0), coalesce(sum(delivered), 0), coalesce(sum(by_ledger), 0),
    coalesce(sum(went_on), 0)";

/// What becomes of a row that is there already.
const ADDED: &str = "came = came + excluded.came, made = made + excluded.made,
    duplicates = duplicates + excluded.duplicates, quarantined = quarantined + excluded.quarantined,
    expired = expired + excluded.expired, suppressed = suppressed + excluded.suppressed,
    dropped = dropped + excluded.dropped, filtered = filtered + excluded.filtered,
    pending = pending + excluded.pending, delivered = delivered + excluded.delivered,
    by_ledger = by_ledger + excluded.by_ledger, went_on = went_on + excluded.went_on";

/// Adds to a row that is there.
const UPDATE: &str = "UPDATE fate_hours SET came = came + ?5, made = made + ?6, duplicates = duplicates + ?7,
    quarantined = quarantined + ?8, expired = expired + ?9, suppressed = suppressed + ?10, dropped = dropped + ?11,
    filtered = filtered + ?12, pending = pending + ?13, delivered = delivered + ?14, by_ledger = by_ledger + ?15,
    went_on = went_on + ?16 WHERE is_sync = ?1 AND scope = ?2 AND hour = ?3 AND name = ?4";

/// The counts that begin at column `first` of a row.
pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<FateCounts> {
    let mut counts = FateCounts::default();
    for (column, number) in (first..).zip(counts.numbers_mut()) {
        *number = sum::number(row, column)?;
    }
    Ok(counts)
}

/// The hour of a time, counted from the epoch.
#[must_use]
pub const fn fate_hour(at_us: i64) -> i64 {
    at_us.div_euclid(HOUR_US)
}

/// When an hour begins, microseconds since the epoch.
#[must_use]
pub const fn fate_hour_begins_us(hour: i64) -> i64 {
    hour.saturating_mul(HOUR_US)
}

/// Under which name an event is counted: that of a track, the kind of all others. Titles of pages are no names: there is no end of them.
#[must_use]
pub fn fate_name(body: &JsonObject) -> &str {
    if is_off() {
        return "";
    }
    let word = body.get("type").and_then(Value::as_str).unwrap_or_default();
    EventKind::parse(word).map_or("(other)", |kind| fate_name_of(kind, body))
}

/// The same of an event whose `type` says that it is of this kind.
#[must_use]
pub fn fate_name_of(kind: EventKind, body: &JsonObject) -> &str {
    match kind {
        EventKind::Track if is_off() => "",
        EventKind::Track => {
            let name = body.get("event").and_then(Value::as_str);
            name.filter(|name| !name.is_empty()).map_or("(track)", shortened)
        }
        EventKind::Identify => "(identify)",
        EventKind::Page => "(page)",
        EventKind::Screen => "(screen)",
        EventKind::Group => "(group)",
        EventKind::Alias => "(alias)",
    }
}

/// So much of a name is kept.
pub(super) fn shortened(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

/// The hour and the name of an event as JSON text. `at_us` is when it was received, for what does not say that.
pub(super) fn key_of_text(event: &[u8], at_us: i64, says_when: bool) -> (i64, String) {
    let Ok(Value::Object(body)) = json::parse(event, DEPTH_MAX) else {
        return (fate_hour(at_us), "(other)".to_owned());
    };
    let said = body.get("receivedAt").and_then(Value::as_str).filter(|_| says_when).and_then(time::parse);
    (fate_hour(said.unwrap_or(at_us)), fate_name(&body).to_owned())
}

/// The same of an entry of the quarantine, by its stage: what a function stopped has the time of its batch, and says its own in the event.
#[must_use]
pub fn fate_key_of_entry(stage: &str, event: &[u8], at_us: i64) -> (i64, String) {
    match stage {
        "decode" | "log" => (fate_hour(at_us), UNREADABLE_NAME.to_owned()),
        stage => key_of_text(event, at_us, stage == "function"),
    }
}

/// What the functions of a source made of the events of a log range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransformedRange {
    /// Where the log range begins.
    pub start: u64,
    /// Events that there still were for the functions.
    pub came: u64,
    /// When its first event was taken, microseconds since the epoch.
    pub at_us: i64,
    /// Events that go on.
    pub went_on: u64,
    /// What that changes in the counts of the source.
    pub tally: FateTally,
    /// The same of events that only one sync has not had, by its name.
    pub of_syncs: Vec<(String, FateTally)>,
}

/// A source or a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FateScope<'a> {
    pub(super) name: &'a str,
    pub(super) is_sync: bool,
}

/// Adds a tally to what is counted of `scope`.
pub(super) fn write(connection: &Connection, scope: FateScope<'_>, tally: &FateTally) -> rusqlite::Result<()> {
    if is_off() || tally.is_empty() {
        return Ok(());
    }
    let mut update = connection.prepare_cached(UPDATE)?;
    for (hour, names) in &tally.hours {
        let mut further = FateCounts::default();
        let mut room = None;
        for (name, counts) in names {
            let is_nothing = counts.numbers().iter().all(|number| *number == 0);
            // There is such a row, as a rule.
            if is_nothing || run(&mut update, (scope, *hour, name, counts))? > 0 {
                continue;
            }
            let left = match room {
                Some(left) => left,
                None => NAMES_MAX - names_of(connection, scope, *hour)?,
            };
            room = Some(left - 1);
            if left > 0 {
                insert(connection, scope, (*hour, name), counts)?;
            } else {
                further.add(counts);
            }
        }
        if further != FateCounts::default() {
            insert(connection, scope, (*hour, FURTHER_NAMES), &further)?;
        }
    }
    Ok(())
}

/// Counts what has this name under [`FURTHER_NAMES`] of its hour.
pub(super) fn forget_name(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO fate_hours (is_sync, scope, hour, name, {COLUMNS})
         SELECT is_sync, scope, hour, ?2, {COLUMNS} FROM fate_hours WHERE name = ?1
         ON CONFLICT (is_sync, scope, hour, name) DO UPDATE SET {ADDED}"
    );
    connection.prepare_cached(&sql)?.execute([name, FURTHER_NAMES])?;
    connection.prepare_cached("DELETE FROM fate_hours WHERE name = ?1")?.execute([name]).map(drop)
}

fn names_of(connection: &Connection, scope: FateScope<'_>, hour: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM fate_hours WHERE is_sync = ?1 AND scope = ?2 AND hour = ?3";
    connection.prepare_cached(sql)?.query_row(params![scope.is_sync, scope.name, hour], |row| row.get(0))
}

fn insert(
    connection: &Connection,
    scope: FateScope<'_>,
    (hour, name): (i64, &str),
    counts: &FateCounts,
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO fate_hours (is_sync, scope, hour, name, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (is_sync, scope, hour, name) DO UPDATE SET {ADDED}"
    );
    run(&mut connection.prepare_cached(&sql)?, (scope, hour, name, counts)).map(drop)
}

fn run(
    statement: &mut CachedStatement<'_>,
    (scope, hour, name, counts): (FateScope<'_>, i64, &str, &FateCounts),
) -> rusqlite::Result<usize> {
    let n = counts.numbers();
    statement.execute(params![
        scope.is_sync,
        scope.name,
        hour,
        name,
        n[0],
        n[1],
        n[2],
        n[3],
        n[4],
        n[5],
        n[6],
        n[7],
        n[8],
        n[9],
        n[10],
        n[11],
    ])
}

/// Puts the hours of days that are long gone together, and days that are longer gone: sums stay what they are.
pub(super) fn put_together(connection: &Connection, now_us: i64) -> rusqlite::Result<()> {
    // Each from its place in the index: whoever refines waits meanwhile.
    let sql = "SELECT is_sync, scope FROM fate_hours WHERE (is_sync, scope) > (?1, ?2) ORDER BY is_sync, scope LIMIT 1";
    let mut next = connection.prepare_cached(sql)?;
    let (mut is_sync, mut scope) = (-1_i64, String::new());
    loop {
        let found = next.query_row(params![is_sync, scope], |row| Ok((row.get(0)?, row.get(1)?)));
        let found: Option<(i64, String)> = found.optional()?;
        let Some(found) = found else { return Ok(()) };
        (is_sync, scope) = found;
        put_scope_together(connection, (is_sync, &scope), now_us)?;
    }
}

fn put_scope_together(connection: &Connection, (is_sync, scope): (i64, &str), now_us: i64) -> rusqlite::Result<()> {
    let now = fate_hour(now_us);
    let of_scope = "is_sync = ?2 AND scope = ?3 AND hour < ?1";
    let day = Cow::Borrowed("(hour / 24) * 24, name");
    let earlier = Cow::Owned(format!("0, '{FURTHER_NAMES}'"));
    let steps = [(now - HOURS_KEPT, "hour % 24 <> 0", day), (now - DAYS_KEPT_HOURS, "hour > 0", earlier)];
    for (before, which, key) in steps {
        let sql = format!(
            "INSERT INTO fate_hours (is_sync, scope, hour, name, {COLUMNS})
             SELECT is_sync, scope, {key}, sum(came), sum(made), sum(duplicates), sum(quarantined), sum(expired),
                sum(suppressed), sum(dropped), sum(filtered), sum(pending), sum(delivered), sum(by_ledger), sum(went_on)
             FROM fate_hours WHERE {of_scope} AND {which} GROUP BY 1, 2, 3, 4
             ON CONFLICT (is_sync, scope, hour, name) DO UPDATE SET {ADDED}"
        );
        connection.prepare_cached(&sql)?.execute(params![before, is_sync, scope])?;
        let sql = format!("DELETE FROM fate_hours WHERE {of_scope} AND {which}");
        connection.prepare_cached(&sql)?.execute(params![before, is_sync, scope])?;
    }
    Ok(())
}

/// Forgets what is counted of a sync: its name may be another's from now on.
pub(super) fn forget_sync(connection: &Connection, sync: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM fate_hours WHERE is_sync = 1 AND scope = ?1", [sync]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection
    }

    fn total(connection: &Connection) -> (i64, FateCounts) {
        let sql = format!("SELECT count(*), {SUMS} FROM fate_hours");
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, read(row, 1)?))).unwrap()
    }

    const WEB: FateScope<'static> = FateScope { name: "web", is_sync: false };

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let connection = connection();
        for round in 0..2 {
            // No tally has as many.
            for first in (0..NAMES_MAX + 10).step_by(100) {
                let mut tally = FateTally::default();
                for n in first..(first + 100).min(NAMES_MAX + 10) {
                    tally.add((7, &format!("Event {n}")), |counts| {
                        counts.came += 1;
                        counts.went_on += 1;
                    });
                }
                write(&connection, WEB, &tally).unwrap();
            }
            let (rows, counts) = total(&connection);
            assert_eq!(rows, NAMES_MAX + 1);
            assert_eq!(counts.came, (NAMES_MAX + 10) * (round + 1));
        }
    }

    #[test]
    fn what_is_long_gone_is_put_together_and_its_sums_stay() {
        let connection = connection();
        let now = 500 * HOURS_A_DAY;
        let mut tally = FateTally::default();
        for hour in [now, now - 1, now - HOURS_KEPT - 5, now - HOURS_KEPT - 6, 30, 31, 80] {
            tally.add((hour, "Sent"), |counts| {
                counts.came += 3;
                counts.duplicates += 1;
                counts.went_on += 2;
            });
        }
        write(&connection, WEB, &tally).unwrap();
        put_together(&connection, fate_hour_begins_us(now)).unwrap();
        let (rows, counts) = total(&connection);
        assert_eq!((rows, counts.came, counts.expected() - counts.found()), (4, 21, 0));
        put_together(&connection, fate_hour_begins_us(now)).unwrap();
        assert_eq!(total(&connection), (rows, counts));
    }

    #[test]
    fn an_event_is_counted_under_the_same_name_before_and_after_it_was_text() {
        for (text, name) in [
            (r#"{"type":"track","event":"Sent"}"#, "Sent"),
            (r#"{"type":"track","event":""}"#, "(track)"),
            (r#"{"type":"page","name":"Home"}"#, "(page)"),
            (r#"{"event":"Sent"}"#, "(other)"),
            ("[]", "(other)"),
        ] {
            assert_eq!(key_of_text(text.as_bytes(), 2 * HOUR_US, false), (2, name.to_owned()), "{text}");
        }
        for kind in EventKind::ALL {
            let body: JsonObject = format!(r#"{{"type":"{kind}","event":"Sent"}}"#).parse().unwrap();
            assert_eq!(fate_name_of(kind, &body), fate_name(&body), "{kind}");
        }
        let long = "é".repeat(150);
        assert_eq!(shortened(&long).len(), NAME_BYTES_MAX);
    }
}
