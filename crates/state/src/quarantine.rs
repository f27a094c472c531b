//! Quarantined events: kept whole, with the stage that stopped them, a stable code and a sentence.
//!
//! The quarantine is bounded in age and bytes. Triggers keep its size in one row, in the transaction that changes it.

use rusqlite::{Connection, Row, params};
use tidegate_event::{EventId, Position};
use tidegate_process::clock;

use super::sum::{self, Sum, bytes, number, optional, small, text};
use super::{State, StateError, signed, unsigned};

/// What an entry takes besides its texts: the row, and its places in two indexes.
const ENTRY_BYTES: &str = "200";

/// The columns that [`read`] reads, in its order.
pub(super) const COLUMNS: &str = "log_offset, part, stage, scope, code, message, event, at_us, detail, sum";

/// The code under which an entry is listed whose checksum is wrong.
pub const DAMAGED_CODE: &str = "damaged-entry";

pub(super) const TABLES: &str = "
    CREATE INDEX IF NOT EXISTS quarantine_by_age ON quarantine (kept_at_us);
    CREATE TABLE IF NOT EXISTS quarantine_size (
        one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
        expired INTEGER NOT NULL, purged INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO quarantine_size VALUES (1, 0, 0, 0, 0);
    CREATE TRIGGER IF NOT EXISTS quarantine_grows AFTER INSERT ON quarantine BEGIN
        UPDATE quarantine_size SET entries = entries + 1, bytes = bytes + 200 + octet_length(new.event)
            + octet_length(new.message) + coalesce(octet_length(new.detail), 0);
    END;
    CREATE TRIGGER IF NOT EXISTS quarantine_shrinks AFTER DELETE ON quarantine BEGIN
        UPDATE quarantine_size SET entries = max(entries - 1, 0), bytes = max(bytes - 200 - octet_length(old.event)
            - octet_length(old.message) - coalesce(octet_length(old.detail), 0), 0);
    END;
";

/// Where an event was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The log could not give the record back whole.
    Log,
    /// The bytes are no event that can be delivered.
    Decode,
    Contract,
    Function,
    /// The destination can never take it.
    Destination,
}

impl Stage {
    /// The word in the table and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Decode => "decode",
            Self::Contract => "contract",
            Self::Function => "function",
            Self::Destination => "destination",
        }
    }
}

/// One quarantined event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub id: EventId,
    pub stage: &'static str,
    /// The source, or the sync for what one sync stopped.
    pub scope: String,
    pub code: String,
    pub message: String,
    /// The event as it was at that stage: JSON text, or the raw bytes when they are no JSON.
    pub event: Vec<u8>,
    /// When it was received, microseconds since the epoch; when it was found, for what cannot say that.
    pub at_us: i64,
    /// What else is known, as JSON text without any secret: for a destination its request and the answer.
    pub detail: Option<String>,
}

impl Quarantined {
    /// Of all that it says.
    pub(super) fn sum(&self) -> Sum {
        let sum = Sum::default().event(self.id).text(self.stage);
        let sum = sum.text(&self.scope).text(&self.code).text(&self.message).text(&self.event).number(self.at_us);
        match &self.detail {
            Some(detail) => sum.text(detail),
            None => sum,
        }
    }
}

/// Which quarantined events to list.
#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    pub scope: Option<String>,
    pub code: Option<String>,
    pub entries_max: u64,
}

/// Bounds of the quarantine; the oldest entries go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineBounds {
    /// Entries that were quarantined longer ago go.
    pub age_us: i64,
    /// About the bytes of the state file that it may take.
    pub bytes: u64,
}

impl Default for QuarantineBounds {
    fn default() -> Self {
        Self { age_us: 30 * 24 * 3_600_000_000, bytes: 1 << 30 }
    }
}

/// How large the quarantine is, and what has left it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineSize {
    pub entries: u64,
    pub bytes: u64,
    /// When the oldest entry was quarantined, microseconds since the epoch.
    pub oldest_at_us: Option<i64>,
    /// Entries that went because of a bound, ever.
    pub expired: u64,
    /// Entries that somebody purged, ever.
    pub purged: u64,
}

/// What one round of [`State::expire_quarantine`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    pub by_age: u64,
    pub by_bytes: u64,
}

/// Which entries to purge; each condition that is there must hold.
#[derive(Debug, Clone, Default)]
pub struct Purge {
    pub scope: Option<String>,
    pub code: Option<String>,
    /// Events received before this, microseconds since the epoch.
    pub before_us: Option<i64>,
    pub position: Option<Position>,
}

/// 2024 began. A machine that starts without a clock says 1970 at first: an age that counts from then would cost every
/// entry once the clock is right.
const BELIEVED_FROM_US: i64 = 1_704_067_200_000_000;
/// Entries removed in one transaction: it holds the file for a moment, and refining goes on between two of them.
const BATCH_ENTRIES: u64 = 256;
/// Free pages that stay in the file, for whoever needs some next.
const FREE_PAGES_KEPT: i64 = 1_024;
/// Pages given back in one transaction.
const PAGES_GIVEN_BACK: i64 = 512;

