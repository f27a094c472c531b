//! Quarantined events: kept whole, with the stage that stopped them, a stable code and a sentence.
//!
//! The quarantine is bounded in age and bytes. Triggers keep its size in one row, in the transaction that changes it.

use rusqlite::{Connection, Row, params};
use tidegate_event::{EventId, Position};
use tidegate_process::clock;

use super::sum::{self, Sum, bytes, number, optional, small, text};
use super::{State, StateError, fate_entries, message_ids, retried, retry_outcomes, signed, unsigned};

/// What an entry takes besides its texts: the row, and its places in two indexes.
const ENTRY_BYTES: &str = "200";

/// The columns that [`read`] reads, in its order.
pub(super) const COLUMNS: &str = "log_offset, part, stage, scope, code, message, event, at_us, detail, sum,
    id, attempts, revision, for_sync, kept_at_us";
/// The same of a file that no build has carried over which retries entries.
pub(super) const COLUMNS_OF_SEVEN: &str = "log_offset, part, stage, scope, code, message, event, at_us, detail, sum,
    id, 0, 0, NULL, kept_at_us";

/// The code under which an entry is listed whose checksum is wrong.
pub const DAMAGED_CODE: &str = "damaged-entry";

pub(super) const TABLES: &str = "
    CREATE INDEX IF NOT EXISTS quarantine_by_age ON quarantine (kept_at_us);
    CREATE TABLE IF NOT EXISTS quarantine_size (
        one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
        expired INTEGER NOT NULL, purged INTEGER NOT NULL, last_id INTEGER NOT NULL DEFAULT 0
    );
    INSERT OR IGNORE INTO quarantine_size (one, entries, bytes, expired, purged, last_id) VALUES (1, 0, 0, 0, 0, 0);
    CREATE TRIGGER IF NOT EXISTS quarantine_numbers AFTER INSERT ON quarantine BEGIN
        UPDATE quarantine_size SET last_id = max(last_id, new.id);
    END;
    CREATE TRIGGER IF NOT EXISTS quarantine_grows AFTER INSERT ON quarantine BEGIN
        UPDATE quarantine_size SET entries = entries + 1, bytes = bytes + 200 + octet_length(new.event)
            + octet_length(new.message) + coalesce(octet_length(new.detail), 0);
    END;
    CREATE TRIGGER IF NOT EXISTS quarantine_shrinks AFTER DELETE ON quarantine BEGIN
        UPDATE quarantine_size SET entries = max(entries - 1, 0), bytes = max(bytes - 200 - octet_length(old.event)
            - octet_length(old.message) - coalesce(octet_length(old.detail), 0), 0);
    END;
    CREATE TABLE IF NOT EXISTS quarantine_originals (
        log_offset INTEGER PRIMARY KEY, shared BLOB NOT NULL, own BLOB NOT NULL, sum INTEGER NOT NULL
    );
    CREATE TRIGGER IF NOT EXISTS originals_grow AFTER INSERT ON quarantine_originals BEGIN
        UPDATE quarantine_size SET bytes = bytes + octet_length(new.shared) + octet_length(new.own);
    END;
    CREATE TRIGGER IF NOT EXISTS originals_shrink AFTER DELETE ON quarantine_originals BEGIN
        UPDATE quarantine_size SET bytes = max(bytes - octet_length(old.shared) - octet_length(old.own), 0);
    END;
    CREATE TRIGGER IF NOT EXISTS originals_go AFTER DELETE ON quarantine BEGIN
        DELETE FROM quarantine_originals WHERE log_offset = old.log_offset
            AND NOT EXISTS (SELECT 1 FROM quarantine WHERE log_offset = old.log_offset);
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

/// One quarantined event, and what became of it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEntry {
    /// Never used twice.
    pub id: u64,
    pub entry: Quarantined,
    /// How often it was retried and failed again.
    pub attempts: u32,
    /// Of the configuration that ran when it was quarantined; 0 when it is not known.
    pub revision: u64,
    /// The one sync that has not had it; `None` when no sync has had it.
    pub for_sync: Option<String>,
    /// When it was first quarantined, microseconds since the epoch.
    pub kept_at_us: i64,
    /// Whether its checksum is right.
    pub is_whole: bool,
}

