//! Breaches: places where what came is not the sum of its fates. They are kept until somebody has seen to them, the oldest few and a count.

use rusqlite::{Connection, params};
use tidegate_event::Position;
use tidegate_process::clock;

use super::{State, StateError, position, signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS fate_breaches (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, is_sync INTEGER NOT NULL, scope TEXT NOT NULL,
        first INTEGER NOT NULL, end INTEGER NOT NULL, expected INTEGER NOT NULL, found INTEGER NOT NULL,
        what TEXT NOT NULL, UNIQUE (is_sync, scope, first, end, what)
    );
";

/// Breaches that are kept.
const BREACHES_MAX: i64 = 200;

/// A place where the sum is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FateBreach {
    /// When it was found, microseconds since the epoch.
    pub at_us: i64,
    /// The source or the sync.
    pub scope: String,
    pub is_sync: bool,
    /// The log ranges that it is about begin here, and end before `end`; both are 0 where it is about hours.
    pub first: Position,
    pub end: Position,
    pub expected: i64,
    pub found: i64,
    /// In words.
    pub what: String,
}

/// Keeps a breach, and says so. One that is kept already stays as it is.
pub(super) fn note(connection: &Connection, breach: &FateBreach) -> rusqlite::Result<()> {
    let FateBreach { scope, is_sync, first, end, expected, found, what, .. } = breach;
    let sql = "INSERT OR IGNORE INTO fate_breaches (at_us, is_sync, scope, first, end, expected, found, what)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (SELECT count(*) FROM fate_breaches) < ?9";
    let (first_bits, end_bits) = (signed(first.bits()), signed(end.bits()));
    let values = params![clock::now_us(), is_sync, scope, first_bits, end_bits, expected, found, what, BREACHES_MAX];
    if connection.prepare_cached(sql)?.execute(values)? > 0 {
        tracing::error!(
            scope,
            is_sync,
            first = %first,
            end = %end,
            expected,
            found,
            "events are not accounted for: {what}; `tidegate audit conservation` shows what is, docs/fates.md says what to do"
        );
    }
    Ok(())
}

/// Those that are kept, the oldest first.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<FateBreach>> {
    let sql = "SELECT at_us, is_sync, scope, first, end, expected, found, what FROM fate_breaches ORDER BY id";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map([], |row| {
        Ok(FateBreach {
            at_us: row.get(0)?,
            is_sync: row.get(1)?,
            scope: row.get(2)?,
            first: position(row.get(3)?),
            end: position(row.get(4)?),
            expected: row.get(5)?,
            found: row.get(6)?,
            what: row.get(7)?,
        })
    })?;
    rows.collect()
}

impl State {
    /// The breaches that are kept, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fate_breaches(&self) -> Result<Vec<FateBreach>, StateError> {
        read(&self.connection).map_err(self.err("could not read the breaches"))
    }

    /// Forgets the breaches that are kept: somebody has seen to them. Answers how many there were.
    ///
    /// # Errors
    /// None is forgotten.
    pub fn forget_fate_breaches(&mut self) -> Result<u64, StateError> {
        let forgotten = self.connection.execute("DELETE FROM fate_breaches", []);
        forgotten
            .map(|rows| unsigned(i64::try_from(rows).unwrap_or(i64::MAX)))
            .map_err(self.err("could not forget the breaches"))
    }
}