pub(super) fn insert(connection: &Connection, entry: &Quarantined) -> rusqlite::Result<()> {
    let sql =
        "INSERT OR IGNORE INTO quarantine (log_offset, part, stage, scope, code, message, event, at_us, detail, sum,
            kept_at_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let values = params![
        signed(entry.id.position.bits()),
        entry.id.part,
        entry.stage,
        entry.scope,
        entry.code,
        entry.message,
        entry.event,
        entry.at_us,
        entry.detail,
        entry.sum().value(),
        clock::now_us(),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// A row of [`COLUMNS`], and whether its checksum is right.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Quarantined, bool)> {
    let stage = text(row, 2)?;
    let stages = [Stage::Log, Stage::Decode, Stage::Contract, Stage::Function, Stage::Destination];
    let entry = Quarantined {
        id: EventId::new(Position::from_bits(unsigned(number(row, 0)?)), small(row, 1)?),
        stage: stages.iter().map(|s| s.as_str()).find(|s| *s == stage).unwrap_or("unknown"),
        scope: text(row, 3)?,
        code: text(row, 4)?,
        message: text(row, 5)?,
        event: bytes(row, 6)?,
        at_us: number(row, 7)?,
        detail: optional(row, 8)?,
    };
    let right = sum::types_are(row, "iittttbioi")? && number(row, 9)? == entry.sum().value();
    Ok((entry, right))
}

/// Counts the entries and their bytes one by one.
pub(super) fn count_anew(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql = format!(
        "UPDATE quarantine_size SET (entries, bytes) = (SELECT count(*), coalesce(sum({ENTRY_BYTES}
            + octet_length(event) + octet_length(message) + coalesce(octet_length(detail), 0)), 0) FROM quarantine)
         RETURNING entries, bytes"
    );
    connection.query_row(&sql, [], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))
}