impl KeptEntry {
    pub(super) fn sum(&self) -> i64 {
        entry_sum(&self.entry, self.attempts, column_for_sync(&self.entry, self.for_sync.as_deref()))
    }
}

/// What says of an entry of a destination which sync it is for says its scope: no other sync has anything to do with it.
fn column_for_sync<'e>(entry: &Quarantined, for_sync: Option<&'e str>) -> Option<&'e str> {
    for_sync.filter(|_| entry.stage != Stage::Destination.as_str())
}

/// Entries of earlier builds have neither of both.
fn entry_sum(entry: &Quarantined, attempts: u32, for_sync: Option<&str>) -> i64 {
    let sum = entry.sum();
    let sum = if attempts > 0 { sum.number(attempts.into()) } else { sum };
    for_sync.map_or(sum, |sync| sum.text(sync)).value()
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

/// What was quarantined on the way of all syncs, or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuarantinedBy {
    /// Before any sync had it.
    Source,
    Sync,
}

/// Puts an event into quarantine. One that is retried is the entry again that it was before, if that is free; a part of it that was not
/// quarantined before is none. What stops the event that the part comes of keeps the part that was quarantined: the others went on.
pub(super) fn insert(connection: &Connection, entry: &Quarantined, by: QuarantinedBy) -> rusqlite::Result<()> {
    let before = retried::find(connection, entry.id.position)?;
    let part = match before.as_ref().map(|before| before.parts) {
        Some(parts) if !parts.takes(entry.id.part) && !parts.comes_of(entry.id.part) => return Ok(()),
        Some(parts) if !parts.takes(entry.id.part) => parts.part,
        _ => entry.id.part,
    };
    let is_of_sync = by == QuarantinedBy::Sync && entry.stage == Stage::Function.as_str();
    let own_sync = is_of_sync.then(|| entry.scope.clone());
    let (id, attempts, kept_at_us, for_sync) = match &before {
        None => (None, 0, clock::now_us(), own_sync),
        Some(before) => {
            let sql = "SELECT 1 FROM quarantine WHERE id = ?1";
            let is_taken = connection.prepare_cached(sql)?.exists([signed(before.entry)])?;
            let id = (!is_taken).then_some(before.entry);
            (id, before.attempts, before.kept_at_us, own_sync.or_else(|| before.for_sync.clone()))
        }
    };
    let kept = KeptEntry {
        id: id.unwrap_or(0),
        entry: Quarantined { id: EventId::new(entry.id.position, part), ..entry.clone() },
        attempts,
        revision: revision(connection)?,
        for_sync,
        kept_at_us,
        is_whole: true,
    };
    if put(connection, &kept)? && id.is_some() {
        let job = before.map_or(0, |before| before.job);
        retry_outcomes::count(connection, job, retry_outcomes::OUTCOME_QUARANTINED)?;
    }
    Ok(())
}

/// The number of the configuration that runs.
fn revision(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(revision), 0) FROM revisions";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(unsigned))
}

/// Puts an entry into the table, under its id or, when that is 0, under the next one. False when it was there.
pub(super) fn put(connection: &Connection, kept: &KeptEntry) -> rusqlite::Result<bool> {
    let sql =
        "INSERT OR IGNORE INTO quarantine (log_offset, part, stage, scope, code, message, event, at_us, detail, sum,
            kept_at_us, id, attempts, revision, for_sync, message_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
            ?10, ?11, coalesce(?12, (SELECT max(last_id, (SELECT coalesce(max(id), 0) FROM quarantine)) + 1
                FROM quarantine_size)), ?13, ?14, ?15, ?16)";
    let KeptEntry { id, entry, attempts, revision, for_sync, kept_at_us, .. } = kept;
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
        kept.sum(),
        kept_at_us,
        (*id > 0).then(|| signed(*id)),
        attempts,
        signed(*revision),
        column_for_sync(entry, for_sync.as_deref()),
        message_ids::hash_of_event(&entry.event),
    ];
    connection.prepare_cached(sql)?.execute(values).map(|rows| rows > 0)
}