impl State {
    /// Keeps events on disk with the reason why they go no further. One that is kept already stays as it is.
    ///
    /// # Errors
    /// None of them is kept for sure.
    pub fn quarantine(&mut self, entries: &[Quarantined]) -> Result<(), StateError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.in_transaction(true, |connection| entries.iter().try_for_each(|entry| insert(connection, entry)))
    }

    /// Quarantined events, oldest first. One whose checksum is wrong has the code [`DAMAGED_CODE`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM quarantine
             WHERE (?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) ORDER BY id LIMIT ?3"
        );
        let read = || -> rusqlite::Result<Vec<Quarantined>> {
            let mut find = self.connection.prepare(&sql)?;
            let rows = find.query_map(params![filter.scope, filter.code, signed(filter.entries_max)], read)?;
            let told = |(mut entry, right): (Quarantined, bool)| {
                if !right {
                    entry.message = format!(
                        "this entry is not what was stored (its checksum is wrong; it was quarantined as {}): {}",
                        entry.code, entry.message
                    );
                    DAMAGED_CODE.clone_into(&mut entry.code);
                }
                entry
            };
            rows.map(|row| row.map(told)).collect()
        };
        read().map_err(self.err("could not read the quarantine"))
    }

    /// How large the quarantine is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantine_size(&self) -> Result<QuarantineSize, StateError> {
        let sql =
            "SELECT entries, bytes, expired, purged, (SELECT min(kept_at_us) FROM quarantine) FROM quarantine_size";
        let read = |row: &Row<'_>| {
            Ok(QuarantineSize {
                entries: unsigned(row.get(0)?),
                bytes: unsigned(row.get(1)?),
                expired: unsigned(row.get(2)?),
                purged: unsigned(row.get(3)?),
                oldest_at_us: row.get(4)?,
            })
        };
        let found = self.connection.prepare_cached(sql).and_then(|mut find| find.query_row([], read));
        found.map_err(self.err("could not read the size of the quarantine"))
    }

    /// Counts the entries one by one, in case that the size was wrong.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn recount_quarantine(&mut self) -> Result<(), StateError> {
        count_anew(&self.connection).map(drop).map_err(self.err("could not count the quarantine"))
    }

    /// Removes a few of the oldest entries, if the quarantine is beyond its bounds. Call it again until it removes
    /// nothing.
    ///
    /// # Errors
    /// Nothing was removed.
    pub fn expire_quarantine(&mut self, bounds: &QuarantineBounds, now_us: i64) -> Result<Expired, StateError> {
        let mut size = self.quarantine_size()?;
        if now_us >= BELIEVED_FROM_US && size.oldest_at_us.is_some_and(|oldest| oldest < BELIEVED_FROM_US) {
            let sql = "UPDATE quarantine SET kept_at_us = ?1 WHERE kept_at_us < ?2";
            let stamped = self.connection.execute(sql, [now_us, BELIEVED_FROM_US]);
            stamped.map_err(self.err("could not say since when entries of the quarantine are kept"))?;
            size = self.quarantine_size()?;
        }
        let oldest_kept_us = now_us.saturating_sub(bounds.age_us);
        let aged = size.oldest_at_us.is_some_and(|oldest| oldest < oldest_kept_us);
        if !aged && size.bytes <= bounds.bytes {
            return Ok(Expired::default());
        }
        let mut expired = Expired::default();
        self.in_transaction(false, |connection| {
            let mut remove = connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?;
            let sql = format!(
                "SELECT id, kept_at_us, {ENTRY_BYTES} + octet_length(event) + octet_length(message)
                 + coalesce(octet_length(detail), 0) FROM quarantine ORDER BY kept_at_us, id LIMIT ?1"
            );
            let mut find = connection.prepare_cached(&sql)?;
            let oldest: Vec<(i64, i64, i64)> = find
                .query_map([signed(BATCH_ENTRIES)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            let mut bytes = size.bytes;
            for (id, kept_at_us, entry_bytes) in oldest {
                let too_old = kept_at_us < oldest_kept_us;
                if !too_old && bytes <= bounds.bytes {
                    break;
                }
                remove.execute([id])?;
                bytes = bytes.saturating_sub(unsigned(entry_bytes));
                *(if too_old { &mut expired.by_age } else { &mut expired.by_bytes }) += 1;
            }
            let gone = signed(expired.by_age + expired.by_bytes);
            connection.execute("UPDATE quarantine_size SET expired = expired + ?1", [gone]).map(drop)
        })?;
        Ok(expired)
    }

    /// How many entries `purge` names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn purgeable(&self, purge: &Purge) -> Result<Vec<(String, String, u64)>, StateError> {
        let sql = format!("SELECT scope, code, count(*) FROM quarantine WHERE {PURGED} GROUP BY 1, 2 ORDER BY 1, 2");
        let read = || -> rusqlite::Result<Vec<(String, String, u64)>> {
            let mut find = self.connection.prepare(&sql)?;
            let rows = find.query_map(purge.values(), |row| Ok((row.get(0)?, row.get(1)?, unsigned(row.get(2)?))))?;
            rows.collect()
        };
        read().map_err(self.err("could not count the quarantine"))
    }

    /// Removes a few of the entries that `purge` names, oldest first; answers how many. Call it again until there are
    /// none.
    ///
    /// # Errors
    /// Nothing was removed.
    pub fn purge_some(&mut self, purge: &Purge) -> Result<u64, StateError> {
        let mut removed = 0;
        self.in_transaction(false, |connection| {
            let sql = format!(
                "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE {PURGED} ORDER BY id LIMIT {BATCH_ENTRIES})"
            );
            removed = connection.prepare_cached(&sql)?.execute(purge.values())? as u64;
            connection.execute("UPDATE quarantine_size SET purged = purged + ?1", [signed(removed)]).map(drop)
        })?;
        Ok(removed)
    }

    /// Gives some of the file's free pages back to the file system; false when there is nothing more to give.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn give_back(&mut self) -> Result<bool, StateError> {
        let give = || -> rusqlite::Result<bool> {
            let free = |connection: &Connection| -> rusqlite::Result<i64> {
                connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))
            };
            let before = free(&self.connection)?;
            let pages = (before - FREE_PAGES_KEPT).min(PAGES_GIVEN_BACK);
            if pages <= 0 {
                return Ok(false);
            }
            let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            // Each step gives a page back.
            let mut rows = vacuum.query([])?;
            while rows.next()?.is_some() {}
            Ok(free(&self.connection)? < before)
        };
        give().map_err(self.err("could not give space back"))
    }

    /// How many events are quarantined, by scope, stage and code; of those that `filter` lets through, however many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantine_counts(
        &self,
        filter: &QuarantineFilter,
    ) -> Result<Vec<(String, String, String, u64)>, StateError> {
        let sql = "SELECT scope, stage, code, count(*) FROM quarantine
            WHERE (?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
        let read = || -> rusqlite::Result<Vec<(String, String, String, u64)>> {
            let mut find = self.connection.prepare(sql)?;
            let rows = find.query_map(params![filter.scope, filter.code], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, unsigned(row.get(3)?)))
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not count the quarantine"))
    }
}

/// The entries that a [`Purge`] names.
const PURGED: &str = "(?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR at_us < ?3)
    AND (?4 IS NULL OR log_offset = ?4)";

impl Purge {
    fn values(&self) -> [Box<dyn rusqlite::ToSql>; 4] {
        [
            Box::new(self.scope.clone()),
            Box::new(self.code.clone()),
            Box::new(self.before_us),
            Box::new(self.position.map(|position| signed(position.bits()))),
        ]
    }
}