/// A row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<KeptEntry> {
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
    let (attempts, in_column) = (small(row, 11)?, optional(row, 13)?);
    let sum = entry_sum(&entry, attempts, in_column.as_deref());
    let is_whole = sum::types_are(row, "iittttbioi")? && number(row, 9)? == sum;
    let of_destination = (entry.stage == Stage::Destination.as_str()).then(|| entry.scope.clone());
    Ok(KeptEntry {
        id: unsigned(number(row, 10)?),
        entry,
        attempts,
        revision: unsigned(number(row, 12)?),
        for_sync: in_column.or(of_destination),
        kept_at_us: number(row, 14)?,
        is_whole,
    })
}

impl KeptEntry {
    /// As it is listed: one whose checksum is wrong says so, under [`DAMAGED_CODE`].
    #[must_use]
    pub(super) fn told(mut self) -> Self {
        if !self.is_whole {
            let Quarantined { code, message, .. } = &mut self.entry;
            *message = format!(
                "this entry is not what was stored (its checksum is wrong; it was quarantined as {code}): {message}"
            );
            DAMAGED_CODE.clone_into(code);
        }
        self
    }
}

/// Counts the entries and their bytes one by one.
pub(super) fn count_anew(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql = format!(
        "UPDATE quarantine_size SET (entries, bytes) = (SELECT count(*), coalesce(sum({ENTRY_BYTES}
            + octet_length(event) + octet_length(message) + coalesce(octet_length(detail), 0)), 0)
            + (SELECT coalesce(sum(octet_length(shared) + octet_length(own)), 0) FROM quarantine_originals)
            FROM quarantine) RETURNING entries, bytes"
    );
    connection.query_row(&sql, [], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))
}

impl State {
    /// Keeps events that a sync has stopped on disk, with the reason why they go no further. One that is kept already stays as it is.
    ///
    /// # Errors
    /// None of them is kept for sure.
    pub fn quarantine(&mut self, entries: &[Quarantined]) -> Result<(), StateError> {
        if entries.is_empty() {
            return Ok(());
        }
        let put = |connection: &Connection| {
            entries.iter().try_for_each(|entry| insert(connection, entry, QuarantinedBy::Sync))
        };
        self.in_transaction(true, put)
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
            rows.map(|row| row.map(|kept| kept.told().entry)).collect()
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
                 + coalesce(octet_length(detail), 0) + coalesce((SELECT octet_length(shared) + octet_length(own)
                    FROM quarantine_originals o WHERE o.log_offset = quarantine.log_offset), 0) FROM quarantine
                 WHERE {NOT_RETRIED} ORDER BY kept_at_us, id LIMIT ?1"
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
                fate_entries::expire(connection, &[id])?;
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
            let sql = format!("SELECT id FROM quarantine WHERE {PURGED} ORDER BY id LIMIT {BATCH_ENTRIES}");
            let mut find = connection.prepare_cached(&sql)?;
            let ids: Vec<i64> = find.query_map(purge.values(), |row| row.get(0))?.collect::<Result<_, _>>()?;
            fate_entries::expire(connection, &ids)?;
            let mut remove = connection.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?;
            ids.iter().try_for_each(|id| remove.execute([id]).map(drop))?;
            removed = ids.len() as u64;
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

/// Entries that are on their way into the log stay until they are there.
pub(super) const NOT_RETRIED: &str = "quarantine.id NOT IN (SELECT entry FROM quarantine_retries)";

/// The entries that a [`Purge`] names.
const PURGED: &str = "quarantine.id NOT IN (SELECT entry FROM quarantine_retries)
    AND (?1 IS NULL OR scope = ?1) AND (?2 IS NULL OR code = ?2) AND (?3 IS NULL OR at_us < ?3)
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
